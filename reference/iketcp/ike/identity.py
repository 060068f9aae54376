"""Who a peer is: identities, on the wire and as people write them.

==================  ==============================================================
text                ID Type and data
==================  ==============================================================
gw.example, @gw     ID_FQDN, the name
user@gw.example     ID_RFC822_ADDR, the text in UTF-8
192.0.2.1           ID_IPV4_ADDR, 4 octets
2001:db8::1         ID_IPV6_ADDR, 16 octets
keyid:c0ffee        ID_KEY_ID, the octets
C=CH, O=A, CN=gw    ID_DER_ASN1_DN, a distinguished name in DER
==================  ==============================================================

Two identities are the same when type and octets are; distinguished names also when
they differ only in kinds of strings or in capital letters. What a peer sends may be
anything; :meth:`Identity.__str__` prints it so that two identities never look alike
and no control character reaches a log.

Source: RFC 7296 §3.5
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from iketcp.errors import ConfigurationError
from iketcp.ike import distinguished_name
from iketcp.registry import IdType, name_of

_KEY_ID = "keyid:"
_LABEL = "[A-Za-z0-9_-]{1,63}"
_FQDN = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?", re.DOTALL)
_RFC822 = re.compile(r"[^@\s]+@[^@\s]+")

_ADDRESS_TYPES = {4: IdType.ID_IPV4_ADDR, 16: IdType.ID_IPV6_ADDR}
"""ID Type by octets of the address."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What stands in an IDi or IDr payload.

    Source: RFC 7296 §3.5
    """

    id_type: int
    """ID Type, 8 bits."""
    data: bytes
    """Identification Data, as on the wire."""

    @classmethod
    def parse(cls, text: str) -> "Identity":
        """Read an identity as people write it.

        A leading ``@`` says that a domain name follows, whatever it looks like.

        Raises
        ------
        ConfigurationError
            The text is none of the forms above.

        Source: RFC 7296 §3.5
        """
        text = text.strip()
        if text.startswith(_KEY_ID):
            return cls._parse_key_id(text)
        if distinguished_name.is_written(text):
            return cls(IdType.ID_DER_ASN1_DN, distinguished_name.parse(text))
        if text.startswith("@"):
            return cls._parse_fqdn(text, text[1:])
        address = _parse_address(text)
        if address is not None:
            return cls(_ADDRESS_TYPES[len(address)], address)
        if _RFC822.fullmatch(text) and text.isprintable():
            return cls(IdType.ID_RFC822_ADDR, text.encode())
        if re.fullmatch(r"[0-9.]+", text):
            raise ConfigurationError(
                f"{text!r} looks like an IPv4 address and is none; a domain name of "
                f"this form is written @{text}"
            )
        return cls._parse_fqdn(text, text)

    @classmethod
    def _parse_key_id(cls, text: str) -> "Identity":
        digits = text.removeprefix(_KEY_ID)
        if not re.fullmatch("([0-9A-Fa-f]{2})+", digits):
            raise ConfigurationError(
                f"{text!r} is no key ID: after keyid: come hexadecimal digits, two for "
                "each octet"
            )
        return cls(IdType.ID_KEY_ID, bytes.fromhex(digits))

    @classmethod
    def _parse_fqdn(cls, text: str, name: str) -> "Identity":
        if not _FQDN.fullmatch(name):
            raise ConfigurationError(
                f"{text!r} is no identity: write a domain name (gw.example), "
                "user@domain, an IP address, or keyid: and hexadecimal digits"
            )
        return cls(IdType.ID_FQDN, name.encode())

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The IP address that it is, if it is one."""
        try:
            is_address = self.id_type in _ADDRESS_TYPES.values()
            return ip_address(self.data) if is_address else None
        except ValueError:
            return None

    def matches(self, other: "Identity") -> bool:
        """Tell whether two identities are the same. Source: RFC 4945 §3.1.5."""
        if self == other:
            return True
        is_name = self.id_type == other.id_type == IdType.ID_DER_ASN1_DN
        return is_name and distinguished_name.is_same(self.data, other.data)

    def __str__(self) -> str:
        """Return the text that :meth:`parse` reads back, or type and data in hex."""
        text = self._plain_text()
        for candidate in (text, f"@{text}"):
            if self._is_written(candidate):
                return candidate
        return f"{name_of(IdType, self.id_type)}:{self.data.hex()}"

    def _plain_text(self) -> str:
        if self.id_type == IdType.ID_KEY_ID:
            return _KEY_ID + self.data.hex()
        try:
            if self.id_type == IdType.ID_DER_ASN1_DN:
                return distinguished_name.text_of(self.data)
            if self.id_type in _ADDRESS_TYPES.values():
                return str(ip_address(self.data))
            return self.data.decode()
        except ValueError:
            return ""

    def _is_written(self, text: str) -> bool:
        try:
            return text.isprintable() and Identity.parse(text).matches(self)
        except ConfigurationError:
            return False


def user_identity(name: bytes) -> Identity:
    """Take a user's name for an identity: a mail address, or else a plain name."""
    kind = IdType.ID_RFC822_ADDR if b"@" in name else IdType.ID_FQDN
    return Identity(kind, name)


def eap_identity(data: bytes) -> str:
    """Write who EAP says that somebody is; two never look alike, nor like others.

    A name of an EAP method may be any octets. What cannot be printed, or has spaces,
    is shown in hexadecimal.

    Source: RFC 7296 §2.16
    """
    try:
        text = data.decode()
    except ValueError:
        text = ""
    if text and text.isprintable() and " " not in text:
        return f"eap:{text}"
    return f"eap-hex:{data.hex()}"


def _parse_address(text: str) -> bytes | None:
    """Return the octets of an IP address, or ``None``; a zone is no part of one."""
    if ":" not in text and not text[-1:].isdigit():
        return None  # most names; finding out the other way takes longer
    try:
        return None if "%" in text else ip_address(text).packed
    except ValueError:
        return None
