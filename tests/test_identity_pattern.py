"""Patterns of identities: what they fit, and what only looks like it."""

import pytest

from iketcp.errors import ConfigurationError
from iketcp.ike.identity import Identity
from iketcp.ike.identity_pattern import IdentityPattern
from iketcp.registry import IdType

DN = "C=CH, O=Example, CN=gw"
ONE_OF_EACH = [
    "gw.example",
    "user@gw.example",
    "192.0.2.1",
    "2001:db8::1",
    "keyid:c0ffee",
    DN,
]


@pytest.mark.parametrize("text", ONE_OF_EACH)
def test_an_identity_fits_itself_alone(text: str) -> None:
    """RFC 4301 §4.4.3.1: an exact match, whatever the kind."""
    pattern = IdentityPattern.parse(text)
    assert str(pattern) == text
    for other in ONE_OF_EACH:
        assert pattern.fits(Identity.parse(other)) is (other == text)


@pytest.mark.parametrize("text", [*ONE_OF_EACH, "@192.0.2.1"])
def test_a_star_fits_everybody(text: str) -> None:
    assert IdentityPattern.parse(" * ").fits(Identity.parse(text))


@pytest.mark.parametrize(
    ("pattern", "who", "fits"),
    [
        ("*@example.org", "alice@example.org", True),
        ("*@example.org", "alice@sub.example.org", False),
        ("*@example.org", "alice@example.orga", False),
        ("*@example.org", "a.example.org", False),
        ("*.example.org", "a.example.org", True),
        ("@*.example.org", "@a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "anexample.org", False),
        ("*.example.org", "a@b.example.org", False),
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.0/24", "@192.0.2.1", False),
        ("192.0.2.0/24", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "192.0.2.1", False),
        ("C=CH, O=Example, CN=*", DN, True),
        ("C=CH, O=*, CN=*", "C=CH, O=EXAMPLE, CN=x", True),
        ("C=CH, O=Example, CN=*", "C=CH, O=Other, CN=gw", False),
        ("C=CH, O=Example, CN=*", "C=CH, O=Example", False),
        ("C=CH, O=Example, CN=*", "C=CH, O=Example, OU=gw", False),
        ("C=CH, O=Example, CN=*", "C=CH, O=Example, CN=gw, CN=more", False),
        ("C=CH, O=Example, CN=*", "gw.example", False),
        ("c=ch, o=example, cn=gw", DN, True),
    ],
)
def test_a_pattern_fits_its_kind(pattern: str, who: str, fits: bool) -> None:
    assert IdentityPattern.parse(pattern).fits(Identity.parse(who)) is fits


@pytest.mark.parametrize(
    ("pattern", "id_type", "data"),
    [
        ("*@example.org", IdType.ID_RFC822_ADDR, b"@example.org"),
        ("*@example.org", IdType.ID_RFC822_ADDR, b"root@evil.example@example.org"),
        ("*@example.org", IdType.ID_FQDN, b"alice@example.org"),
        ("*.example.org", IdType.ID_FQDN, b".example.org"),
        ("*.example.org", IdType.ID_FQDN, b"alice@b.example.org"),
        ("*.example.org", IdType.ID_RFC822_ADDR, b"a.example.org"),
        ("192.0.2.0/24", IdType.ID_IPV4_ADDR, b"\xc0\x00\x02"),
        ("192.0.2.0/24", IdType.ID_IPV4_ADDR, b""),
        ("C=CH, CN=*", IdType.ID_DER_ASN1_DN, b"\x30\x05"),
        ("C=CH, CN=*", IdType.ID_DER_ASN1_DN, b""),
    ],
)
def test_what_a_peer_may_send(pattern: str, id_type: int, data: bytes) -> None:
    """Any octets: none of these is let in, and none raises anything."""
    assert not IdentityPattern.parse(pattern).fits(Identity(id_type, data))


def test_a_part_of_several_attributes() -> None:
    """A name may have two in one part; a star stands for the value of one."""
    two = bytes.fromhex("301a3118300906035504030c0261 62300b060355040b0c0461626364")
    name = Identity(IdType.ID_DER_ASN1_DN, two)
    assert not IdentityPattern.parse("CN=*").fits(name)


@pytest.mark.parametrize(
    "text",
    ["**", "a*@example.org", "*@", "*.", "a.*.example", "* @b", "192.0.2.1/24", "*@a*"],
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ConfigurationError):
        IdentityPattern.parse(text)
