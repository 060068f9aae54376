"""Traffic through a tunnel between two namespaces: echo requests, a hashed transfer."""

import hashlib
import random
import socket
import subprocess
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from peer_support import PATIENCE_SECONDS, die_with_parent

Run = Callable[[Callable[[], Any]], Any]
"""Runs a function in some namespace, and returns what it returns."""

PORT = 9329


def here(function: Callable[[], Any]) -> Any:
    """Run a function where the caller is."""
    return function()


def ping(address: str, count: int = 2, source: str = "") -> None:
    """Send echo requests and want as many answers."""
    done = subprocess.run(
        ["ping", "-n", "-c", str(count), "-i", "0.2", "-W", "10"]
        + (["-I", source] if source else [])
        + [address],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        preexec_fn=die_with_parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} received" in done.stdout


def transfer(octets: bytes, address: str, receiver: Run, sender: Run = here) -> str:
    """Send octets over TCP to an address of the receiver's namespace.

    Returns
    -------
    str
        SHA-256 of what arrived there.
    """
    is_ipv6 = ip_address(address).version == 6
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    listener = receiver(lambda: socket.create_server((address, PORT), family=family))
    digest = hashlib.sha256()

    def receive() -> None:
        server, _ = listener.accept()
        with server:
            server.settimeout(PATIENCE_SECONDS)
            while part := server.recv(65536):
                digest.update(part)

    with listener:
        listener.settimeout(PATIENCE_SECONDS)
        thread = threading.Thread(target=receive)
        thread.start()
        try:
            client = sender(
                lambda: socket.create_connection((address, PORT), PATIENCE_SECONDS)
            )
            with client:
                client.sendall(octets)
        finally:
            thread.join()
    return digest.hexdigest()


def arrives_whole(
    size: int, address: str, receiver: Run, sender: Run = here, seed: int = 1
) -> None:
    """Transfer octets drawn from a seed; what arrives has the hash of what was sent."""
    octets = random.Random(seed).randbytes(size)
    arrived = transfer(octets, address, receiver, sender)
    assert arrived == hashlib.sha256(octets).hexdigest()
