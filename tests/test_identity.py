"""Identities as people write them and as they travel.

Source: RFC 7296 §3.5
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.errors import ConfigurationError
from iketcp.ike.identity import Identity
from iketcp.registry import IdType

FORMS = [
    ("west.example", IdType.ID_FQDN, b"west.example"),
    ("localhost", IdType.ID_FQDN, b"localhost"),
    ("xn--tmonesimerkki-bfbb.example.net.", IdType.ID_FQDN, None),
    ("user@example.com", IdType.ID_RFC822_ADDR, b"user@example.com"),
    ("jörg@beispiel.example", IdType.ID_RFC822_ADDR, "jörg@beispiel.example".encode()),
    ("192.0.2.1", IdType.ID_IPV4_ADDR, bytes([192, 0, 2, 1])),
    ("2001:db8::1", IdType.ID_IPV6_ADDR, bytes.fromhex("20010db8" + "00" * 11 + "01")),
    ("keyid:c0ffee00", IdType.ID_KEY_ID, bytes.fromhex("c0ffee00")),
]


@pytest.mark.parametrize(("text", "id_type", "data"), FORMS)
def test_each_form_and_back(text: str, id_type: IdType, data: bytes | None) -> None:
    identity = Identity.parse(text)
    assert identity == Identity(id_type, text.encode() if data is None else data)
    assert str(identity) == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("@west.example", "west.example"),
        (" west.example ", "west.example"),
        ("@192.0.2.1", "@192.0.2.1"),
        ("@10.0.0.999", "@10.0.0.999"),
        ("KeyID.example", "KeyID.example"),
        ("keyid:C0FFEE", "keyid:c0ffee"),
        ("2001:DB8:0::1", "2001:db8::1"),
    ],
)
def test_other_spellings(text: str, written: str) -> None:
    """A leading @ marks a domain name, even one that looks like an address."""
    identity = Identity.parse(text)
    assert str(identity) == written
    assert Identity.parse(written) == identity


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no identity"),
        ("@", "is no identity"),
        ("a b", "is no identity"),
        ("two..dots", "is no identity"),
        ("a@b@c", "is no identity"),
        ("@user@example.com", "is no identity"),
        ("user@", "is no identity"),
        ("us\x07er@example.com", "is no identity"),
        ("bücher.example", "is no identity"),
        ("a" * 64 + ".example", "is no identity"),
        (".".join(["abcdefg"] * 40), "is no identity"),
        ("fe80::1%eth0", "is no identity"),
        ("10.0.0.0/8", "is no identity"),
        ("10.0.0.999", "looks like an IPv4 address"),
        ("keyid:", "is no key ID"),
        ("keyid:abc", "is no key ID"),
        ("keyid:xx", "is no key ID"),
    ],
)
def test_wrong_text_gets_one_clear_sentence(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        Identity.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("id_type", "data", "text"),
    [
        (IdType.ID_FQDN, b"line\nbreak", "ID_FQDN:6c696e650a627265616b"),
        (IdType.ID_FQDN, b"user@example", "ID_FQDN:75736572406578616d706c65"),
        (IdType.ID_FQDN, b"end\0", "ID_FQDN:656e6400"),
        (IdType.ID_FQDN, b"", "ID_FQDN:"),
        (IdType.ID_FQDN, b"\xff", "ID_FQDN:ff"),
        (IdType.ID_RFC822_ADDR, b"west.example", "ID_RFC822_ADDR:776573742e65"),
        (IdType.ID_RFC822_ADDR, b"\xc3", "ID_RFC822_ADDR:c3"),
        (IdType.ID_IPV4_ADDR, b"\x01\x02\x03", "ID_IPV4_ADDR:010203"),
        (IdType.ID_IPV4_ADDR, bytes(16), "ID_IPV4_ADDR:000000"),
        (IdType.ID_IPV6_ADDR, bytes(4), "ID_IPV6_ADDR:00000000"),
        (IdType.ID_KEY_ID, b"", "ID_KEY_ID:"),
        (IdType.ID_DER_ASN1_DN, b"\x30\x00", "ID_DER_ASN1_DN:3000"),
        (77, b"abc", "IdType(77):616263"),
    ],
)
def test_what_has_no_form_is_printed_in_hex(
    id_type: int, data: bytes, text: str
) -> None:
    """No control character and no look-alike reaches a log or a table."""
    assert str(Identity(id_type, data)).startswith(text)


data = st.one_of(
    st.binary(max_size=20),
    st.text(alphabet="a1.@:-_% \n", max_size=12).map(str.encode),
    st.sampled_from([b"192.0.2.1", b"::1", b"keyid:00", b"ID_FQDN:61", bytes(4)]),
)
identities = st.builds(Identity, st.sampled_from([1, 2, 3, 5, 9, 11, 77]), data)


@given(identities, identities)
def test_two_identities_never_look_alike(one: Identity, other: Identity) -> None:
    assert (str(one) == str(other)) == (one == other)
    assert str(one).isprintable()


@given(st.one_of(st.text(max_size=20), data.map(lambda d: d.decode(errors="replace"))))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        identity = Identity.parse(text)
    except ConfigurationError:
        return
    assert Identity.parse(str(identity)) == identity
