"""A Child SA at work: both directions, packets in batches, and what became of them.

One batch is what a tunnel device or a socket had to give at once. The lock is taken
once for it, and nothing in a batch from the peer can raise: a packet is delivered, or
it is dropped and counted under a reason.

Source: RFC 4303 §3
Source: RFC 4301 §4.4.2.1
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from typing import NamedTuple

from iketcp.child_sa import ChildSaParameters
from iketcp.environment import Entropy
from iketcp.errors import (
    DropError,
    IntegrityError,
    MalformedPacketError,
    ReplayError,
    SelectorMismatchError,
    SequenceExhaustedError,
    UnknownSpiError,
)
from iketcp.esp.alike import are_large, are_many, size_of
from iketcp.esp.protection import InboundSa, OutboundSa
from iketcp.esp.selector_check import SelectorCheck
from iketcp.offload.rows import PacketRows
from iketcp.stream import EspFrames

_REASONS: dict[type[DropError], str] = {
    IntegrityError: "integrity",
    ReplayError: "replay",
    MalformedPacketError: "malformed",
    SelectorMismatchError: "selector",
    UnknownSpiError: "no_sa",
}
_OUTBOUND_REASONS = ("malformed", "exhausted", "no_sa")

_NO_LOCK = nullcontext()


class OpenedBatch(NamedTuple):
    """What a batch of ESP packets held."""

    packets: Sequence[bytes]
    """Inner packets, in order; dummies and dropped packets are not among them."""
    is_authentic: bool
    """Whether at least one packet was authentic and no replay, dummies included: only
    this may move an IKE SA to the connection it came on [9329-6.1-valid-esp]."""
    integrity_failures: int
    """Packets whose ICV did not verify [9329-6.1-corrupt]."""


@dataclass(slots=True)
class ChildSaCounters:
    """What has gone through a Child SA; octets are those of inner packets."""

    packets_in: int = 0
    octets_in: int = 0
    dummies_in: int = 0
    packets_out: int = 0
    octets_out: int = 0
    dummies_out: int = 0
    dropped_in: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(_REASONS.values(), 0)
    )
    """Packets from the peer that were dropped, by reason."""
    dropped_out: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(_OUTBOUND_REASONS, 0)
    )
    """Packets to the peer that were dropped, by reason."""


class Usage(NamedTuple):
    """What has gone through both SAs of a Child SA. RFC 4301 §4.4.2.1."""

    packets_in: int
    octets_in: int
    packets_out: int
    octets_out: int


class ChildSa:
    """A pair of SAs.

    Parameters
    ----------
    parameters : ChildSaParameters
        Keys, SPIs, suite, selectors and local choices.
    entropy : Entropy
        Gives unpredictable IVs where the cipher needs them.
    lock : AbstractContextManager
        Held for the length of each batch. Without one, calls must not overlap.
    is_sending_deferred : bool
        The peer has not shown yet that it can receive on this Child SA, so while
        there is another, sending stays there. Source: RFC 7296 §2.8.

    Raises
    ------
    ValueError
        The suite is not supported, or a key has another size.

    Source: RFC 4303 §3, RFC 7296 §2.8
    """

    def __init__(
        self,
        parameters: ChildSaParameters,
        entropy: Entropy,
        lock: AbstractContextManager[object] = _NO_LOCK,
        is_sending_deferred: bool = False,
    ) -> None:
        self.parameters = parameters
        self.is_sending_deferred = is_sending_deferred
        self.counters = ChildSaCounters()
        self._lock = lock
        self._outbound = OutboundSa(
            parameters.spi_out,
            parameters.suite,
            parameters.encryption_key_out,
            parameters.integrity_key_out,
            entropy,
            parameters.tfc_pad_to,
            is_transport=parameters.transport is not None,
        )
        self._inbound = InboundSa(
            parameters.spi_in,
            parameters.suite,
            parameters.encryption_key_in,
            parameters.integrity_key_in,
            SelectorCheck(parameters.remote_ts, parameters.local_ts).admits,
            parameters.replay_window,
            parameters.transport,
        )

    def seal_batch(self, packets: Sequence[bytes]) -> list[bytes]:
        """Make ESP packets of inner packets, as :meth:`seal_runs` does.

        Raises
        ------
        SequenceExhaustedError
            No sequence number is left for any of the packets.

        Source: RFC 4303 §3.3
        """
        return list(chain.from_iterable(self.seal_runs(packets)))

    def seal_runs(self, packets: Sequence[bytes]) -> list[Sequence[bytes]]:
        """Make ESP packets of inner packets, in order; many of one size together.

        The packets are taken to be this Child SA's (see
        :class:`~iketcp.esp.spd.OutboundSpd`). What is no IP packet is dropped, and so
        is everything after :meth:`forget_keys`.

        Returns
        -------
        list of sequences of bytes
            None of them empty. Those that were sealed together are
            :class:`~iketcp.stream.EspFrames`.

        Raises
        ------
        SequenceExhaustedError
            No sequence number is left for any of the packets. A batch that uses up
            the last one is sealed that far, and the rest is dropped.

        Source: RFC 4303 §3.3
        """
        runs: list[Sequence[bytes]] = []
        with self._lock:
            for alike in _of_one_size(packets):
                sealed: Sequence[bytes] = (
                    self._seal_alike(alike, is_first=not runs)
                    if isinstance(alike, PacketRows) or are_large(alike)
                    else self._seal_each(alike, is_first=not runs)
                )
                if sealed:
                    runs.append(sealed)
        return runs

    def _seal_alike(self, packets: Sequence[bytes], is_first: bool) -> Sequence[bytes]:
        """Seal packets of one size together if possible; the caller holds the lock.

        Raises
        ------
        SequenceExhaustedError
            As :meth:`seal_runs`, if they are the first ones of a batch.
        """
        sealed = self._outbound.seal_alike(packets)
        if sealed is None:
            return self._seal_each(packets, is_first)
        self.counters.packets_out += len(packets)
        self.counters.octets_out += len(packets) * size_of(packets)
        return sealed

    def _seal_each(self, packets: Sequence[bytes], is_first: bool) -> list[bytes]:
        """Seal packets one by one; the caller holds the lock.

        Raises
        ------
        SequenceExhaustedError
            As :meth:`seal_runs`, if they are the first ones of a batch.
        """
        counters = self.counters
        dropped = counters.dropped_out
        sealed: list[bytes] = []
        octets = 0
        seal, append = self._outbound.seal, sealed.append
        for packet in packets:
            try:
                append(seal(packet))
            except DropError as error:
                dropped[_REASONS[type(error)]] += 1
            except SequenceExhaustedError:
                dropped["exhausted"] += 1
                if is_first and not sealed:
                    raise
            else:
                octets += len(packet)
        counters.packets_out += len(sealed)
        counters.octets_out += octets
        return sealed

    def seal_dummy(self) -> bytes:
        """Make a dummy packet: the peer drops it, and nobody else can tell.

        Raises
        ------
        SequenceExhaustedError
            No sequence number is left.
        UnknownSpiError
            The keys were forgotten.

        Source: RFC 4303 §2.6
        """
        with self._lock:
            sealed = self._outbound.seal_dummy()
            self.counters.dummies_out += 1
        return sealed

    def open(self, message: bytes) -> bytes | None:
        """Open one ESP packet, as :meth:`InboundSa.open` does, and count it.

        Raises
        ------
        DropError
            One of the subclasses that :meth:`InboundSa.open` names.

        Source: RFC 4303 §3.4
        """
        counters = self.counters
        with self._lock:
            try:
                inner = self._inbound.open(message)
            except DropError as error:
                counters.dropped_in[_REASONS[type(error)]] += 1
                raise
            if inner is None:
                counters.dummies_in += 1
            else:
                counters.packets_in += 1
                counters.octets_in += len(inner)
        return inner

    def open_batch(self, messages: Sequence[bytes]) -> OpenedBatch:
        """Open ESP packets whose SPI is ours; never raises for what is in them.

        Choice: with the anti-replay service off a replay cannot be told from news,
        so the batch counts as authentic only if it brought a higher number.

        Source: RFC 4303 §3.4, RFC 9329 §6.1
        """
        counters = self.counters
        failures_before = counters.dropped_in["integrity"]
        with self._lock:
            inbound = self._inbound
            authentic_before, top_before = inbound.authentic, inbound.window.top
            packets = self._open_runs(messages)
            counters.packets_in += len(packets)
            is_authentic = (
                inbound.authentic > authentic_before
                if inbound.window.size
                else inbound.window.top > top_before
            )
            failures = counters.dropped_in["integrity"] - failures_before
        return OpenedBatch(packets, is_authentic, failures)

    def _open_runs(self, messages: Sequence[bytes]) -> Sequence[bytes]:
        """Open packets, many of one size together; the caller holds the lock."""
        counters = self.counters
        packets: list[bytes] = []
        for alike in _of_one_size(messages):
            opened = None
            if not isinstance(alike, list):
                opened = self._inbound.open_alike(alike)
            if opened is None:
                before = len(packets)
                counters.dummies_in += self._open_each(alike, packets)
                counters.octets_in += sum(map(len, packets[before:]))
                continue
            counters.octets_in += (
                len(opened) * opened.size
                if isinstance(opened, PacketRows)
                else sum(map(len, opened))
            )
            if len(opened) == len(messages):
                return opened  # as they are, for whoever goes on with them together
            packets += opened
        return packets

    def _open_each(self, messages: Sequence[bytes], packets: list[bytes]) -> int:
        """Open packets one by one, append what was in them; returns how many dummies.

        The caller holds the lock.
        """
        open_, append = self._inbound.open, packets.append
        dropped = self.counters.dropped_in
        dummies = 0
        for message in messages:
            try:
                inner = open_(message)
            except DropError as error:
                dropped[_REASONS[type(error)]] += 1
            else:
                if inner is None:
                    dummies += 1
                else:
                    append(inner)
        return dummies

    def is_plausible(self, packet: bytes) -> bool:
        """As :meth:`InboundSa.is_plausible`. Source: RFC 9329 §10."""
        with self._lock:
            return self._inbound.is_plausible(packet)

    def is_genuine(self, packet: bytes) -> bool:
        """As :meth:`InboundSa.is_genuine`; counts nothing. Source: RFC 9329 §10."""
        with self._lock:
            return self._inbound.is_genuine(packet)

    def resume_at(self, last_sent: int, highest_received: int) -> None:
        """Go on with keys that have been used: no number and no IV is used twice.

        Parameters
        ----------
        last_sent : int
            Sequence number of our last packet; 0 if there was none.
        highest_received : int
            Highest sequence number authenticated; all up to it count as seen.

        Source: RFC 4303 §3.3.3, RFC 4303 §3.4.3
        """
        with self._lock:
            self._outbound.sequence = last_sent
            self._inbound.window.resume_at(highest_received)

    def count_elsewhere(self, usage: Usage) -> bool:
        """Take over the figures of whoever carries the packets in our place.

        Returns
        -------
        bool
            Whether something has come in since the last time.

        Source: RFC 4301 §4.4.2.1
        """
        with self._lock:
            counters = self.counters
            is_heard = usage.packets_in > counters.packets_in
            counters.packets_in, counters.octets_in = usage[:2]
            counters.packets_out, counters.octets_out = usage[2:]
            self._inbound.authentic, self._inbound.octets = usage[:2]
            self._outbound.sequence, self._outbound.octets = usage[2:]
        return is_heard

    @property
    def used_octets(self) -> int:
        """Octets that went through the cipher, in the busier direction.

        A lifetime is that of one SA, and a Child SA is two of them.

        Source: RFC 4301 §4.4.2.1
        """
        return max(self._outbound.octets, self._inbound.octets)

    @property
    def used_packets(self) -> int:
        """Packets that went through the cipher, in the busier direction.

        Source: RFC 4301 §4.4.2.1
        """
        return max(self._outbound.sequence, self._inbound.authentic)

    def forget_keys(self) -> None:
        """Let go of all keys; later packets are dropped as ``no_sa``.

        The octets themselves are freed when nobody else refers to them; Python
        cannot overwrite them.
        """
        with self._lock:
            self._outbound.forget_key()
            self._inbound.forget_key()
            self.parameters = replace(
                self.parameters,
                encryption_key_in=b"",
                integrity_key_in=b"",
                encryption_key_out=b"",
                integrity_key_out=b"",
            )


def _of_one_size(packets: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Group packets of one size in a row.

    Yields
    ------
    sequence of bytes
        A list where there are too few of them to be worth a closer look together, or
        they are large inner packets.
    """
    if isinstance(packets, PacketRows):
        yield packets if are_many(packets) else list(packets)
        return
    if isinstance(packets, EspFrames):
        yield packets if are_many(packets) or are_large(packets) else list(packets)
        return
    for _, group in groupby(packets, len):
        alike = list(group)
        yield PacketRows.of(alike) if are_many(alike) else alike
