"""An IKE message: the header and its chain of payloads.

Each payload begins with four octets: the type of the payload *after* it, a critical
bit, and its own length. The header gives the first type; 0 ends the chain. So an
unknown payload can be stepped over, unless its sender marked it critical. The Encrypted
payload is always last, and its Next Payload field is about what is inside it. The same
holds for an Encrypted Fragment.

============  ======  ======================================================
field         octets  meaning
============  ======  ======================================================
Next Payload  1       type of the next payload; 0: there is none
C, reserved   1       bit 0x80: refuse the message if the type is unknown
Length        2       generic header and body, in octets
============  ======  ======================================================

:func:`describe` writes a payload down in one line.

Source: RFC 7296 §3.1
Source: RFC 7296 §3.2
Source: RFC 7296 §2.5
Source: RFC 7383 §2.5
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch

from iketcp.errors import (
    MalformedMessageError,
    MessageTooLongError,
    UnsupportedCriticalPayloadError,
)
from iketcp.ike.header import HEADER_SIZE, Header
from iketcp.ike.identity import Identity
from iketcp.ike.payloads import (
    DECODERS,
    AuthPayload,
    CertPayload,
    CertReqPayload,
    ConfigurationPayload,
    DeletePayload,
    EapPayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    PsPayload,
    SaPayload,
    SkfPayload,
    SkPayload,
    TsPayload,
    UnknownPayload,
    VendorPayload,
    decode_fragment,
)
from iketcp.octets import Reader
from iketcp.registry import (
    AuthMethod,
    ConfigurationType,
    KeyExchangeMethod,
    NotifyType,
    PayloadType,
    ProtocolId,
    name_of,
)

_GENERIC = struct.Struct(">BBH")
_CRITICAL = 0x80
_MAX_LENGTH = 0xFFFF
_ENCRYPTED = frozenset({PayloadType.SK, PayloadType.SKF})
_ENCRYPTED_PAYLOADS = (SkPayload, SkfPayload)

MAX_DESCRIPTION = 240
"""Choice: characters after which a line is cut off."""


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded IKE message."""

    header: Header
    payloads: tuple[Payload, ...]
    """In the order in which they came, unknown ones included."""


def encode_chain(payloads: Sequence[Payload]) -> tuple[int, bytes]:
    """Encode payloads one after another.

    The critical bit is zero for every payload type that we know.

    Parameters
    ----------
    payloads : Sequence[Payload]
        May be empty; an Encrypted payload stands last.

    Returns
    -------
    tuple[int, bytes]
        Type of the first payload (0 for none), and all octets.

    Raises
    ------
    MessageTooLongError
        A payload does not fit its 16-bit Payload Length.
    ValueError
        Something follows an Encrypted payload.

    Source: RFC 7296 §3.2
    """
    parts: list[bytes] = []
    following: int = PayloadType.NONE
    for payload in reversed(payloads):
        body = payload.encode_body()
        size = _GENERIC.size + len(body)
        if size > _MAX_LENGTH:
            raise MessageTooLongError(f"{type(payload).__name__} of {size} octets")
        next_type, critical = following, 0
        if isinstance(payload, _ENCRYPTED_PAYLOADS):
            if parts:
                raise ValueError("an Encrypted payload must be last")
            next_type = payload.first_inner_type
        elif isinstance(payload, UnknownPayload):
            critical = _CRITICAL if payload.critical else 0
        parts.append(_GENERIC.pack(next_type, critical, size) + body)
        following = payload.payload_type
    return following, b"".join(reversed(parts))


def decode_chain(
    first_type: int, reader: Reader, is_outermost: bool = False
) -> tuple[Payload, ...]:
    """Decode payloads up to the end.

    Parameters
    ----------
    first_type : int
        Type of the first payload, 8 bits; 0 for none.
    reader : Reader
        The chain and nothing else; all of it is read.
    is_outermost : bool
        These payloads follow the header, so the last may be an Encrypted payload. One
        inside another is malformed.

    Raises
    ------
    MalformedMessageError
        A length does not fit, octets are left over, an Encrypted payload is not last or
        stands inside another, or a body is malformed.
    UnsupportedCriticalPayloadError
        A payload of unknown type is marked critical.

    Source: RFC 7296 §3.2, RFC 7296 §2.5
    """
    payloads: list[Payload] = []
    kind = first_type
    while kind != PayloadType.NONE:
        head = reader.pull(_GENERIC.size, "payload header")
        next_type, flags, size = _GENERIC.unpack(head)
        if size < _GENERIC.size:
            raise MalformedMessageError(f"Payload Length {size}")
        body = reader.pull_block(size - _GENERIC.size, "payload")
        if kind in _ENCRYPTED:
            if not is_outermost:
                raise MalformedMessageError("an Encrypted payload inside another")
            payloads.append(_decode_encrypted(kind, next_type, body))
            break
        decode = DECODERS.get(kind)
        if decode is not None:
            payloads.append(decode(body))
        elif flags & _CRITICAL:
            raise UnsupportedCriticalPayloadError(kind)
        else:
            payloads.append(UnknownPayload(kind, body.pull_rest()))
        kind = next_type
    reader.expect_end("payloads")
    return tuple(payloads)


def _decode_encrypted(kind: int, next_type: int, body: Reader) -> Payload:
    if kind == PayloadType.SK:
        return SkPayload(next_type, body.pull_rest())
    return decode_fragment(next_type, body)


def encode_message(header: Header, payloads: Sequence[Payload]) -> bytes:
    """Encode a whole message.

    Parameters
    ----------
    header : Header
        Its Next Payload and Length are filled in.
    payloads : Sequence[Payload]
        What follows it.

    Raises
    ------
    MessageTooLongError
        A payload does not fit its 16-bit Payload Length.

    Source: RFC 7296 §3.1
    """
    first_type, chain = encode_chain(payloads)
    return header.with_chain(first_type, HEADER_SIZE + len(chain)).encode() + chain


def decode_message(octets: bytes) -> Message:
    """Decode a whole message; what an Encrypted payload holds stays encrypted.

    Parameters
    ----------
    octets : bytes
        The IKE message, without the non-ESP marker.

    Raises
    ------
    InvalidMajorVersionError
        The major version is above 2.
    MalformedMessageError
        The syntax is wrong anywhere.
    UnsupportedCriticalPayloadError
        A payload of unknown type is marked critical.

    Source: RFC 7296 §3.1, RFC 7296 §2.5
    """
    header = Header.decode(octets)
    reader = Reader(octets, HEADER_SIZE)
    return Message(header, decode_chain(header.next_payload, reader, is_outermost=True))


# --- one line for logs and narration ------------------------------------------------


def describe(payload: Payload) -> str:
    """Describe a payload in one line, for logs and narration.

    The line names what is public and gives sizes for the rest, such as
    ``KE(CURVE25519, 32 octets)`` or ``TSi(10.0.0.0/24)``. Whatever a peer sends, it has
    at most 240 characters and no control character among them.

    Source: RFC 7296 §3.2
    """
    text = _describe(payload)
    if len(text) <= MAX_DESCRIPTION:
        return text
    return text[: MAX_DESCRIPTION - 2] + "…)"


@singledispatch
def _describe(payload: Payload) -> str:
    raise TypeError(f"no payload: {type(payload).__name__}")


@_describe.register
def _(payload: SaPayload) -> str:
    return f"SA({'; '.join(map(str, payload.proposals))})"


@_describe.register
def _(payload: KePayload) -> str:
    method = name_of(KeyExchangeMethod, payload.method)
    return f"KE({method}, {len(payload.public_value)} octets)"


@_describe.register
def _(payload: IdPayload) -> str:
    role = "IDi" if payload.is_initiator else "IDr"
    return f"{role}({Identity(payload.id_type, payload.data)})"


@_describe.register
def _(payload: CertPayload) -> str:
    return f"CERT(encoding {payload.encoding}, {len(payload.data)} octets)"


@_describe.register
def _(payload: CertReqPayload) -> str:
    return f"CERTREQ(encoding {payload.encoding}, {len(payload.authorities)} octets)"


@_describe.register
def _(payload: AuthPayload) -> str:
    return f"AUTH({name_of(AuthMethod, payload.method)})"


@_describe.register
def _(payload: NoncePayload) -> str:
    return f"Nonce({len(payload.nonce)} octets)"


@_describe.register
def _(payload: NotifyPayload) -> str:
    notify = name_of(NotifyType, payload.notify_type)
    if not payload.spi:
        return f"N({notify})"
    return f"N({notify} {name_of(ProtocolId, payload.protocol)} {payload.spi.hex()})"


@_describe.register
def _(payload: DeletePayload) -> str:
    spis = (spi.hex() for spi in payload.spis)
    return f"D({' '.join((name_of(ProtocolId, payload.protocol), *spis))})"


@_describe.register
def _(payload: VendorPayload) -> str:
    return f"V({payload.vendor_id.hex()})"


@_describe.register
def _(payload: TsPayload) -> str:
    role = "TSi" if payload.is_initiator else "TSr"
    unknown = (f"TS Type {selector.ts_type}" for selector in payload.unknown)
    return f"{role}({', '.join((*map(str, payload.selectors), *unknown))})"


@_describe.register
def _(payload: SkPayload) -> str:
    return f"SK({len(payload.body)} octets)"


@_describe.register
def _(payload: SkfPayload) -> str:
    place = f"{payload.fragment_number} of {payload.total_fragments}"
    return f"SKF({place}, {len(payload.body)} octets)"


@_describe.register
def _(payload: ConfigurationPayload) -> str:
    kind = name_of(ConfigurationType, payload.type)
    attributes = ", ".join(map(str, payload.attributes))
    return f"CP({kind}: {attributes})" if attributes else f"CP({kind})"


@_describe.register
def _(payload: EapPayload) -> str:
    return f"EAP({len(payload.message)} octets)"


@_describe.register
def _(payload: PsPayload) -> str:
    return f"PS({len(payload.solution)} octets)"


@_describe.register
def _(payload: UnknownPayload) -> str:
    return f"payload type {payload.type}({len(payload.body)} octets)"
