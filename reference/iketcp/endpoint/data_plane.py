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

from collections.abc import Sequence
from typing import NamedTuple

from iketcp.effects import DeliverInner, Effect, Transmit
from iketcp.endpoint.tables import Counters, LiveChild, Tables
from iketcp.errors import MessageTooLongError, SequenceExhaustedError
from iketcp.esp.spd import OutboundSpd
from iketcp.inner import packet_too_big
from iketcp.stream import frame_esp_batch


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
            if live is not None:
                self._send_batch(live, batch, effects)
        return effects

    def _send_batch(
        self, live: LiveChild, packets: list[bytes], effects: list[Effect]
    ) -> None:
        connection = live.session.current
        if connection is None:
            self._counters.drop("no connection", len(packets))
            return
        if max(map(len, packets)) > live.inner_mtu:
            packets = self._refuse_too_big(live, packets, effects)
        try:
            octets = frame_esp_batch(live.esp.seal_batch(packets))
        except SequenceExhaustedError:
            self._counters.drop("sequence numbers exhausted", len(packets))
            return
        except MessageTooLongError:
            self._counters.drop("too long for a frame", len(packets))
            return
        if octets:
            effects.append(Transmit(connection, octets, droppable=True))

    def _refuse_too_big(
        self, live: LiveChild, packets: list[bytes], effects: list[Effect]
    ) -> list[bytes]:
        """Answer what is larger than the tunnel; return what is left to send."""
        fitting, answers = [], []
        for packet in packets:
            is_too_big = len(packet) > live.inner_mtu
            answer = packet_too_big(packet, live.inner_mtu) if is_too_big else None
            if answer is None:
                fitting.append(packet)
            else:
                self._counters.drop("larger than the inner MTU")
                answers.append(answer)
        if answers:
            effects.append(DeliverInner(answers))
        return fitting


class InboundRun(NamedTuple):
    """What came of ESP packets with one SPI in a row."""

    live: LiveChild | None
    """The Child SA; ``None`` if none has that SPI."""
    is_authentic: bool
    """One of them was authentic and no replay [9329-6.1-valid-esp]."""
    integrity_failures: int


def open_run(
    tables: Tables, spi_in: bytes, packets: list[bytes], effects: list[Effect]
) -> InboundRun:
    """Open ESP packets that share an SPI.

    A session is recognised by the SPI alone, whatever connection the packets came on
    [9329-6.1-recognise].

    Source: RFC 4303 §3.4.2, RFC 9329 §6.1
    """
    live = tables.children.get(spi_in)
    if live is None:
        return InboundRun(None, False, 0)
    opened = live.esp.open_batch(packets)
    if opened.packets:
        effects.append(DeliverInner(opened.packets))
    return InboundRun(live, opened.is_authentic, opened.integrity_failures)
