"""The building blocks of message tests: payloads as octets and as named fields.

Nothing here uses :mod:`iketcp.ike`: octets and fields both come from what a case asks
for, and no octet is read back. Every length, count and mark can be set wrong on
purpose; reserved bits can be set, and are zero again in what a sender writes.

Source: RFC 7296 §3
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]
"""A JSON object: one payload, or one part of a payload."""

SA, KE, IDI, IDR, CERT, CERTREQ, AUTH, NONCE = range(33, 41)
NOTIFY, DELETE, VENDOR, TSI, TSR, SK, CP, EAP = range(41, 49)
SKF = 53

IKE, AH, ESP = 1, 2, 3
ENCR, PRF, INTEG, KEM, ESN = range(1, 6)
KEY_LENGTH = 14
TS_IPV4, TS_IPV6 = 7, 8


def filler(label: str, size: int) -> bytes:
    """Make octets that look random and are always the same."""
    return hashlib.shake_256(f"iketcp message vectors {label}".encode()).digest(size)


def number(value: int, size: int) -> bytes:
    """Write a number in network order."""
    return value.to_bytes(size, "big")


@dataclass(frozen=True, slots=True)
class Part:
    """One payload. Source: RFC 7296 §3.2."""

    kind: int
    """Payload type."""
    body: bytes
    fields: Fields
    """What the body says, without the payload type."""
    sent: bytes | None = None
    """The body as a sender writes it, where reserved bits make a difference."""
    inner: int | None = None
    """Next Payload of an Encrypted payload, about its inside."""
    flags: int = 0
    """Critical bit and reserved bits."""
    size: int | None = None
    """Payload Length, where it is wrong on purpose."""
    next: int | None = None
    """Next Payload, where it is wrong on purpose."""

    @property
    def tree(self) -> Fields:
        """The payload as a JSON object."""
        return {"type": self.kind} | self.fields


# --- SA -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attribute:
    """A Transform Attribute. Source: RFC 7296 §3.3.5."""

    kind: int
    value: bytes
    is_fixed: bool = True
    """Type/Value; otherwise Type/Length/Value."""
    size: int | None = None
    """Attribute Length, where it is wrong on purpose."""

    def octets(self) -> bytes:
        """Write the attribute."""
        if self.is_fixed:
            return number(0x8000 | self.kind, 2) + self.value
        size = len(self.value) if self.size is None else self.size
        return number(self.kind, 2) + number(size, 2) + self.value

    @property
    def is_key_length(self) -> bool:
        """Whether it is a Key Length in the format that Key Length has."""
        return self.is_fixed and self.kind == KEY_LENGTH


def key_length(bits: int) -> Attribute:
    """Make a Key Length."""
    return Attribute(KEY_LENGTH, number(bits, 2))


@dataclass(frozen=True, slots=True)
class Transform:
    """A Transform Substructure. Source: RFC 7296 §3.3.2."""

    kind: int
    id: int
    attributes: tuple[Attribute, ...] = ()
    more: int | None = None
    size: int | None = None
    reserved: tuple[int, int] = (0, 0)
    tail: bytes = b""
    """Octets behind the attributes, inside the transform."""

    def octets(self, is_last: bool, is_sent: bool) -> bytes:
        """Write the transform."""
        body = b"".join(a.octets() for a in self.attributes) + self.tail
        more = (0 if is_last else 3) if self.more is None else self.more
        size = 8 + len(body) if self.size is None else self.size
        first, second = (0, 0) if is_sent else self.reserved
        head = bytes([more, first]) + number(size, 2) + bytes([self.kind, second])
        return head + number(self.id, 2) + body

    @property
    def tree(self) -> Fields:
        """The transform as a JSON object."""
        keys = [a for a in self.attributes if a.is_key_length]
        return {
            "transformType": self.kind,
            "transformId": self.id,
            "keyLength": int.from_bytes(keys[0].value, "big") if keys else None,
            "otherAttributes": [
                {
                    "attributeType": a.kind,
                    "format": "TV" if a.is_fixed else "TLV",
                    "value": a.value.hex(),
                }
                for a in self.attributes
                if not a.is_key_length
            ],
        }


def encr(id: int, bits: int | None = None) -> Transform:
    """Make an encryption transform, with a Key Length or without."""
    return Transform(ENCR, id, () if bits is None else (key_length(bits),))


@dataclass(frozen=True, slots=True)
class Proposal:
    """A Proposal Substructure. Source: RFC 7296 §3.3.1."""

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[Transform, ...]
    more: int | None = None
    size: int | None = None
    spi_size: int | None = None
    count: int | None = None
    reserved: int = 0
    tail: bytes = b""
    """Octets behind the transforms, inside the proposal."""

    def octets(self, is_last: bool, is_sent: bool) -> bytes:
        """Write the proposal."""
        last = len(self.transforms) - 1
        body = self.spi + b"".join(
            transform.octets(index == last, is_sent)
            for index, transform in enumerate(self.transforms)
        )
        body += self.tail
        more = (0 if is_last else 2) if self.more is None else self.more
        size = 8 + len(body) if self.size is None else self.size
        spi_size = len(self.spi) if self.spi_size is None else self.spi_size
        count = len(self.transforms) if self.count is None else self.count
        head = bytes([more, 0 if is_sent else self.reserved]) + number(size, 2)
        return head + bytes([self.number, self.protocol, spi_size, count]) + body

    @property
    def tree(self) -> Fields:
        """The proposal as a JSON object."""
        return {
            "proposalNum": self.number,
            "protocolId": self.protocol,
            "spi": self.spi.hex(),
            "transforms": [transform.tree for transform in self.transforms],
        }


def sa(*proposals: Proposal, tail: bytes = b"") -> Part:
    """Make an SA payload. Source: RFC 7296 §3.3."""
    last = len(proposals) - 1
    body, sent = (
        b"".join(
            proposal.octets(index == last, is_sent)
            for index, proposal in enumerate(proposals)
        )
        for is_sent in (False, True)
    )
    fields = {"proposals": [proposal.tree for proposal in proposals]}
    return Part(SA, body + tail, fields, sent + tail)


# --- payloads of fixed fields and a rest ----------------------------------------------


def ke(method: int, value: bytes, reserved: int = 0) -> Part:
    """Make a KE payload. Source: RFC 7296 §3.4."""
    head = number(method, 2)
    fields = {"method": method, "publicValue": value.hex()}
    sent = head + bytes(2) + value
    return Part(KE, head + number(reserved, 2) + value, fields, sent)


def identity(kind: int, id_type: int, data: bytes, reserved: bytes = bytes(3)) -> Part:
    """Make an IDi or IDr payload. Source: RFC 7296 §3.5."""
    fields = {"idType": id_type, "reserved": reserved.hex(), "data": data.hex()}
    return Part(kind, bytes([id_type]) + reserved + data, fields)


def cert(encoding: int, data: bytes) -> Part:
    """Make a CERT payload. Source: RFC 7296 §3.6."""
    fields = {"encoding": encoding, "data": data.hex()}
    return Part(CERT, bytes([encoding]) + data, fields)


def certreq(encoding: int, authorities: bytes) -> Part:
    """Make a CERTREQ payload. Source: RFC 7296 §3.7."""
    fields = {"encoding": encoding, "authorities": authorities.hex()}
    return Part(CERTREQ, bytes([encoding]) + authorities, fields)


def auth(method: int, data: bytes, reserved: bytes = bytes(3)) -> Part:
    """Make an AUTH payload. Source: RFC 7296 §3.8."""
    fields = {"method": method, "data": data.hex()}
    head = bytes([method])
    return Part(AUTH, head + reserved + data, fields, head + bytes(3) + data)


def nonce(data: bytes) -> Part:
    """Make an Ni or Nr payload. Source: RFC 7296 §3.9."""
    return Part(NONCE, data, {"nonce": data.hex()})


def notify(
    kind: int,
    data: bytes = b"",
    protocol: int = 0,
    spi: bytes = b"",
    spi_size: int | None = None,
) -> Part:
    """Make a Notify payload. Source: RFC 7296 §3.10."""
    seen = protocol if spi else 0
    size = len(spi) if spi_size is None else spi_size
    rest = bytes([size]) + number(kind, 2) + spi + data
    fields = {
        "protocolId": seen,
        "notifyType": kind,
        "spi": spi.hex(),
        "data": data.hex(),
    }
    return Part(NOTIFY, bytes([protocol]) + rest, fields, bytes([seen]) + rest)


def delete(
    protocol: int,
    spis: Sequence[bytes] = (),
    spi_size: int | None = None,
    count: int | None = None,
) -> Part:
    """Make a Delete payload. Source: RFC 7296 §3.11."""
    size = (0 if protocol == IKE else 4) if spi_size is None else spi_size
    many = len(spis) if count is None else count
    fields = {"protocolId": protocol, "spis": [spi.hex() for spi in spis]}
    body = bytes([protocol, size]) + number(many, 2) + b"".join(spis)
    return Part(DELETE, body, fields)


def vendor(data: bytes) -> Part:
    """Make a Vendor ID payload. Source: RFC 7296 §3.12."""
    return Part(VENDOR, data, {"vendorId": data.hex()})


def encrypted(inner: int, body: bytes, kind: int = SK) -> Part:
    """Make an Encrypted payload, or a fragment of one. Source: RFC 7296 §3.14."""
    fields = {"firstInnerType": inner, "body": body.hex()}
    return Part(kind, body, fields, inner=inner)


def eap(message: bytes) -> Part:
    """Make an EAP payload. Source: RFC 7296 §3.16."""
    return Part(EAP, message, {"message": message.hex()})


def unknown(kind: int, body: bytes, is_critical: bool = False) -> Part:
    """Make a payload of a type that no document has. Source: RFC 7296 §2.5."""
    return Part(kind, body, {"body": body.hex()}, flags=0x80 if is_critical else 0)


# --- TS and CP ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selector:
    """A Traffic Selector. Source: RFC 7296 §3.13.1."""

    kind: int
    protocol: int
    body: bytes
    size: int | None = None

    def octets(self) -> bytes:
        """Write the selector."""
        size = 4 + len(self.body) if self.size is None else self.size
        return bytes([self.kind, self.protocol]) + number(size, 2) + self.body

    @property
    def is_known(self) -> bool:
        """Whether it is a range of addresses."""
        return self.kind in (TS_IPV4, TS_IPV6)

    @property
    def tree(self) -> Fields:
        """The selector as a JSON object."""
        head = {"tsType": self.kind, "ipProtocolId": self.protocol}
        if not self.is_known:
            return head | {"body": self.body.hex()}
        middle = (len(self.body) + 4) // 2
        return head | {
            "startPort": int.from_bytes(self.body[:2], "big"),
            "endPort": int.from_bytes(self.body[2:4], "big"),
            "startingAddress": self.body[4:middle].hex(),
            "endingAddress": self.body[middle:].hex(),
        }


def addresses(
    start: str,
    end: str,
    protocol: int = 0,
    ports: tuple[int, int] = (0, 65535),
    size: int | None = None,
) -> Selector:
    """Make a selector of a range of addresses, given in hexadecimal."""
    octets = bytes.fromhex(start) + bytes.fromhex(end)
    kind = TS_IPV4 if len(octets) == 8 else TS_IPV6
    body = number(ports[0], 2) + number(ports[1], 2) + octets
    return Selector(kind, protocol, body, size)


def ts(
    kind: int,
    *selectors: Selector,
    count: int | None = None,
    reserved: bytes = bytes(3),
    tail: bytes = b"",
) -> Part:
    """Make a TSi or TSr payload. Source: RFC 7296 §3.13."""
    head = bytes([len(selectors) if count is None else count])
    rest = b"".join(selector.octets() for selector in selectors) + tail
    fields = {
        "selectors": [s.tree for s in selectors if s.is_known],
        "otherSelectors": [s.tree for s in selectors if not s.is_known],
    }
    return Part(kind, head + reserved + rest, fields, head + bytes(3) + rest)


@dataclass(frozen=True, slots=True)
class Setting:
    """A Configuration Attribute. Source: RFC 7296 §3.15.1."""

    kind: int
    value: bytes = b""
    size: int | None = None
    is_reserved_set: bool = False

    def octets(self, is_sent: bool) -> bytes:
        """Write the attribute."""
        bit = 0x8000 if self.is_reserved_set and not is_sent else 0
        size = len(self.value) if self.size is None else self.size
        return number(bit | self.kind, 2) + number(size, 2) + self.value

    @property
    def tree(self) -> Fields:
        """The attribute as a JSON object."""
        return {"attributeType": self.kind, "value": self.value.hex()}


def cp(cfg_type: int, *settings: Setting, reserved: bytes = bytes(3)) -> Part:
    """Make a CP payload. Source: RFC 7296 §3.15."""
    head = bytes([cfg_type])
    fields = {
        "cfgType": cfg_type,
        "attributes": [setting.tree for setting in settings],
    }
    body, sent = (
        b"".join(setting.octets(is_sent) for setting in settings)
        for is_sent in (False, True)
    )
    return Part(CP, head + reserved + body, fields, head + bytes(3) + sent)


# --- the message ----------------------------------------------------------------------


SPI_I = bytes.fromhex("1be1ad0c7e5ec701")
SPI_R = bytes.fromhex("9a5e0ff1ce5ec702")
RESPONSE, VERSION, INITIATOR = 0x20, 0x10, 0x08


@dataclass(frozen=True, slots=True)
class Head:
    """An IKE header. Source: RFC 7296 §3.1."""

    exchange: int
    message_id: int
    flags: int = INITIATOR
    spi_i: bytes = SPI_I
    spi_r: bytes = SPI_R
    version: int = 0x20
    next: int | None = None
    """Next Payload, where it is wrong on purpose."""
    size: int | None = None
    """Length, where it is wrong on purpose."""

    @property
    def is_response(self) -> bool:
        """The R flag."""
        return bool(self.flags & RESPONSE)

    @property
    def is_first_request(self) -> bool:
        """Whether it begins an IKE SA."""
        return (
            self.exchange == 34
            and self.message_id == 0
            and self.flags & (RESPONSE | INITIATOR) == INITIATOR
            and self.spi_r == bytes(8)
        )

    def octets(self, first: int, size: int, is_sent: bool) -> bytes:
        """Write the header."""
        flags = self.flags & (RESPONSE | INITIATOR) if is_sent else self.flags
        first = first if self.next is None else self.next
        size = size if self.size is None else self.size
        middle = bytes([first, self.version, self.exchange, flags])
        end = number(self.message_id, 4) + number(size, 4)
        return self.spi_i + self.spi_r + middle + end

    def tree(self, first: int, size: int) -> Fields:
        """The header as a JSON object."""
        return {
            "spiI": self.spi_i.hex(),
            "spiR": self.spi_r.hex(),
            "nextPayload": first,
            "majorVersion": self.version >> 4,
            "minorVersion": self.version & 15,
            "exchangeType": self.exchange,
            "response": self.is_response,
            "initiator": bool(self.flags & INITIATOR),
            "messageId": self.message_id,
            "length": size,
        }


def chain(parts: Sequence[Part], is_sent: bool = False) -> bytes:
    """Write payloads one after another. Source: RFC 7296 §3.2."""
    octets = b""
    following_types = (*(part.kind for part in parts[1:]), 0)
    for part, following in zip(parts, following_types, strict=False):
        body = part.sent if is_sent and part.sent is not None else part.body
        ahead = following if part.inner is None else part.inner
        ahead = ahead if part.next is None else part.next
        size = 4 + len(body) if part.size is None else part.size
        flags = 0 if is_sent else part.flags
        octets += bytes([ahead, flags]) + number(size, 2) + body
    return octets


def first_type(parts: Sequence[Part]) -> int:
    """Return the type of the first payload; 0 for none."""
    return parts[0].kind if parts else 0


def message(
    head: Head, parts: Sequence[Part], tail: bytes = b"", is_sent: bool = False
) -> bytes:
    """Write a whole message. Source: RFC 7296 §3.1."""
    body = chain(parts, is_sent) + tail
    return head.octets(first_type(parts), 28 + len(body), is_sent) + body


def boundaries(head_size: int, parts: Iterable[Part]) -> list[int]:
    """Return where each payload begins and the last one ends."""
    found = [head_size]
    for part in parts:
        found.append(found[-1] + 4 + len(part.body))
    return found
