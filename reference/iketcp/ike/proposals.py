"""The inside of a Security Association payload: proposals, transforms, attributes.

An SA payload is a list of proposals, any one of which will do. A proposal names a
protocol and the sender's SPI, and holds transforms: algorithms, each of a type. Of
every type present one must be taken; several of one type are alternatives. A transform
may carry attributes; the only one defined is Key Length.

===========  ============  ====================================================
structure    octets        fields
===========  ============  ====================================================
Proposal     8 + SPI + ... Last (0 or 2), reserved, Length (2), Num, Protocol,
                           SPI Size, Num Transforms, SPI, transforms
Transform    8 + ...       Last (0 or 3), reserved, Length (2), Type, reserved,
                           ID (2), attributes
Attribute    4             1 bit set | Type (15 bits), Value (2)
             4 + Length    1 bit clear | Type (15 bits), Length (2), Value
===========  ============  ====================================================

All lengths and counts say the same thing twice and must agree. Nothing here knows which
algorithms are good: what we do not know is kept, and negotiation passes it over.

Source: RFC 7296 §3.3
Source: RFC 7296 §3.3.6
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from iketcp.errors import MalformedMessageError
from iketcp.octets import Reader
from iketcp.registry import (
    ADDITIONAL_KEY_EXCHANGES,
    AttributeType,
    EncryptionAlgorithm,
    ExtendedSequenceNumbers,
    IntegrityAlgorithm,
    KeyExchangeMethod,
    ProtocolId,
    PseudorandomFunction,
    TransformType,
    name_of,
)

_PROPOSAL = struct.Struct(">BxHBBBB")
_TRANSFORM = struct.Struct(">BxHBxH")
_ATTRIBUTE = struct.Struct(">HH")

_LAST = 0
_MORE_PROPOSALS = 2
_MORE_TRANSFORMS = 3

_FIXED_FORMAT = 0x8000
"""The AF bit: a 2-octet value stands where the length would be. RFC 7296 §3.3.5."""

_SPI_SIZES = {
    ProtocolId.IKE: (0, 8),
    ProtocolId.AH: (4,),
    ProtocolId.ESP: (4,),
}
"""SPI sizes by protocol; a new IKE SA has its SPI in the header. RFC 7296 §3.3.1."""

_TABLES: dict[int, type[IntEnum]] = {
    TransformType.ENCR: EncryptionAlgorithm,
    TransformType.PRF: PseudorandomFunction,
    TransformType.INTEG: IntegrityAlgorithm,
    TransformType.KE: KeyExchangeMethod,
    TransformType.ESN: ExtendedSequenceNumbers,
    **dict.fromkeys(ADDITIONAL_KEY_EXCHANGES, KeyExchangeMethod),
}


@dataclass(frozen=True, slots=True)
class TransformAttribute:
    """A Transform Attribute other than Key Length: kept, not understood.

    Source: RFC 7296 §3.3.5
    """

    type: int
    """Attribute Type, 15 bits."""
    value: bytes
    """2 octets in fixed format, otherwise up to 65,535."""
    is_fixed: bool
    """Type/Value format; otherwise Type/Length/Value."""

    def encode(self) -> bytes:
        """Encode the attribute as it came.

        Source: RFC 7296 §3.3.5
        """
        if self.is_fixed:
            return (_FIXED_FORMAT | self.type).to_bytes(2, "big") + self.value
        return _ATTRIBUTE.pack(self.type, len(self.value)) + self.value


@dataclass(frozen=True, slots=True)
class Transform:
    """One algorithm on offer.

    Source: RFC 7296 §3.3.2
    """

    type: int
    """Transform Type, 8 bits."""
    id: int
    """Transform ID, 16 bits."""
    key_bits: int | None = None
    """Key Length in bits, 16 bits; ``None`` without the attribute."""
    unknown_attributes: tuple[TransformAttribute, ...] = ()
    """Attributes that we do not understand."""

    @property
    def has_unknown_attribute(self) -> bool:
        """Whether it must not be chosen. Source: RFC 7296 §3.3.6."""
        return bool(self.unknown_attributes)

    def __str__(self) -> str:
        """Return IANA's name less the prefix its type makes needless, and key bits."""
        table = _TABLES.get(self.type)
        if table is None:
            name = f"{name_of(TransformType, self.type)}:{self.id}"
        else:
            name = name_of(table, self.id).removeprefix("ENCR_").removeprefix("AUTH_")
        return name if self.key_bits is None else f"{name}-{self.key_bits}"

    def encode(self, is_last: bool) -> bytes:
        """Encode the substructure.

        Source: RFC 7296 §3.3.2
        """
        attributes = b"".join(a.encode() for a in self.unknown_attributes)
        if self.key_bits is not None:
            head = _FIXED_FORMAT | AttributeType.KEY_LENGTH
            attributes = _ATTRIBUTE.pack(head, self.key_bits) + attributes
        more = _LAST if is_last else _MORE_TRANSFORMS
        size = _TRANSFORM.size + len(attributes)
        return _TRANSFORM.pack(more, size, self.type, self.id) + attributes


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal.

    Source: RFC 7296 §3.3.1
    """

    number: int
    """Proposal Num, 8 bits; from 1, and the chosen one's in an answer."""
    protocol: int
    """Protocol ID, 8 bits."""
    spi: bytes
    """The sender's SPI: 8 octets for IKE (none for a first IKE SA), 4 for ESP, AH."""
    transforms: tuple[Transform, ...]

    def with_transforms(self, transforms: tuple[Transform, ...]) -> "Proposal":
        """Return the same proposal with other transforms."""
        return Proposal(self.number, self.protocol, self.spi, transforms)

    def with_number_and_spi(self, number: int, spi: bytes) -> "Proposal":
        """Return the same proposal with another number and SPI."""
        return Proposal(number, self.protocol, spi, self.transforms)

    def __str__(self) -> str:
        """Return the transforms by type, such as ``AES_GCM_16-256/ESN``."""
        by_type: dict[int, list[str]] = {}
        for transform in self.transforms:
            by_type.setdefault(transform.type, []).append(str(transform))
        suite = "/".join(",".join(names) for names in by_type.values())
        if self.protocol == ProtocolId.IKE and not self.spi:
            return suite
        words = (name_of(ProtocolId, self.protocol), self.spi.hex(), suite)
        return " ".join(word for word in words if word)

    def encode(self, is_last: bool) -> bytes:
        """Encode the substructure.

        Source: RFC 7296 §3.3.1
        """
        last = len(self.transforms) - 1
        body = self.spi + b"".join(
            transform.encode(is_last=index == last)
            for index, transform in enumerate(self.transforms)
        )
        head = _PROPOSAL.pack(
            _LAST if is_last else _MORE_PROPOSALS,
            _PROPOSAL.size + len(body),
            self.number,
            self.protocol,
            len(self.spi),
            len(self.transforms),
        )
        return head + body


def encode_proposals(proposals: Sequence[Proposal]) -> bytes:
    """Encode the body of an SA payload.

    Source: RFC 7296 §3.3
    """
    last = len(proposals) - 1
    return b"".join(
        proposal.encode(is_last=index == last)
        for index, proposal in enumerate(proposals)
    )


def decode_proposals(reader: Reader) -> tuple[Proposal, ...]:
    """Decode the body of an SA payload.

    Raises
    ------
    MalformedMessageError
        There is no proposal; a length, count or "last" mark disagrees with another; an
        SPI has not its protocol's size; a transform has an attribute twice; or the
        Proposal Nums do not count up by one (from 1 where there are several: a lone
        proposal may be an answer, which repeats the number it accepts).

    Source: RFC 7296 §3.3, RFC 7296 §3.3.1
    """
    proposals = [_decode_proposal(reader)]
    while reader.remaining:
        proposals.append(_decode_proposal(reader))
    first = proposals[0].number if len(proposals) == 1 else 1
    for wanted, proposal in enumerate(proposals, first):
        if proposal.number != wanted or wanted == 0:
            raise MalformedMessageError(
                f"Proposal Num {proposal.number} in place {wanted}"
            )
    return tuple(proposals)


def _decode_proposal(reader: Reader) -> Proposal:
    head = reader.pull(_PROPOSAL.size, "Proposal")
    more, size, number, protocol, spi_size, count = _PROPOSAL.unpack(head)
    if size < _PROPOSAL.size:
        raise MalformedMessageError(f"Proposal Length {size}")
    body = reader.pull_block(size - _PROPOSAL.size, "Proposal")
    _check_last("Proposal", more, _MORE_PROPOSALS, reader.remaining)
    if spi_size not in _SPI_SIZES.get(protocol, (spi_size,)):
        raise MalformedMessageError(
            f"SPI Size {spi_size} for {name_of(ProtocolId, protocol)}"
        )
    spi = body.pull(spi_size, "SPI")
    transforms = [_decode_transform(body)]
    while body.remaining:
        transforms.append(_decode_transform(body))
    if len(transforms) != count:
        raise MalformedMessageError(
            f"Num Transforms {count} before {len(transforms)} transforms"
        )
    return Proposal(number, protocol, spi, tuple(transforms))


def _decode_transform(reader: Reader) -> Transform:
    head = reader.pull(_TRANSFORM.size, "Transform")
    more, size, kind, transform_id = _TRANSFORM.unpack(head)
    if size < _TRANSFORM.size:
        raise MalformedMessageError(f"Transform Length {size}")
    body = reader.pull_block(size - _TRANSFORM.size, "Transform")
    _check_last("Transform", more, _MORE_TRANSFORMS, reader.remaining)
    if not body.remaining:
        return Transform(kind, transform_id)
    return Transform(kind, transform_id, *_decode_attributes(body))


def _decode_attributes(
    reader: Reader,
) -> tuple[int | None, tuple[TransformAttribute, ...]]:
    """Decode all attributes: the Key Length in bits, and those we do not understand.

    Choice: a Key Length in Type/Length/Value format, which that attribute never has, is
    one that we do not understand.
    """
    key_bits = None
    unknown = []
    seen = set()
    while reader.remaining:
        head, size = _ATTRIBUTE.unpack(reader.pull(_ATTRIBUTE.size, "Attribute"))
        kind = head & ~_FIXED_FORMAT
        if kind in seen:
            raise MalformedMessageError(f"Transform Attribute {kind} twice")
        seen.add(kind)
        if head == _FIXED_FORMAT | AttributeType.KEY_LENGTH:
            key_bits = size
        elif head & _FIXED_FORMAT:
            value = size.to_bytes(2, "big")
            unknown.append(TransformAttribute(kind, value, is_fixed=True))
        else:
            value = reader.pull(size, "Attribute Value")
            unknown.append(TransformAttribute(kind, value, is_fixed=False))
    return key_bits, tuple(unknown)


def _check_last(what: str, more: int, more_mark: int, remaining: int) -> None:
    """Check the Last Substruc field against what follows. RFC 7296 §3.3.1."""
    wanted = more_mark if remaining else _LAST
    if more != wanted:
        raise MalformedMessageError(
            f"{what}: Last Substruc {more} with {remaining} octets to come"
        )
