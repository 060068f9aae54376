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

from collections.abc import Iterator, Sequence

from iketcp.effects import DeliverInner, Effect, SendDatagrams, Transmit
from iketcp.endpoint.tables import Counters, LiveChild, Tables
from iketcp.errors import MalformedPacketError, SequenceExhaustedError
from iketcp.esp.child_sa import OpenedBatch
from iketcp.esp.spd import OutboundSpd
from iketcp.ike.nat_detection import Path
from iketcp.inner import packet_too_big
from iketcp.stream import MessageKind, StreamMessage, frame_esp_batch

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
        lookup = self._spd.lookup
        batches: dict[bytes, list[bytes]] = {}
        for packet in packets:
            esp = lookup(packet)
            if esp is None:
                self._counters.drop("no Child SA for an inner packet")
                continue
            spi_in = esp.parameters.spi_in
            if spi_in in batches:
                batches[spi_in].append(packet)
            else:
                batches[spi_in] = [packet]
        for spi_in, batch in batches.items():
            live = self._tables.children.get(spi_in)
            if live is None:  # removed since the look-up
                self._counters.drop("no Child SA for an inner packet", len(batch))
            else:
                self._send_batch(live, batch, effects)
        return effects

    def _send_batch(
        self, live: LiveChild, packets: list[bytes], effects: list[Effect]
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
        if max(map(len, packets)) > live.inner_mtu:
            packets = self._refuse_too_big(live, packets, effects)
        try:
            sealed = live.esp.seal_batch(packets)
        except SequenceExhaustedError:
            self._counters.drop("sequence numbers exhausted", len(packets))
            return
        if not sealed:
            return
        if isinstance(carrier, Path):
            live.session.has_sent = True
            effects.append(SendDatagrams(carrier, sealed))
        else:
            octets = frame_esp_batch(sealed)
            effects.append(Transmit(carrier, octets, droppable=True))

    def _refuse_too_big(
        self, live: LiveChild, packets: list[bytes], effects: list[Effect]
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
    messages: Sequence[StreamMessage], longest: int
) -> Iterator[tuple[int, MessageKind, list[bytes]]]:
    """Group what can be handled together: ESP packets in a row with the same SPI.

    Yields the place of a run's first message in ``messages``, the kind, and the octets
    of each, at most ``longest``; anything but ESP is a run of one.

    Source: RFC 4303 §3.4.2
    """
    run: list[bytes] = []
    begin, spi = 0, b""
    for at, (kind, octets) in enumerate(messages):
        is_esp = kind is MessageKind.ESP
        if run and is_esp and octets[:4] == spi and len(run) < longest:
            run.append(octets)
            continue
        if run:
            yield begin, MessageKind.ESP, run
            run = []
        if is_esp:
            begin, spi, run = at, octets[:4], [octets]
        else:
            yield at, kind, [octets]
    if run:
        yield begin, MessageKind.ESP, run


def open_run(
    live: LiveChild, packets: list[bytes], effects: list[Effect]
) -> OpenedBatch:
    """Open ESP packets of one Child SA, and deliver what was in them.

    Source: RFC 4303 §3.4
    """
    opened = live.esp.open_batch(packets)
    if opened.packets:
        effects.append(DeliverInner(opened.packets))
    return opened
