"""Distinguished names: text, DER, and which are the same. RFC 4945 §3.1.5."""

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from iketcp.errors import ConfigurationError
from iketcp.ike import distinguished_name
from iketcp.ike.identity import Identity
from iketcp.registry import IdType

SWAN = "C=CH, O=strongSwan Project, CN=moon.strongswan.org"


def name(*attributes: tuple[x509.ObjectIdentifier, str, _ASN1Type]) -> bytes:
    """DER of a name whose string types are given."""
    return x509.Name(
        [x509.NameAttribute(oid, value, kind) for oid, value, kind in attributes]
    ).public_bytes()


def test_the_order_is_that_of_the_certificate() -> None:
    """From the country down, and back."""
    octets = distinguished_name.parse(SWAN)
    assert octets == name(
        (NameOID.COUNTRY_NAME, "CH", _ASN1Type.PrintableString),
        (NameOID.ORGANIZATION_NAME, "strongSwan Project", _ASN1Type.UTF8String),
        (NameOID.COMMON_NAME, "moon.strongswan.org", _ASN1Type.UTF8String),
    )
    assert distinguished_name.text_of(octets) == SWAN
    identity = Identity.parse(SWAN)
    assert identity == Identity(IdType.ID_DER_ASN1_DN, octets)
    assert str(identity) == SWAN


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("CN=a", "CN=a"),
        ("c=DE,o=Example,ou=x y ,cn=\u00e4", "C=DE, O=Example, OU=x y, CN=\u00e4"),
        (r"O=Example\, Inc, CN=back\\slash", r"O=Example\, Inc, CN=back\\slash"),
        ("O=a=b, E=user@example.com", "O=a=b, E=user@example.com"),
        ("1.2.840.113549.1.9.2=x, CN=y", "1.2.840.113549.1.9.2=x, CN=y"),
        ("CN=a/b+c;d", "CN=a/b+c;d"),
    ],
)
def test_forms(text: str, written: str) -> None:
    """Attributes by short name or number; only comma and backslash are escaped."""
    identity = Identity.parse(text)
    assert identity.id_type == IdType.ID_DER_ASN1_DN
    assert str(identity) == written
    assert Identity.parse(written) == identity


@pytest.mark.parametrize(
    "text",
    ["CN=", "C=Switzerland, CN=x", "CN=a, b", "Colour=red", "CN=a,,O=b", "9.9=x"],
)
def test_what_is_no_name(text: str) -> None:
    """One sentence for whoever wrote it."""
    with pytest.raises(ConfigurationError):
        Identity.parse(text)


def test_other_kinds_of_strings_are_the_same_name() -> None:
    """PrintableString or UTF8String, small letters or capitals, one space or two."""
    cn, o = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME
    one = name(
        (o, "Example Ltd", _ASN1Type.UTF8String), (cn, "gw", _ASN1Type.UTF8String)
    )
    for other, is_same in (
        (
            name(
                (o, "EXAMPLE  ltd", _ASN1Type.PrintableString),
                (cn, "GW", _ASN1Type.BMPString),
            ),
            True,
        ),
        (
            name(
                (o, "Example Ltd", _ASN1Type.T61String), (cn, "gw", _ASN1Type.IA5String)
            ),
            True,
        ),
        (
            name(
                (cn, "gw", _ASN1Type.UTF8String),
                (o, "Example Ltd", _ASN1Type.UTF8String),
            ),
            False,
        ),
        (name((cn, "gw", _ASN1Type.UTF8String)), False),
        (
            name(
                (o, "gw", _ASN1Type.UTF8String),
                (cn, "Example Ltd", _ASN1Type.UTF8String),
            ),
            False,
        ),
    ):
        assert distinguished_name.is_same(one, other) == is_same
        left, right = (Identity(IdType.ID_DER_ASN1_DN, o) for o in (one, other))
        assert left.matches(right) == is_same
        assert (left == right) == (one == other)


def test_parts_of_several_attributes() -> None:
    """Their order means nothing; they are read, but not written in text."""
    cn, uid = (
        x509.NameAttribute(NameOID.COMMON_NAME, "gw"),
        x509.NameAttribute(NameOID.USER_ID, "7"),
    )
    octets = x509.Name([x509.RelativeDistinguishedName([cn, uid])]).public_bytes()
    assert {("CN", "gw"), ("UID", "7")} == set(distinguished_name.decode(octets)[0])
    assert distinguished_name.is_same(octets, octets)
    identity = Identity(IdType.ID_DER_ASN1_DN, octets)
    assert str(identity) == f"ID_DER_ASN1_DN:{octets.hex()}"


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "30",
        "0500",
        "3003310130",
        "30023000",
        "3004310205 00",
        "3008310630040500 0500",
        "300a3108300606025580 0c00",
        "300b310930070603 5504030500",
        "3083000000",
        "308105",
        "30820005",
        "300a3108300606005504 0c00",
        "300d310b3009060355040313 02ffff",
        "30003000",
    ],
)
def test_what_is_no_der(octets: str) -> None:
    """It is told apart, and equal to nothing but itself."""
    raw = bytes.fromhex(octets)
    with pytest.raises(ValueError, match=r"\w"):
        distinguished_name.decode(raw)
    assert not distinguished_name.is_same(raw, distinguished_name.parse("CN=a"))
    assert str(Identity(IdType.ID_DER_ASN1_DN, raw)) == f"ID_DER_ASN1_DN:{raw.hex()}"


def test_long_names() -> None:
    """Sizes of one and two octets."""
    for size in (100, 200, 300):
        value = "x" * size
        octets = distinguished_name.parse(f"1.2.840.113549.1.9.2={value}")
        assert distinguished_name.decode(octets)[0][0][1] == value


@given(st.binary(max_size=60))
def test_anything_is_read_or_refused(octets: bytes) -> None:
    """Nothing else is raised for what a peer may send."""
    distinguished_name.is_same(octets, b"\x30\x00")
    str(Identity(IdType.ID_DER_ASN1_DN, octets))
