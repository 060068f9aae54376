"""The Encrypted payload: how an IKE SA protects every message after IKE_SA_INIT.

An IKE message after the first two carries its payloads inside one Encrypted payload:
an initialization vector, the encrypted payloads with their padding, and an Integrity
Check Value that also covers the header in front. Each direction has keys of its own, so
a message reflected to its sender does not verify. An Encrypted Fragment payload is made
the same way (:mod:`iketcp.ike.fragments`).

Source: RFC 7296 §3.14
Source: RFC 7383 §2.5
Source: RFC 5282 §3
Source: RFC 5282 §5.1
"""

from collections.abc import Sequence
from dataclasses import replace

from iketcp.crypto.suite import Suite
from iketcp.environment import Entropy
from iketcp.errors import IntegrityError, MalformedMessageError
from iketcp.ike.header import HEADER_SIZE, Header
from iketcp.ike.keys import IkeKeys
from iketcp.ike.message import Message, decode_chain, encode_chain
from iketcp.ike.payloads import Payload, SkfPayload, SkPayload
from iketcp.octets import Reader


class IkeProtection:
    """Seals and opens the Encrypted payload for one IKE SA.

    Parameters
    ----------
    suite : Suite
        The IKE SA's suite.
    keys : IkeKeys
        The IKE SA's keys.
    is_original_initiator : bool
        Which direction is ours.
    entropy : Entropy
        Initialization vectors, for ciphers that want them unpredictable.
    """

    __slots__ = ("_entropy", "_opens_with", "_sealed", "_seals_with", "_spec")

    def __init__(
        self,
        suite: Suite,
        keys: IkeKeys,
        is_original_initiator: bool,
        entropy: Entropy,
    ) -> None:
        initiator = keys.sk_ei, keys.sk_ai
        responder = keys.sk_er, keys.sk_ar
        # Only the keys are kept, and a cipher is made for each message: an IKE SA is
        # silent nearly all its life, and a cipher takes as much room as ten keys.
        if is_original_initiator:
            self._seals_with, self._opens_with = initiator, responder
        else:
            self._seals_with, self._opens_with = responder, initiator
        self._spec = suite.cipher
        self._entropy = entropy
        self._sealed = 0

    def resume_at(self, last_iv: int) -> None:
        """Go on with keys that have been used: ``last_iv`` was the last counted IV.

        Source: RFC 5282 §3.1
        """
        self._sealed = last_iv

    def _next_iv(self) -> bytes:
        """Return an IV never used before under this key.

        Choice: a counter where uniqueness is all a cipher asks, fresh entropy where the
        IV must be unpredictable.

        Source: RFC 5282 §3.1, RFC 7296 §3.14
        """
        size = self._spec.iv_size
        if self._spec.needs_unpredictable_iv:
            return self._entropy.draw("ike.iv", size)
        self._sealed += 1
        return self._sealed.to_bytes(size, "big")

    def seal(
        self,
        header: Header,
        payloads: Sequence[Payload],
        leading: Sequence[Payload] = (),
    ) -> bytes:
        """Make a whole protected IKE message.

        Parameters
        ----------
        header : Header
            SPIs, exchange, Message ID and flags; Next Payload and Length are filled in.
        payloads : Sequence[Payload]
            What goes inside; may be empty.
        leading : Sequence[Payload]
            What stands in the clear before the Encrypted payload; authenticated too.

        Raises
        ------
        MessageTooLongError
            The Encrypted payload does not fit its 16-bit Payload Length.

        Source: RFC 7296 §3.14, RFC 5282 §5.1
        """
        first_inner, content = encode_chain(payloads)
        return self.seal_content(header, SkPayload(first_inner, b""), content, leading)

    def seal_content(
        self,
        header: Header,
        outer: SkPayload | SkfPayload,
        content: bytes,
        leading: Sequence[Payload] = (),
    ) -> bytes:
        """Make a whole protected IKE message of content that is encoded already.

        Parameters
        ----------
        header : Header
            As for :meth:`seal`.
        outer : SkPayload or SkfPayload
            What it is encrypted into; its body is filled in.
        content : bytes
            A chain of payloads; with SKF, a piece of one.
        leading : Sequence[Payload]
            As for :meth:`seal`.

        Raises
        ------
        MessageTooLongError
            The Encrypted payload does not fit its 16-bit Payload Length.

        Source: RFC 7296 §3.14, RFC 7383 §2.5, RFC 5282 §5.1
        """
        # Padding | Pad Length, so that the whole is a multiple of the block size
        pad_length = -(len(content) + 1) % self._spec.block_size
        plaintext = content + bytes(pad_length) + bytes([pad_length])
        body_size = self.sealed_size(len(content))
        first, chain = encode_chain([*leading, replace(outer, body=bytes(body_size))])
        associated = header.with_chain(first, HEADER_SIZE + len(chain)).encode()
        associated += chain[:-body_size]
        iv = self._next_iv()
        cipher = self._spec.new(*self._seals_with)
        return associated + iv + cipher.seal(iv, plaintext, associated)

    def sealed_size(self, content_size: int) -> int:
        """Return the size of an Encrypted payload's body, in octets, by its content's.

        Source: RFC 7296 §3.14
        """
        spec = self._spec
        pad_length = -(content_size + 1) % spec.block_size
        return spec.iv_size + content_size + pad_length + 1 + spec.icv_size

    def largest_content(self, body_size: int) -> int:
        """Return how many octets of content fit a body; negative if not even none.

        Source: RFC 7296 §3.14
        """
        spec = self._spec
        plaintext_size = body_size - spec.iv_size - spec.icv_size
        return plaintext_size - plaintext_size % spec.block_size - 1

    def open(self, message: Message, octets: bytes) -> tuple[Payload, ...]:
        """Verify, decrypt and decode what is inside a protected IKE message.

        Parameters
        ----------
        message : Message
            The decoded outer message.
        octets : bytes
            The same message as it came.

        Raises
        ------
        IntegrityError
            No Encrypted payload stands last, it is too short, or its Integrity Check
            Value does not verify: the message proves nothing and is dropped.
        MalformedMessageError
            The message is authentic, but what is inside has a syntax error.
        UnsupportedCriticalPayloadError
            The message is authentic and holds a critical payload we do not know.

        Source: RFC 7296 §3.14, RFC 7296 §2.21.3
        """
        payload = encrypted_payload(message)
        content = self.open_content(payload, octets)
        return decode_chain(payload.first_inner_type, Reader(content))

    def open_content(self, payload: SkPayload | SkfPayload, octets: bytes) -> bytes:
        """Verify and decrypt the last payload of a message; nothing is decoded.

        Parameters
        ----------
        payload : SkPayload or SkfPayload
            That payload.
        octets : bytes
            The whole message as it came.

        Raises
        ------
        IntegrityError
            It is too short, or its Integrity Check Value does not verify.
        MalformedMessageError
            It is authentic, but its padding is longer than it is.

        Source: RFC 7296 §3.14, RFC 7383 §2.5
        """
        spec = self._spec
        body = payload.body
        if len(body) < spec.iv_size + spec.block_size + spec.icv_size:
            raise IntegrityError(f"Encrypted payload of {len(body)} octets")
        associated = octets[: len(octets) - len(body)]
        iv, sealed = body[: spec.iv_size], body[spec.iv_size :]
        cipher = spec.new(*self._opens_with)
        plaintext = cipher.open(iv, sealed, associated)
        size = len(plaintext) - 1 - plaintext[-1]
        if size < 0:
            raise MalformedMessageError(
                f"Pad Length {plaintext[-1]} in {len(plaintext)} octets"
            )
        return plaintext[:size]


def encrypted_payload(message: Message) -> SkPayload:
    """Return the Encrypted payload of a message, which stands last.

    Raises
    ------
    IntegrityError
        There is none.

    Source: RFC 7296 §3.14
    """
    payload = message.payloads[-1] if message.payloads else None
    if not isinstance(payload, SkPayload):
        raise IntegrityError("no Encrypted payload")
    return payload
