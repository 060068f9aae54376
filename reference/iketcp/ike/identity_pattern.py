"""Which identities a table of a configuration is for: one, or all of a kind.

===================  =============================================================
text                 whom it fits
===================  =============================================================
any identity         that one, see :mod:`iketcp.ike.identity`
*                    everybody
*@example.org        every mail address of exactly this domain
*.example.org        every host name below this domain, however deep; not itself
192.0.2.0/24         every address of the network, IPv4 or IPv6
C=CH, O=A, CN=*      every distinguished name of these parts; a star is any value
===================  =============================================================

A star stands for itself nowhere else. Host names and mail addresses are compared
octet by octet, as whole identities are.

Source: RFC 7296 §3.5
Source: RFC 4301 §4.4.3.1 (PAD entry IDs and their matching)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from iketcp.errors import ConfigurationError
from iketcp.ike import distinguished_name
from iketcp.ike.identity import Identity
from iketcp.registry import IdType

Network = IPv4Network | IPv6Network

_ANYBODY = "*"
_STAND_IN = "any"
"""What a star is replaced by to see whether the rest of a pattern is an identity."""

_BELOW_A_DOMAIN = re.compile(r"@?\*(\..+)")
_AT_A_DOMAIN = re.compile(r"\*(@[^@*]+)")


@dataclass(frozen=True, slots=True)
class IdentityPattern:
    """One identity, or a kind of them; made by :meth:`parse`."""

    text: str
    """As it was written."""
    identity: Identity | None = None
    """The only one that fits, or a distinguished name with stars in it."""
    id_type: int | None = None
    """ID Type of host names or mail addresses that end in ``ending``."""
    ending: bytes = b""
    network: Network | None = None

    @classmethod
    def parse(cls, text: str) -> IdentityPattern:
        """Read a pattern as people write it.

        Raises
        ------
        ConfigurationError
            The text is none of the forms above.

        Source: RFC 7296 §3.5
        """
        text = text.strip()
        if text == _ANYBODY:
            return cls(text)
        if (network := _parse_network(text)) is not None:
            return cls(text, network=network)
        for form, id_type in (
            (_BELOW_A_DOMAIN, IdType.ID_FQDN),
            (_AT_A_DOMAIN, IdType.ID_RFC822_ADDR),
        ):
            match = form.fullmatch(text)
            if match is not None:
                whole = Identity.parse(_STAND_IN + match[1])
                ending = whole.data.removeprefix(_STAND_IN.encode())
                return cls(text, id_type=id_type, ending=ending)
        if "*" in text and not distinguished_name.is_written(text):
            raise ConfigurationError(
                f"{text!r} is no pattern: a star stands before a domain "
                "(*.example.org, *@example.org), for a value of a distinguished name, "
                "or alone"
            )
        return cls(text, Identity.parse(text))

    def fits(self, who: Identity) -> bool:
        """Tell whether an identity is this one, or of this kind.

        Source: RFC 4301 §4.4.3.1
        """
        if self.identity is not None:
            is_name = self.identity.id_type == who.id_type == IdType.ID_DER_ASN1_DN
            return self.identity.matches(who) or (
                is_name and distinguished_name.fits(self.identity.data, who.data)
            )
        if self.network is not None:
            address = who.address
            return address is not None and address in self.network
        if self.id_type is None:
            return True
        # what the star stands for is neither empty nor a domain of its own
        rest = who.data.removesuffix(self.ending)
        is_below = rest not in (b"", who.data) and b"@" not in rest
        return who.id_type == self.id_type and is_below

    def __str__(self) -> str:
        """Return what was written."""
        return self.text


def _parse_network(text: str) -> Network | None:
    try:
        return ip_network(text) if "/" in text else None
    except ValueError:
        return None
