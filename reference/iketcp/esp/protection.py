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
from iketcp.crypto.ciphers import CombinedMode
from iketcp.crypto.suite import Suite
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
from iketcp.esp.alike import (
    RowCipher,
    SequenceNumbers,
    are_large,
    common_version,
    inner_packets,
    rising_numbers,
    rows_of,
    size_of,
)
from iketcp.esp.packet import (
    HEADER_SIZE,
    alignment,
    covered,
    inner_packet,
    packet_size,
    split_payload,
    trailers,
)
from iketcp.esp.replay import ReplayWindow
from iketcp.esp.transport_mode import put_header_on, take_header_off
from iketcp.offload.rows import Octets, PacketRows
from iketcp.registry import IpProtocol
from iketcp.stream import MAX_MESSAGE, EspFrames

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
        "_row_cipher",
        "_seal",
        "_spec",
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
        cipher = spec.new(encryption_key, integrity_key)
        self._seal: _CipherCall = cipher.seal
        self._row_cipher: RowCipher | None = None
        if isinstance(cipher, CombinedMode) and not is_transport:
            self._row_cipher = RowCipher(cipher, spi, suite.esn)
        self._draw = entropy.draw if spec.needs_unpredictable_iv else None
        self._iv_size = spec.iv_size
        self._is_aead = spec.is_aead
        self._is_esn = suite.esn
        self._last = (1 << (64 if suite.esn else 32)) - 1
        self._spec = spec
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

    def seal_alike(self, packets: Sequence[bytes]) -> EspFrames | None:
        """Seal packets of one size together, if each is as ordinary as can be.

        Parameters
        ----------
        packets : sequence of bytes
            Rows, or some that are large.

        Returns
        -------
        EspFrames or None
            What :meth:`seal` would have made of each. ``None``: nothing was done, and
            each packet is to be sealed by itself.

        Source: RFC 4303 §3.3
        """
        tails = self._trailers.get(common_version(packets))
        if self._row_cipher is None or tails is None:
            return None
        size = size_of(packets)
        is_ordinary = (
            len(packets) <= self._last - self.sequence
            and size >= self._tfc_pad_to
            and packet_size(size, self._spec) <= MAX_MESSAGE
        )
        if not is_ordinary:
            return None
        trailer, first = tails[size % self._alignment], self.sequence + 1
        if isinstance(packets, PacketRows):
            sealed = self._row_cipher.seal(packets.octets, trailer, first)
        else:
            sealed = self._row_cipher.seal_large(packets, trailer, first)
        self.sequence += len(packets)
        self.octets += (size + len(trailer)) * len(packets)
        return sealed

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
        self._seal, self._row_cipher = _forgotten, None


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
        "_row_cipher",
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
        cipher = spec.new(encryption_key, integrity_key)
        self._open: _CipherCall = cipher.open
        self._row_cipher: RowCipher | None = None
        if isinstance(cipher, CombinedMode) and transport is None:
            self._row_cipher = RowCipher(cipher, spi, suite.esn)
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
        return self._inner(next_header, payload)

    def open_alike(self, packets: Sequence[bytes]) -> Sequence[bytes] | None:
        """Open packets of one size together, if each is as ordinary as can be.

        Returns
        -------
        sequence of bytes or None
            The inner packets, one for each; :meth:`open` would have returned the same
            and left the same behind. Rows, unless they are large. ``None``: nothing was
            done, and each packet is to be opened by itself.

        Source: RFC 4303 §3.4
        """
        rows = rows_of(packets)
        size = rows.shape[1]
        if self._row_cipher is None or size < self._min_size:
            return None
        numbers = self._new_numbers(rows)
        if numbers is None:
            return None
        inner: Sequence[bytes] | None
        try:
            if isinstance(packets, EspFrames) and are_large(packets):
                plaintexts = self._row_cipher.open_large(packets, numbers)
                inner = [self._inner(*split_payload(it)) for it in plaintexts]
            else:
                inner = inner_packets(
                    self._row_cipher.open(rows, numbers), self._admits
                )
        except DropError:
            return None
        if inner is not None:
            self.window.advance_all(numbers.tolist())
            self.authentic += len(rows)
            self.octets += (size - self._overhead) * len(rows)
        return inner

    def _inner(self, next_header: int, payload: bytes) -> bytes:
        """Return the inner packet in a payload.

        Raises
        ------
        MalformedPacketError
            There is none, or a dummy.
        SelectorMismatchError
            It is outside the Traffic Selectors.

        Source: RFC 4301 §5.2
        """
        if self._transport is None:
            inner = inner_packet(next_header, payload)
        else:
            inner = put_header_on(next_header, payload, self._transport)
        if not self._admits(inner):
            raise SelectorMismatchError("outside the selectors of its Child SA")
        return inner

    def _new_numbers(self, rows: Octets) -> SequenceNumbers | None:
        """Return whole sequence numbers, if each is higher than all before it."""
        window = self.window
        numbers = rising_numbers(rows, self._spi)
        if numbers is None:
            return None
        first, last, above = int(numbers[0]), int(numbers[-1]), 0
        if self._is_esn:
            above = window.infer(first) - first
            if window.infer(last) != above + last:
                return None
        is_new = first + above > window.top and window.check(last + above)
        return numbers + above if is_new else None

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
        self._open, self._row_cipher = _forgotten, None


def _forgotten(*_: object) -> Never:
    """Stand where a cipher stood."""
    raise UnknownSpiError("the Child SA is gone")
