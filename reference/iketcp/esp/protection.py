"""One direction of a Child SA: a key, a counter, and the way through them.

Outbound, every packet takes the next sequence number and no number is ever taken
twice under one key. Inbound, the order of the checks is the protocol: the sequence
number first, because that is cheap; the integrity check next; only then is the window
moved and the content looked at. A forged packet therefore changes nothing.

Neither class locks: whoever calls from several threads holds a lock (two packets with
one sequence number would share a nonce, which breaks a counter-mode cipher).

Source: RFC 4303 §3.3
Source: RFC 4303 §3.4
"""

from collections.abc import Callable, Sequence
from typing import Never

from iketcp.child_sa import TransportAddresses
from iketcp.crypto.suite import Suite
from iketcp.environment import Entropy
from iketcp.errors import (
    IntegrityError,
    MalformedPacketError,
    ReplayError,
    SelectorMismatchError,
    SequenceExhaustedError,
    UnknownSpiError,
)
from iketcp.esp.alike import inner_packets, rising_numbers
from iketcp.esp.packet import (
    HEADER_SIZE,
    alignment,
    covered,
    inner_packet,
    split_payload,
    trailers,
)
from iketcp.esp.replay import ReplayWindow
from iketcp.esp.transport_mode import put_header_on, take_header_off
from iketcp.registry import IpProtocol

_CipherCall = Callable[[bytes, bytes, bytes, bytes], bytes]


class OutboundSa:
    """Seals packets to the peer.

    Choice: where the IV is a counter it is the 64-bit sequence number, which is
    unique under the key because the sequence number is. An implicit IV is the same, and
    not sent.

    Parameters
    ----------
    spi : bytes
        The peer's SPI, 4 octets.
    suite : Suite
        Cipher and kind of sequence number.
    encryption_key, integrity_key : bytes
        ``suite.cipher.key_size`` and ``integrity_key_size`` octets.
    entropy : Entropy
        Gives unpredictable IVs under the label ``esp.iv``.
    tfc_pad_to : int
        Shorter packets are padded to this many octets.
    is_transport : bool
        Transport mode: the packets' IP headers stay behind. TFC padding is for tunnel
        mode, where the inner packet says how long it is.

    Source: RFC 4303 §3.3, RFC 8750 §4
    """

    __slots__ = (
        "_alignment",
        "_draw",
        "_dummy_trailers",
        "_is_aead",
        "_is_esn",
        "_is_transport",
        "_iv_size",
        "_last",
        "_seal",
        "_spi",
        "_tfc_pad_to",
        "_trailers",
        "octets",
        "sequence",
    )

    def __init__(
        self,
        spi: bytes,
        suite: Suite,
        encryption_key: bytes,
        integrity_key: bytes,
        entropy: Entropy,
        tfc_pad_to: int = 0,
        is_transport: bool = False,
    ) -> None:
        spec = suite.cipher
        multiple = alignment(spec)
        self._spi = spi
        self._seal: _CipherCall = spec.new(encryption_key, integrity_key).seal
        self._draw = entropy.draw if spec.needs_unpredictable_iv else None
        self._iv_size = spec.iv_size
        self._is_aead = spec.is_aead
        self._is_esn = suite.esn
        self._last = (1 << (64 if suite.esn else 32)) - 1
        self._alignment = multiple
        self._trailers = {
            4: trailers(IpProtocol.IPV4, multiple),
            6: trailers(IpProtocol.IPV6, multiple),
        }
        self._dummy_trailers = trailers(IpProtocol.NO_NEXT_HEADER, multiple)
        self._tfc_pad_to = tfc_pad_to
        self._is_transport = is_transport
        self.sequence = 0
        """Sequence number of the last packet; the first packet's is 1."""
        self.octets = 0
        """Octets encrypted so far, padding included. Source: RFC 4301 §4.4.2.1."""

    def seal(self, inner: bytes) -> bytes:
        """Make the ESP packet that carries one inner packet.

        Raises
        ------
        MalformedPacketError
            ``inner`` is neither IPv4 nor IPv6; or it is a fragment, or broken, in
            transport mode.
        SequenceExhaustedError
            The next sequence number would be a used one.

        Source: RFC 4303 §3.3.2, RFC 4303 §2.7
        """
        if self._is_transport:
            next_header, payload = take_header_off(inner)
            return self._seal_payload(payload, trailers(next_header, self._alignment))
        tails = self._trailers.get(inner[0] >> 4) if inner else None
        if tails is None:
            raise MalformedPacketError("neither an IPv4 nor an IPv6 packet")
        if len(inner) < self._tfc_pad_to:
            inner = inner.ljust(self._tfc_pad_to, b"\0")
        return self._seal_payload(inner, tails)

    def seal_dummy(self) -> bytes:
        """Make a dummy packet, as large as a TFC-padded one.

        Choice: the content is zeros; encrypted, nobody can tell.

        Raises
        ------
        SequenceExhaustedError
            The next sequence number would be a used one.

        Source: RFC 4303 §2.6
        """
        return self._seal_payload(bytes(self._tfc_pad_to), self._dummy_trailers)

    def _seal_payload(self, payload: bytes, tails: tuple[bytes, ...]) -> bytes:
        sequence = self.sequence + 1
        if sequence > self._last:
            raise SequenceExhaustedError(f"SPI {self._spi.hex()}: no number is left")
        self.sequence = sequence
        number = sequence.to_bytes(8, "big")
        draw = self._draw
        iv = number if draw is None else draw("esp.iv", self._iv_size)
        plaintext = payload + tails[len(payload) % self._alignment]
        self.octets += len(plaintext)
        before, after = covered(self._spi, number, self._is_esn, self._is_aead)
        sealed = self._seal(iv, plaintext, before, after)
        return self._spi + number[4:] + iv[: self._iv_size] + sealed

    def forget_key(self) -> None:
        """Let go of the key; from now on sealing raises UnknownSpiError."""
        self._seal = _forgotten


class InboundSa:
    """Opens packets from the peer.

    Parameters
    ----------
    spi : bytes
        Our SPI, 4 octets.
    suite : Suite
        Cipher and kind of sequence number.
    encryption_key, integrity_key : bytes
        ``suite.cipher.key_size`` and ``integrity_key_size`` octets.
    admits : Callable[[bytes], bool]
        Tells whether an inner packet lies within the Traffic Selectors.
    replay_window : int
        Width of the anti-replay window in packets; 0 turns the service off.
    transport : TransportAddresses or None
        The hosts, in transport mode, for the IP headers that stayed behind.

    Source: RFC 4303 §3.4, RFC 8750 §4
    """

    __slots__ = (
        "_admits",
        "_block_size",
        "_is_aead",
        "_is_esn",
        "_iv_end",
        "_min_size",
        "_open",
        "_overhead",
        "_spi",
        "_transport",
        "authentic",
        "octets",
        "window",
    )

    def __init__(
        self,
        spi: bytes,
        suite: Suite,
        encryption_key: bytes,
        integrity_key: bytes,
        admits: Callable[[bytes], bool],
        replay_window: int = 1024,
        transport: TransportAddresses | None = None,
    ) -> None:
        spec = suite.cipher
        self._spi = spi
        self._open: _CipherCall = spec.new(encryption_key, integrity_key).open
        self._admits = admits
        self._transport = transport
        self._is_aead = spec.is_aead
        self._is_esn = suite.esn
        self._block_size = spec.block_size
        self._iv_end = HEADER_SIZE + spec.iv_size
        self._overhead = self._iv_end + spec.icv_size
        self._min_size = self._overhead + alignment(spec)
        self.window = ReplayWindow(replay_window)
        self.authentic = 0
        """Packets that passed the integrity check, dummies included."""
        self.octets = 0
        """Octets decrypted so far, padding included. Source: RFC 4301 §4.4.2.1."""

    def open(self, packet: bytes) -> bytes | None:
        """Return the inner packet in an ESP packet, or ``None`` for a dummy.

        Once the integrity check has passed, the packet counts in ``authentic`` and
        its number is used up, whatever is found inside [9329-6.1-valid-esp].

        Choice: the encrypted part must be whole cipher blocks; a peer that forgets
        the alignment to 4 octets is forgiven.

        Raises
        ------
        MalformedPacketError
            The packet is too short or not in whole blocks (nothing was decrypted),
            or its padding, Next Header or inner packet makes no sense.
        ReplayError
            The sequence number was seen before, or is left of the window.
        IntegrityError
            The ICV does not verify.
        SelectorMismatchError
            The inner packet is outside the Traffic Selectors.
        UnknownSpiError
            The packet is for another SA, or the key was forgotten.

        Source: RFC 4303 §3.4.2, RFC 4303 §3.4.3, RFC 4303 §3.4.4, RFC 4301 §5.2
        """
        encrypted = len(packet) - self._overhead
        if len(packet) < self._min_size or encrypted % self._block_size:
            raise MalformedPacketError(f"ESP packet of {len(packet)} octets")
        if packet[:4] != self._spi:
            raise UnknownSpiError(f"SPI {packet[:4].hex()} is not this SA's")
        window = self.window
        sequence = int.from_bytes(packet[4:8], "big")
        if self._is_esn:
            sequence = window.infer(sequence)
        if not window.check(sequence):
            raise ReplayError(f"sequence number {sequence}")
        number = sequence.to_bytes(8, "big")
        before, after = covered(self._spi, number, self._is_esn, self._is_aead)
        iv_end = self._iv_end
        iv = packet[HEADER_SIZE:iv_end] or number
        plaintext = self._open(iv, packet[iv_end:], before, after)
        window.advance(sequence)
        self.authentic += 1
        self.octets += encrypted
        next_header, payload = split_payload(plaintext)
        if next_header == IpProtocol.NO_NEXT_HEADER:
            return None
        if self._transport is None:
            inner = inner_packet(next_header, payload)
        else:
            inner = put_header_on(next_header, payload, self._transport)
        if not self._admits(inner):
            raise SelectorMismatchError("outside the selectors of its Child SA")
        return inner

    def open_alike(self, packets: Sequence[bytes]) -> list[bytes]:
        """Open packets of one size together, if each is as ordinary as can be.

        Returns
        -------
        list of bytes
            The inner packets, one for each; :meth:`open` would have returned the same
            and left the same behind. Empty: nothing was done, and each packet is to be
            opened by itself.

        Source: RFC 4303 §3.4
        """
        iv_end, open_ = self._iv_end, self._open
        encrypted = len(packets[0]) - self._overhead
        is_ordinary = (
            self._is_aead
            and self._transport is None
            and len(packets[0]) >= self._min_size
            and encrypted % self._block_size == 0
        )
        numbers = self._new_numbers(packets) if is_ordinary else ()
        if not numbers:
            return []
        octets = [number.to_bytes(8, "big") for number in numbers]
        heads = (
            [self._spi + number for number in octets]
            if self._is_esn
            else [packet[:HEADER_SIZE] for packet in packets]
        )
        ivs = (
            [packet[HEADER_SIZE:iv_end] for packet in packets]
            if iv_end > HEADER_SIZE
            else octets
        )
        try:
            plaintexts = [
                open_(iv, packet[iv_end:], head, b"")
                for iv, packet, head in zip(ivs, packets, heads, strict=True)
            ]
        except (IntegrityError, UnknownSpiError):
            return []
        inner = inner_packets(plaintexts, self._admits)
        if inner:
            self.window.advance_all(numbers)
            self.authentic += len(packets)
            self.octets += encrypted * len(packets)
        return inner

    def _new_numbers(self, packets: Sequence[bytes]) -> Sequence[int]:
        """Return whole sequence numbers, if each is higher than all before it."""
        window = self.window
        numbers = rising_numbers(packets, self._spi)
        if numbers and self._is_esn:
            above = window.infer(numbers[0]) - numbers[0]
            if window.infer(numbers[-1]) != above + numbers[-1]:
                return ()
            numbers = [above + number for number in numbers]
        is_new = numbers and numbers[0] > window.top and window.check(numbers[-1])
        return numbers if is_new else ()

    def is_plausible(self, packet: bytes) -> bool:
        """Tell whether the sequence number in a packet would be taken.

        Only its first eight octets are looked at. Source: RFC 9329 §10.
        """
        return self.window.check(self._sequence(packet))

    def is_genuine(self, packet: bytes) -> bool:
        """Tell whether :meth:`open` would find the packet authentic; changes nothing.

        Source: RFC 9329 §10, RFC 4303 §3.4.4
        """
        encrypted = len(packet) - self._overhead
        if len(packet) < self._min_size or encrypted % self._block_size:
            return False
        sequence = self._sequence(packet)
        if not self.window.check(sequence):
            return False
        number = sequence.to_bytes(8, "big")
        before, after = covered(self._spi, number, self._is_esn, self._is_aead)
        iv_end = self._iv_end
        iv = packet[HEADER_SIZE:iv_end] or number
        try:
            self._open(iv, packet[iv_end:], before, after)
        except (IntegrityError, UnknownSpiError):
            return False
        return True

    def _sequence(self, packet: bytes) -> int:
        """Return the whole sequence number, of which a packet shows 32 bits."""
        sequence = int.from_bytes(packet[4:8], "big")
        return self.window.infer(sequence) if self._is_esn else sequence

    def forget_key(self) -> None:
        """Let go of the key; from now on opening raises UnknownSpiError."""
        self._open = _forgotten


def _forgotten(*_: object) -> Never:
    """Stand where a cipher stood."""
    raise UnknownSpiError("the Child SA is gone")
