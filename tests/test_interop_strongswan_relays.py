"""Two relays behind HAProxy, before one strongSwan, as ``docs/balancers.md`` has it.

The stage is that of :mod:`test_interop_strongswan_relay`, with HAProxy in the east.
"""

from __future__ import annotations

import contextlib
import signal

from peer_support import Process
from strongswan import StrongSwan
from test_interop_balancers import BACKENDS, balancer, set_up_backends, whose
from test_interop_strongswan_relay import (
    Gateway,
    beside_strongswan,
    documented,
    works_both_ways,
)


def relay(gateway: Gateway, name: str) -> Process:
    """Start a relay before strongSwan's UDP port, on its host."""
    address = BACKENDS[name]
    words = f"relay --listen {address}:4500 --to 127.0.0.1:4500".split()
    words += ["--proxy-protocol-from", address]
    words += ["--control", str(gateway.folder / f"{name}.sock")]
    started: Process = gateway.in_the_east(lambda: Process(*words))
    started.wait_for("listening")
    return started


@beside_strongswan("two behind HAProxy, which ends TLS; one is killed")
def test_a_relay_is_killed(gateway: Gateway) -> None:
    """The IKE SA is strongSwan's, and goes on: relays have nothing to share."""
    gateway.theirs.load(documented().replace("aes256gcm16-x25519", "aes256gcm16"))
    set_up_backends(gateway)
    with contextlib.ExitStack() as stack:
        running = {}
        for name in BACKENDS:
            running[name] = relay(gateway, name)
            stack.callback(running[name].child.communicate)
            stack.callback(running[name].child.kill)
        stack.enter_context(balancer(gateway, "haproxy"))
        west = gateway.initiator("laptop.example", is_tls=True)
        west.told.wait_for("child-sa-installed")
        works_both_ways(west, gateway)
        before = addresses(gateway.theirs)
        running.pop(whose(gateway, *BACKENDS)).signal(signal.SIGKILL)
        west.told.wait_for("connection-opened", 2)
        west.told.wait_for("child-sa-rekeyed")  # so strongSwan moves its ESP
        works_both_ways(west, gateway)
        assert whose(gateway, *running) in running
        assert addresses(gateway.theirs) != before
        assert len(west.told.of("ike-sa-established")) == 1


def addresses(theirs: StrongSwan) -> tuple[str, str]:
    """Where strongSwan sees the peer of its only IKE SA."""
    (sa,) = theirs.sas()
    return sa["remote-host"], sa["remote-port"]
