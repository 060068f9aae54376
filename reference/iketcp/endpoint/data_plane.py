"""Inner packets out, ESP packets in: the path that every packet of the tunnel takes.

Packets move in batches. Outbound: find the Child SA of each packet, seal, frame, one
effect for each connection. Inbound: packets of one Child SA in a row are opened
together, and if one of them was authentic and no replay, the connection they came on
becomes the session's. The control lock is taken only when that changes something.

Source: RFC 4303 §3.3
Source: RFC 4303 §3.4
Source: RFC 9329 §6.1
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from iketcp.effects import DeliverInner, Effect, SendDatagrams, Transmit
from iketcp.endpoint.tables import Counters, LiveChild, Tables
from iketcp.errors import MalformedPacketError, SequenceExhaustedError
from iketcp.esp.alike import are_large, are_many
from iketcp.esp.child_sa import ChildSa, OpenedBatch
from iketcp.esp.spd import OutboundSpd
from iketcp.ike.nat_detection import Path
from iketcp.inner import packet_too_big
from iketcp.offload.rows import PacketRows
from iketcp.stream import MessageKind, StreamRun, frame_esp_runs

SMALLEST_IPV6_MTU = 1280
"""Octets that every link has to take; a sender told less goes on sending so much, so
a smaller answer would only make a black hole. Source: RFC 9329 §6.8 leaves it open."""


class Outbound:
    """Seals inner packets.

    Parameters
    ----------
    tables : Tables
        Where Child SAs are found.
    spd : OutboundSpd
        Which Child SA a packet goes into.
    counters : Counters
        What was dropped.
    """

    def __init__(self, tables: Tables, spd: OutboundSpd, counters: Counters) -> None:
        self._tables = tables
        self._spd = spd
        self._counters = counters

    def send(self, packets: Sequence[bytes]) -> list[Effect]:
        """Seal packets that came out of the tunnel device.

        A packet that no Child SA takes is dropped, for there is no policy to let it
        pass in the clear. One over the inner MTU is answered with ICMP
        [9329-6.8-df], or carried whole where no answer is due.

        Returns
        -------
        list[Effect]
            One Transmit a Child SA, and answers for the tunnel device.

        Source: RFC 4301 §5.1, RFC 9329 §6.8
        """
        effects: list[Effect] = []
        for esp, batch in self._by_child(packets):
            live = self._tables.children.get(esp.parameters.spi_in) if esp else None
            if live is None:  # or removed since the look-up
                self._counters.drop("no Child SA for an inner packet", len(batch))
            else:
                self._send_batch(live, batch, effects)
        return effects

    def _by_child(
        self, packets: Sequence[bytes]
    ) -> Iterable[tuple[ChildSa | None, Sequence[bytes]]]:
        """Find the Child SA of each packet; rows are all of one flow."""
        lookup = self._spd.lookup
        if isinstance(packets, PacketRows):
            return [(lookup(packets[0]), packets)]
        batches: dict[ChildSa | None, list[bytes]] = {}
        for packet in packets:
            batches.setdefault(lookup(packet), []).append(packet)
        return batches.items()

    def _send_batch(
        self, live: LiveChild, packets: Sequence[bytes], effects: list[Effect]
    ) -> None:
        carrier = live.session.carrier  # and no other [9329-6.1-send-one]
        if carrier is None:
            # there is no other way to the peer [9329-5-all]
            self._counters.drop("no connection", len(packets))
            return
        if isinstance(carrier, Path) and not carrier.is_encapsulated:
            # UDP port 500 has IKE alone. RFC 7296 §2.23
            self._counters.drop("no ESP on the port of IKE", len(packets))
            return
        if _longest(packets) > live.inner_mtu:
            packets = self._refuse_too_big(live, packets, effects)
        try:
            sealed = live.esp.seal_runs(packets)
        except SequenceExhaustedError:
            self._counters.drop("sequence numbers exhausted", len(packets))
            return
        if not sealed:
            return
        if isinstance(carrier, Path):
            live.session.has_sent = True
            effects.append(SendDatagrams(carrier, list(chain.from_iterable(sealed))))
        else:
            octets = frame_esp_runs(sealed)
            effects.append(Transmit(carrier, octets, droppable=True))

    def _refuse_too_big(
        self, live: LiveChild, packets: Sequence[bytes], effects: list[Effect]
    ) -> list[bytes]:
        """Answer what is larger than the tunnel; return what is left to send.

        What not even a frame can hold is dropped before it is sealed [9329-3-max], so
        that the rest of its batch is not lost with it.
        """
        fitting, answers = [], []
        for packet in packets:
            answer = too_big_answer(packet, live.inner_mtu)
            if answer is not None:
                self._counters.drop("larger than the inner MTU")
                answers.append(answer)
            elif len(packet) > live.largest_inner:
                self._counters.drop("too long for a frame")
            else:
                fitting.append(packet)
        if answers:
            effects.append(DeliverInner(answers))
        return fitting


def _longest(packets: Sequence[bytes]) -> int:
    """Return the octets of the longest of several packets."""
    return packets.size if isinstance(packets, PacketRows) else max(map(len, packets))


def too_big_answer(packet: bytes, mtu: int) -> bytes | None:
    """Return the ICMP answer that a packet too large for the tunnel gets, if any.

    Parameters
    ----------
    mtu : int
        Largest inner packet that should be sent, in octets.

    Returns
    -------
    bytes or None
        The answer, to be handed to the tunnel device in place of the packet. ``None``:
        it fits, or no answer is due, so that it is carried whole.

    Source: RFC 9329 §6.8, RFC 4301 §8.2.1
    """
    if packet[0] >> 4 == 6:
        mtu = max(mtu, SMALLEST_IPV6_MTU)
    if len(packet) <= mtu:
        return None
    try:
        return packet_too_big(packet, mtu)
    except MalformedPacketError:
        return None  # sealing drops and counts it


def runs(
    found: Iterable[StreamRun], longest: int
) -> Iterator[tuple[int, MessageKind, Sequence[bytes]]]:
    """Group what can be handled together: ESP packets in a row with the same SPI.

    Many of one size stay as they are, and large ones; fewer are put together, up to
    ``longest``. Yields the place in ``found`` of the first one, the kind, and the
    messages.

    Source: RFC 4303 §3.4.2
    """
    few: list[bytes] = []
    begin, spi = 0, b""
    for at, (kind, run) in enumerate(found):
        is_esp = kind is MessageKind.ESP
        first = run[0]
        is_whole = not is_esp or are_many(run) or are_large(run)
        if few and not is_whole and first[:4] == spi and len(few) < longest:
            few += run
            continue
        if few:
            yield begin, MessageKind.ESP, few
            few = []
        if is_whole:
            yield at, kind, run
        else:
            begin, spi, few = at, first[:4], list(run)
    if few:
        yield begin, MessageKind.ESP, few


def open_run(
    live: LiveChild, packets: Sequence[bytes], effects: list[Effect]
) -> OpenedBatch:
    """Open ESP packets of one Child SA, and deliver what was in them.

    Source: RFC 4303 §3.4
    """
    opened = live.esp.open_batch(packets)
    if opened.packets:
        effects.append(DeliverInner(opened.packets))
    return opened
