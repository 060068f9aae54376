"""The payloads of an IKE message, one record each.

A payload is a generic header and a body. This module knows the bodies; the chain that
the generic headers make is :mod:`iketcp.ike.message`'s.

=========  ====  =======  ==========================================================
payload    type  section  body
=========  ====  =======  ==========================================================
SA         33    §3.3     proposals (:mod:`iketcp.ike.proposals`)
KE         34    §3.4     method (2), reserved (2), public value
IDi, IDr   35-6  §3.5     ID Type (1), reserved (3), identification data
CERT       37    §3.6     encoding (1), certificate data
CERTREQ    38    §3.7     encoding (1), certification authorities
AUTH       39    §3.8     Auth Method (1), reserved (3), authentication data
Ni, Nr     40    §3.9     nonce (16 to 256)
N          41    §3.10    protocol (1), SPI Size (1), type (2), SPI, data
D          42    §3.11    protocol (1), SPI Size (1), number (2), SPIs
V          43    §3.12    vendor ID
TSi, TSr   44-5  §3.13    number (1), reserved (3), Traffic Selectors
SK         46    §3.14    initialization vector, ciphertext, integrity check value
CP         47    §3.15    CFG Type (1), reserved (3), attributes
                          (:mod:`iketcp.ike.configuration`)
EAP        48    §3.16    EAP message
SKF        53             Fragment Number (2), Total Fragments (2), then as SK
                          (RFC 7383 §2.5)
PS         54            four keys of one size (RFC 8019 §8.2)
=========  ====  =======  ==========================================================

Reserved fields are ignored when they come and zero when we send.

Source: RFC 7296 §3.2
Source: RFC 7296 §3.16
Source: RFC 7383 §2.5
Source: RFC 8019 §8.2
"""

import struct
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from iketcp.errors import MalformedMessageError
from iketcp.ike.configuration import ConfigurationAttribute, decode_attributes
from iketcp.ike.proposals import Proposal, decode_proposals, encode_proposals
from iketcp.octets import Reader
from iketcp.registry import NotifyType, PayloadType, ProtocolId, name_of
from iketcp.selectors import TrafficSelector, UnknownSelector

_U8_AND_RESERVED = struct.Struct(">Bxxx")
_KE_HEAD = struct.Struct(">HH")
_NOTIFY_HEAD = struct.Struct(">BBH")
_OF_THE_IKE_SA = (NotifyType.QCD_TOKEN, NotifyType.CHILDLESS_IKEV2_SUPPORTED)
_DELETE_HEAD = struct.Struct(">BBH")
_FRAGMENT_HEAD = struct.Struct(">HH")

_CHILD_SPI_SIZE = 4
"""Octets of an ESP or AH SPI. Source: RFC 7296 §3.10, RFC 7296 §3.11."""

_MIN_NONCE_SIZE, _MAX_NONCE_SIZE = 16, 256


class Payload:
    """A payload: its type and its body.

    No ``ABC``, of which ``isinstance`` takes four times as long: every message is
    looked through for many kinds of payloads.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def payload_type(self) -> int:
        """Payload type, 8 bits. Source: RFC 7296 §3.2."""

    @abstractmethod
    def encode_body(self) -> bytes:
        """Encode everything after the generic payload header."""


@dataclass(frozen=True, slots=True)
class SaPayload(Payload):
    """SA: proposals, the most preferred first. Source: RFC 7296 §3.3."""

    payload_type: ClassVar[int] = PayloadType.SA
    proposals: tuple[Proposal, ...]

    def encode_body(self) -> bytes:
        """Encode the proposals."""
        return encode_proposals(self.proposals)


@dataclass(frozen=True, slots=True)
class KePayload(Payload):
    """KE: a public value. Source: RFC 7296 §3.4."""

    payload_type: ClassVar[int] = PayloadType.KE
    method: int
    """Key exchange method (once "Diffie-Hellman Group Num"), 16 bits."""
    public_value: bytes = field(repr=False)
    """Size as the method has it."""

    def encode_body(self) -> bytes:
        """Encode method, reserved field and public value."""
        return _KE_HEAD.pack(self.method, 0) + self.public_value


@dataclass(frozen=True, slots=True)
class IdPayload(Payload):
    """IDi or IDr: who a peer says it is. Source: RFC 7296 §3.5."""

    is_initiator: bool
    """IDi; otherwise IDr."""
    id_type: int
    """ID Type, 8 bits."""
    data: bytes
    """Identification Data."""
    reserved: bytes = bytes(3)
    """Means nothing, but AUTH covers it as it was sent. Source: RFC 7296 §2.15."""

    @property
    def payload_type(self) -> int:
        """35 (IDi) or 36 (IDr)."""
        return PayloadType.IDI if self.is_initiator else PayloadType.IDR

    def encode_body(self) -> bytes:
        """Encode ID Type, reserved field and data: what AUTH covers."""
        return bytes([self.id_type]) + self.reserved + self.data


@dataclass(frozen=True, slots=True)
class CertPayload(Payload):
    """CERT: a certificate, or what stands for one. Source: RFC 7296 §3.6."""

    payload_type: ClassVar[int] = PayloadType.CERT
    encoding: int
    """Certificate Encoding, 8 bits; 4 is an X.509 certificate."""
    data: bytes = field(repr=False)
    """Certificate Data; DER with encoding 4."""

    def encode_body(self) -> bytes:
        """Encode encoding and data."""
        return bytes([self.encoding]) + self.data


@dataclass(frozen=True, slots=True)
class CertReqPayload(Payload):
    """CERTREQ: certificates that would be welcome. Source: RFC 7296 §3.7."""

    payload_type: ClassVar[int] = PayloadType.CERTREQ
    encoding: int
    """Certificate Encoding, 8 bits."""
    authorities: bytes = field(repr=False)
    """SHA-1 hashes of authorities' public keys, 20 octets each, with encoding 4."""

    def encode_body(self) -> bytes:
        """Encode encoding and authorities."""
        return bytes([self.encoding]) + self.authorities


@dataclass(frozen=True, slots=True)
class AuthPayload(Payload):
    """AUTH: the proof of an identity. Source: RFC 7296 §3.8."""

    payload_type: ClassVar[int] = PayloadType.AUTH
    method: int
    """Auth Method, 8 bits."""
    data: bytes = field(repr=False)
    """Authentication Data."""

    def encode_body(self) -> bytes:
        """Encode Auth Method, reserved field and data."""
        return _U8_AND_RESERVED.pack(self.method) + self.data


@dataclass(frozen=True, slots=True)
class NoncePayload(Payload):
    """Ni or Nr. Source: RFC 7296 §3.9."""

    payload_type: ClassVar[int] = PayloadType.NONCE
    nonce: bytes = field(repr=False)
    """16 to 256 octets."""

    def encode_body(self) -> bytes:
        """Encode the nonce."""
        return self.nonce


@dataclass(frozen=True, slots=True)
class NotifyPayload(Payload):
    """N: an error, a state or a capability. Source: RFC 7296 §3.10."""

    payload_type: ClassVar[int] = PayloadType.NOTIFY
    notify_type: int
    """Notify Message Type, 16 bits."""
    data: bytes = b""
    """Notification Data."""
    protocol: int = ProtocolId.NONE
    """Protocol ID of the SA that ``spi`` names, 8 bits; 0 without one."""
    spi: bytes = b""
    """4 octets for a Child SA, otherwise empty."""

    def encode_body(self) -> bytes:
        """Encode protocol (zero without SPI), SPI Size, type, SPI and data.

        Two types name the IKE SA without an SPI: RFC 6290 §4.1, RFC 6023 §4.
        """
        names_sa = self.spi or self.notify_type in _OF_THE_IKE_SA
        protocol = self.protocol if names_sa else ProtocolId.NONE
        head = _NOTIFY_HEAD.pack(protocol, len(self.spi), self.notify_type)
        return head + self.spi + self.data


@dataclass(frozen=True, slots=True)
class DeletePayload(Payload):
    """D: SAs that the sender has removed. Source: RFC 7296 §3.11."""

    payload_type: ClassVar[int] = PayloadType.DELETE
    protocol: int
    """Protocol ID: IKE, AH or ESP."""
    spis: tuple[bytes, ...] = ()
    """The sender's inbound SPIs, 4 octets each; none with IKE: the SA it came on."""

    def encode_body(self) -> bytes:
        """Encode protocol, SPI Size (0 with IKE), number and SPIs."""
        size = 0 if self.protocol == ProtocolId.IKE else _CHILD_SPI_SIZE
        head = _DELETE_HEAD.pack(self.protocol, size, len(self.spis))
        return head + b"".join(self.spis)


@dataclass(frozen=True, slots=True)
class VendorPayload(Payload):
    """V: a constant by which an implementation is known. Source: RFC 7296 §3.12."""

    payload_type: ClassVar[int] = PayloadType.VENDOR
    vendor_id: bytes

    def encode_body(self) -> bytes:
        """Encode the vendor ID."""
        return self.vendor_id


@dataclass(frozen=True, slots=True)
class TsPayload(Payload):
    """TSi or TSr: Traffic Selectors for one end. Source: RFC 7296 §3.13."""

    is_initiator: bool
    """TSi, the addresses of the exchange initiator's end; otherwise TSr."""
    selectors: tuple[TrafficSelector, ...]
    unknown: tuple[UnknownSelector, ...] = ()
    """Selectors of types we do not know: never agreed to. Source: RFC 7296 §2.9."""

    @property
    def payload_type(self) -> int:
        """44 (TSi) or 45 (TSr)."""
        return PayloadType.TSI if self.is_initiator else PayloadType.TSR

    def encode_body(self) -> bytes:
        """Encode number, reserved field and selectors, unknown ones last."""
        octets = [selector.encode() for selector in self.selectors]
        octets += [selector.encode() for selector in self.unknown]
        return _U8_AND_RESERVED.pack(len(octets)) + b"".join(octets)


@dataclass(frozen=True, slots=True)
class SkPayload(Payload):
    """SK: other payloads, encrypted; here as they travel. Source: RFC 7296 §3.14."""

    payload_type: ClassVar[int] = PayloadType.SK
    first_inner_type: int
    """Type of the first payload inside, 8 bits: this one's Next Payload field."""
    body: bytes = field(repr=False)
    """Initialization vector | ciphertext | Integrity Check Value."""

    def encode_body(self) -> bytes:
        """Return the body as it is."""
        return self.body


@dataclass(frozen=True, slots=True)
class SkfPayload(Payload):
    """SKF: one piece of what SK would hold, encrypted by itself. RFC 7383 §2.5."""

    payload_type: ClassVar[int] = PayloadType.SKF
    first_inner_type: int
    """The Next Payload field, 8 bits: as SK's in the first fragment, later 0."""
    fragment_number: int
    """Fragment Number, 16 bits, from 1 on."""
    total_fragments: int
    """Total Fragments, 16 bits."""
    body: bytes = field(repr=False)
    """Initialization vector | ciphertext | Integrity Check Value."""

    def encode_body(self) -> bytes:
        """Encode both numbers and the body as it is."""
        numbers = _FRAGMENT_HEAD.pack(self.fragment_number, self.total_fragments)
        return numbers + self.body


@dataclass(frozen=True, slots=True)
class ConfigurationPayload(Payload):
    """CP: addresses and other settings, asked for or given. RFC 7296 §3.15."""

    payload_type: ClassVar[int] = PayloadType.CP
    type: int
    """CFG Type, 8 bits."""
    attributes: tuple[ConfigurationAttribute, ...] = ()

    def encode_body(self) -> bytes:
        """Encode CFG Type, reserved field and attributes."""
        head = _U8_AND_RESERVED.pack(self.type)
        return head + b"".join(attribute.encode() for attribute in self.attributes)


@dataclass(frozen=True, slots=True)
class EapPayload(Payload):
    """EAP: one EAP message, not looked into. Source: RFC 7296 §3.16."""

    payload_type: ClassVar[int] = PayloadType.EAP
    message: bytes = field(repr=False)

    def encode_body(self) -> bytes:
        """Return the EAP message as it is."""
        return self.message


@dataclass(frozen=True, slots=True)
class PsPayload(Payload):
    """PS: the solution of a puzzle. Source: RFC 8019 §8.2."""

    payload_type: ClassVar[int] = PayloadType.PS
    solution: bytes
    """Puzzle Solution Data: four keys of one size, at least 4 octets."""

    def encode_body(self) -> bytes:
        """Return the keys as they are."""
        return self.solution


@dataclass(frozen=True, slots=True)
class UnknownPayload(Payload):
    """A payload of a type we do not know. Source: RFC 7296 §2.5."""

    type: int
    """Payload type, 8 bits."""
    body: bytes = field(repr=False)
    critical: bool = False
    """The critical bit; never set in what is decoded, which would be refused."""

    @property
    def payload_type(self) -> int:
        """The type, as it came."""
        return self.type

    def encode_body(self) -> bytes:
        """Return the body as it is."""
        return self.body


# --- decoding -------------------------------------------------------------------------


def _decode_ke(reader: Reader) -> KePayload:
    method, _ = _KE_HEAD.unpack(reader.pull(_KE_HEAD.size, "KE"))
    return KePayload(method, reader.pull_rest())


def _decode_id(is_original_initiator: bool, reader: Reader) -> IdPayload:
    id_type = reader.pull_u8("ID Type")
    reserved = reader.pull(3, "ID")
    return IdPayload(is_original_initiator, id_type, reader.pull_rest(), reserved)


def _decode_auth(reader: Reader) -> AuthPayload:
    (method,) = _U8_AND_RESERVED.unpack(reader.pull(4, "AUTH"))
    return AuthPayload(method, reader.pull_rest())


def _decode_nonce(reader: Reader) -> NoncePayload:
    if not _MIN_NONCE_SIZE <= reader.remaining <= _MAX_NONCE_SIZE:
        raise MalformedMessageError(f"nonce of {reader.remaining} octets")
    return NoncePayload(reader.pull_rest())


def _decode_notify(reader: Reader) -> NotifyPayload:
    """Decode N; without an SPI the Protocol ID means nothing. RFC 7296 §3.10."""
    head = reader.pull(_NOTIFY_HEAD.size, "Notify")
    protocol, spi_size, notify_type = _NOTIFY_HEAD.unpack(head)
    if not spi_size:
        return NotifyPayload(notify_type, reader.pull_rest())
    if protocol == ProtocolId.IKE or (
        protocol in (ProtocolId.AH, ProtocolId.ESP) and spi_size != _CHILD_SPI_SIZE
    ):
        raise MalformedMessageError(
            f"Notify: SPI Size {spi_size} for {name_of(ProtocolId, protocol)}"
        )
    spi = reader.pull(spi_size, "SPI")
    return NotifyPayload(notify_type, reader.pull_rest(), protocol, spi)


def _decode_delete(reader: Reader) -> DeletePayload:
    head = reader.pull(_DELETE_HEAD.size, "Delete")
    protocol, spi_size, count = _DELETE_HEAD.unpack(head)
    if protocol == ProtocolId.IKE:
        is_good = spi_size == 0 and count == 0
    else:
        is_child = protocol in (ProtocolId.AH, ProtocolId.ESP)
        is_good = is_child and spi_size == _CHILD_SPI_SIZE
    if not is_good or reader.remaining != spi_size * count:
        raise MalformedMessageError(
            f"Delete: {count} SPIs of {spi_size} octets for "
            f"{name_of(ProtocolId, protocol)} in {reader.remaining} octets"
        )
    spis = tuple(reader.pull(spi_size, "SPI") for _ in range(count))
    return DeletePayload(protocol, spis)


def _decode_ts(is_exchange_initiator: bool, reader: Reader) -> TsPayload:
    (count,) = _U8_AND_RESERVED.unpack(reader.pull(4, "TS"))
    if not count:
        raise MalformedMessageError("TS: no Traffic Selector")
    known, unknown = [], []
    for _ in range(count):
        selector = TrafficSelector.decode(reader)
        if isinstance(selector, TrafficSelector):
            known.append(selector)
        else:
            unknown.append(selector)
    reader.expect_end("TS")
    return TsPayload(is_exchange_initiator, tuple(known), tuple(unknown))


def _decode_cp(reader: Reader) -> ConfigurationPayload:
    (cfg_type,) = _U8_AND_RESERVED.unpack(reader.pull(4, "CP"))
    return ConfigurationPayload(cfg_type, decode_attributes(reader))


def _decode_ps(reader: Reader) -> PsPayload:
    """Decode PS: four keys of the same size, which is not zero. RFC 8019 §8.2."""
    if not reader.remaining or reader.remaining % 4:
        raise MalformedMessageError(f"puzzle solution of {reader.remaining} octets")
    return PsPayload(reader.pull_rest())


def decode_fragment(first_inner_type: int, reader: Reader) -> SkfPayload:
    """Decode SKF; whether its numbers make sense is for the receiver to say.

    Raises
    ------
    MalformedMessageError
        It is shorter than its two numbers.

    Source: RFC 7383 §2.5, RFC 7383 §2.6
    """
    head = reader.pull(_FRAGMENT_HEAD.size, "SKF")
    number, total = _FRAGMENT_HEAD.unpack(head)
    return SkfPayload(first_inner_type, number, total, reader.pull_rest())


DECODERS: Mapping[int, Callable[[Reader], Payload]] = {
    PayloadType.SA: lambda reader: SaPayload(decode_proposals(reader)),
    PayloadType.KE: _decode_ke,
    PayloadType.IDI: partial(_decode_id, True),
    PayloadType.IDR: partial(_decode_id, False),
    PayloadType.CERT: lambda reader: CertPayload(
        reader.pull_u8("Cert Encoding"), reader.pull_rest()
    ),
    PayloadType.CERTREQ: lambda reader: CertReqPayload(
        reader.pull_u8("Cert Encoding"), reader.pull_rest()
    ),
    PayloadType.AUTH: _decode_auth,
    PayloadType.NONCE: _decode_nonce,
    PayloadType.NOTIFY: _decode_notify,
    PayloadType.DELETE: _decode_delete,
    PayloadType.VENDOR: lambda reader: VendorPayload(reader.pull_rest()),
    PayloadType.TSI: partial(_decode_ts, True),
    PayloadType.TSR: partial(_decode_ts, False),
    PayloadType.CP: _decode_cp,
    PayloadType.EAP: lambda reader: EapPayload(reader.pull_rest()),
    PayloadType.PS: _decode_ps,
}
"""Body decoders by payload type; each takes all octets of its Reader.

They raise MalformedMessageError and nothing else. SK and SKF are not among them: their
Next Payload field is part of them, and only the chain sees that field.

Source: RFC 7296 §3.2
"""
