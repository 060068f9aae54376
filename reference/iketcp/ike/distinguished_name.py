"""Distinguished names: from text to DER, from DER to text, and when two are the same.

People write them as strongSwan does, in the order of the certificate, from the country
down: ``C=CH, O=Example, CN=gw.example``. Two names are the same when their attributes
are, whatever kind of string holds them, in small or capital letters alike.

Source: RFC 7296 §3.5
Source: RFC 4945 §3.1.5
"""

import re
from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from iketcp.errors import ConfigurationError

Attribute = tuple[str, str]
"""Type, by its short name or as an object identifier, and value."""

_SHORT_NAMES = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "SN": NameOID.SERIAL_NUMBER,
    "S": NameOID.SURNAME,
    "G": NameOID.GIVEN_NAME,
    "T": NameOID.TITLE,
    "UID": NameOID.USER_ID,
    "DC": NameOID.DOMAIN_COMPONENT,
    "E": NameOID.EMAIL_ADDRESS,
}
_BY_OID = {oid.dotted_string: name for name, oid in _SHORT_NAMES.items()}

_SEQUENCE, _SET, _OID = 0x30, 0x31, 0x06
_STRINGS = {
    0x0C: "utf-8",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1E: "utf-16-be",
}
"""Encoding by tag: UTF8String, PrintableString, T61String, IA5String, BMPString."""

_WRITTEN = re.compile(r"\s*([A-Za-z]+|[0-9]+(\.[0-9]+)+)\s*=")
_ESCAPED = re.compile(r"[\\,]")
_PART = re.compile(
    r"\s*([A-Za-z]+|[0-9.]+)\s*=\s*((?:\\.|[^\\,])*?)\s*(?:,|$)", re.DOTALL
)


def is_written(text: str) -> bool:
    """Tell whether a text looks like a distinguished name."""
    return _WRITTEN.match(text) is not None


def parse(text: str) -> bytes:
    """Read a distinguished name as people write it; DER results.

    A comma inside a value has a backslash before it.

    Raises
    ------
    ConfigurationError
        The text is none.

    Source: RFC 4945 §3.1.5
    """
    attributes, position = [], 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise ConfigurationError(
                f"{text!r} is no distinguished name: write it as C=CH, O=Example, "
                "CN=gw.example"
            )
        attributes.append(_attribute(part[1], re.sub(r"\\(.)", r"\1", part[2])))
        position = part.end()
    return x509.Name(attributes).public_bytes()


def _attribute(name: str, value: str) -> x509.NameAttribute[str]:
    try:
        oid = _SHORT_NAMES.get(name.upper()) or ObjectIdentifier(name)
        return x509.NameAttribute(oid, value)
    except ValueError:
        raise ConfigurationError(
            f"{name}={value} cannot stand in a distinguished name"
        ) from None


def decode(octets: bytes) -> list[tuple[Attribute, ...]]:
    """Read a name in DER: its parts, each of one attribute or more.

    Raises
    ------
    ValueError
        It is no name.

    Source: RFC 7296 §3.5
    """
    [(tag, content)] = _elements(octets)
    if tag != _SEQUENCE:
        raise ValueError("no sequence")
    return [
        tuple(_decode_attribute(attribute) for attribute in _elements(part))
        for part in _contents(content, _SET)
    ]


def _decode_attribute(element: tuple[int, bytes]) -> Attribute:
    if element[0] != _SEQUENCE:
        raise ValueError("no attribute")
    (oid_tag, oid), (tag, value) = _elements(element[1])
    if oid_tag != _OID or tag not in _STRINGS:
        raise ValueError("no type and string")
    dotted = _dotted(oid)
    return _BY_OID.get(dotted, dotted), value.decode(_STRINGS[tag])


def _dotted(octets: bytes) -> str:
    """Read an object identifier: base 128, the first two numbers in one."""
    numbers, number = [], 0
    for octet in octets:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    if not octets or octets[-1] & 0x80:
        raise ValueError("no object identifier")
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _contents(octets: bytes, wanted: int) -> Iterator[bytes]:
    for tag, content in _elements(octets):
        if tag != wanted:
            raise ValueError("another element is wanted")
        yield content


def _elements(octets: bytes) -> list[tuple[int, bytes]]:
    """Cut DER into tags and contents; at most 65,535 octets each."""
    elements, position = [], 0
    while position < len(octets):
        if len(octets) < position + 2:
            raise ValueError("cut short")
        tag, size = octets[position], octets[position + 1]
        position += 2
        if size & 0x80:
            more = size & 0x7F
            if more not in (1, 2):
                raise ValueError("a size that no name has")
            size = int.from_bytes(octets[position : position + more], "big")
            position += more
        content = octets[position : position + size]
        if len(content) < size:
            raise ValueError("cut short")
        elements.append((tag, content))
        position += size
    return elements


def text_of(octets: bytes) -> str:
    """Write a name as people do.

    Raises
    ------
    ValueError
        It is no name.
    """
    return ", ".join(
        "+".join(f"{name}={_ESCAPED.sub(_escape, value)}" for name, value in part)
        for part in decode(octets)
    )


def _escape(match: re.Match[str]) -> str:
    return "\\" + match[0]


def is_same(one: bytes, other: bytes) -> bool:
    """Compare two names in DER, whatever kinds of strings they hold.

    Source: RFC 4945 §3.1.5
    """
    if one == other:
        return True
    try:
        return _folded(one) == _folded(other)
    except ValueError:
        return False


def fits(pattern: bytes, name: bytes) -> bool:
    """Compare a name with one in which a star stands for any value of its attribute.

    Source: RFC 4301 §4.4.3.1
    """
    try:
        wanted, present = _folded(pattern), _folded(name)
    except ValueError:
        return False
    return len(wanted) == len(present) and all(
        _part_fits(sorted(one), sorted(other))
        for one, other in zip(wanted, present, strict=True)
    )


def _part_fits(wanted: list[Attribute], present: list[Attribute]) -> bool:
    return len(wanted) == len(present) and all(
        kind == other and value in ("*", found)
        for (kind, value), (other, found) in zip(wanted, present, strict=True)
    )


def _folded(octets: bytes) -> list[set[Attribute]]:
    return [
        {(name, " ".join(value.split()).casefold()) for name, value in part}
        for part in decode(octets)
    ]
