"""A host behind a tunnel device in memory: it answers pings and moves files.

Where no namespace can be made there is no kernel at the inner end of the tunnel, so
this plays its part: packets go into and come out of the tunnel device's other end.
Transfers use datagrams with a number each; the receiver says how many have come without
a gap, and the sender keeps a window ahead of that and goes back when it stops growing,
as it does while the TCP connection is gone.
"""

import hashlib
import os
import queue
import struct
import threading
import time
from collections.abc import Callable

from iketcp.demo.packets import (
    ECHO_REPLIES,
    UDP,
    InnerPacket,
    decode,
    echo_reply,
    echo_request,
    encode,
    udp,
)
from iketcp.demo.scenery import TRANSFER_PORT
from iketcp.net.tun import MemoryTun

PIECE = 1300
"""Octets of a file in one datagram."""

WINDOW = 400
"""Datagrams that may be under way."""

PATIENCE_SECONDS = 0.1
"""Without progress for this long, the sender goes back."""

ANSWER_SECONDS = 2.0
"""How long a ping waits for its answer."""

STALL_SECONDS = 20.0
"""A transfer that gets nothing through for this long has failed."""

# kind, which transfer, which piece of it, octets of the whole
_HEAD = struct.Struct("!BHII")
_DATA, _ACKNOWLEDGEMENT = 1, 2
_ACKNOWLEDGE_EVERY = 32
_PROGRESS_SECONDS = 0.025

Report = Callable[..., None]


class MemoryHost:
    """One host; its thread runs until :meth:`stop`.

    Parameters
    ----------
    tun : MemoryTun
        The tunnel device whose outer end is ours.
    report : Callable
        Called with ``kind`` and further fields, for what arrives.
    """

    def __init__(self, tun: MemoryTun, report: Report) -> None:
        self._tun = tun
        self._report = report
        self._replies: queue.SimpleQueue[InnerPacket] = queue.SimpleQueue()
        self._acknowledged: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        self._transfers = 0
        self._incoming: _Incoming | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory host")

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def ping(self, source: str, target: str, sequence: int) -> float | None:
        """Return the round-trip time in seconds; None without an answer in time."""
        data = os.urandom(56)
        request = echo_request(source, target, os.getpid() & 0xFFFF, sequence, data)
        started = time.monotonic()
        self._tun.inject(encode(request), PATIENCE_SECONDS)
        deadline = started + ANSWER_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                reply = self._replies.get(timeout=left)
            except queue.Empty:
                return None
            if reply.body[4:] == request.body[4:] and reply.source == (
                request.destination
            ):
                return time.monotonic() - started
        return None

    def send(self, source: str, target: str, data: bytes) -> None:
        """Send a file; done when the receiver has acknowledged all of it.

        Raises
        ------
        TimeoutError
            Nothing got through for ``STALL_SECONDS``.
        """
        self._transfers += 1
        digest = hashlib.sha256(data).hexdigest()
        started = time.monotonic()
        self._report(kind="sending", octets=len(data), sha256=digest, time=started)
        pieces = -(-len(data) // PIECE)
        done = following = 0
        progressed = time.monotonic()
        while done < pieces:
            while following < min(done + WINDOW, pieces):
                piece = data[following * PIECE : (following + 1) * PIECE]
                head = _HEAD.pack(_DATA, self._transfers, following, len(data))
                self._inject(source, target, head + piece)
                following += 1
            newest = self._newest_acknowledgement(done)
            now = time.monotonic()
            if newest > done:
                done, progressed = newest, now
            elif now - progressed > STALL_SECONDS:
                raise TimeoutError(f"nothing got through for {STALL_SECONDS:.0f} s")
            else:
                following = done  # go back
        self._report(
            kind="sent", octets=len(data), started=started, time=time.monotonic()
        )

    def _newest_acknowledgement(self, done: int) -> int:
        newest = done
        try:
            answer = self._acknowledged.get(timeout=PATIENCE_SECONDS)
            while True:
                transfer, number = answer
                if transfer == self._transfers:
                    newest = max(newest, number)
                answer = self._acknowledged.get_nowait()
        except queue.Empty:
            return newest

    def _inject(self, source: str, target: str, message: bytes) -> None:
        packet = udp(source, target, TRANSFER_PORT, message)
        self._tun.inject(encode(packet), PATIENCE_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            for octets in self._tun.collect(64, 0.05):
                packet = decode(octets)
                if packet is not None:
                    self._receive(packet)

    def _receive(self, packet: InnerPacket) -> None:
        if packet.protocol == UDP and len(packet.body) >= 8 + _HEAD.size:
            kind, transfer, number, size = _HEAD.unpack_from(packet.body, 8)
            if kind == _ACKNOWLEDGEMENT:
                self._acknowledged.put((transfer, number))
            elif kind == _DATA:
                self._receive_piece(packet, transfer, number, size)
        elif (reply := echo_reply(packet)) is not None:
            self._tun.inject(encode(reply), PATIENCE_SECONDS)
        elif packet.body[:1] == bytes([ECHO_REPLIES.get(packet.protocol, 255)]):
            self._replies.put(packet)

    def _receive_piece(
        self, packet: InnerPacket, transfer: int, number: int, size: int
    ) -> None:
        incoming = self._incoming
        if incoming is None or incoming.transfer < transfer:
            incoming = self._incoming = _Incoming(transfer, size, self._report)
        is_due = incoming.add(number, packet.body[8 + _HEAD.size :])
        if is_due and incoming.transfer == transfer:
            ours, theirs = str(packet.destination), str(packet.source)
            head = _HEAD.pack(_ACKNOWLEDGEMENT, transfer, incoming.following, size)
            self._inject(ours, theirs, head)


class _Incoming:
    """A file on its way in; pieces that come out of order are dropped."""

    def __init__(self, transfer: int, size: int, report: Report) -> None:
        self.transfer = transfer
        self.following = 0
        self._size = size
        self._data = bytearray()
        self._report = report
        self._started = self._reported = time.monotonic()

    @property
    def is_complete(self) -> bool:
        """Whether all of it is there."""
        return len(self._data) >= self._size

    def add(self, number: int, piece: bytes) -> bool:
        """Take a piece; return whether an acknowledgement is due."""
        if number != self.following:
            return number < self.following or number % _ACKNOWLEDGE_EVERY == 0
        self._data += piece
        self.following += 1
        now = time.monotonic()
        if self.is_complete:
            digest = hashlib.sha256(self._data).hexdigest()
            self._report(
                kind="received",
                octets=len(self._data),
                sha256=digest,
                started=self._started,
                time=now,
            )
        elif now - self._reported >= _PROGRESS_SECONDS:
            self._reported = now
            self._report(kind="receiving", octets=len(self._data), size=self._size)
        return self.is_complete or self.following % _ACKNOWLEDGE_EVERY == 0
