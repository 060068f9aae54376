"""X.509: chains that are good, and every way to be bad. RFC 7296 §2.21.2."""

import hashlib
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from certificate_factory import (
    DAY,
    IPSEC_IKE,
    TODAY,
    Issued,
    authority,
    crl_of,
    issue,
    key_from,
    usage,
)
from iketcp.crypto.signatures import SigningKey, VerifyingKey
from iketcp.errors import AuthenticationFailedError
from iketcp.ike import certificates
from iketcp.ike.certificates import (
    MAX_CHAIN,
    MAX_SENT,
    authority_hashes,
    names,
    verify_certificate,
)
from iketcp.ike.credentials import Proof, Trust
from iketcp.ike.identity import Identity
from iketcp.registry import IdType

GW = Identity.parse("gw.example")
ROOT = authority()
KEY = key_from(9)

SIGNERS: dict[str, SigningKey] = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": key_from(3),
    "ed448": ed448.Ed448PrivateKey.generate(),
}


def gateway(issuer: Issued = ROOT, **changes: object) -> Issued:
    """A certificate for gw.example."""
    return issue(
        "O=Example,CN=gw.example",
        **{"key": KEY, "issuer": issuer, "names": ["gw.example"], **changes},
    )


def verify(
    *sent: Issued,
    roots: tuple[Issued, ...] = (ROOT,),
    peer: Identity = GW,
    at: datetime = TODAY,
    **changes: object,
) -> VerifyingKey:
    """Verify what a peer sent."""
    trust = Trust(
        frozenset({Proof.CERTIFICATE}),
        tuple(root.certificate for root in roots),
        **changes,
    )
    return verify_certificate([issued.der for issued in sent], trust, peer, at)


def refused(reason: str, *sent: Issued, **how: object) -> None:
    """Expect a refusal."""
    with pytest.raises(AuthenticationFailedError, match=reason):
        verify(*sent, **how)


# --- good -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNERS)
def test_every_kind_of_key(name: str) -> None:
    """An authority and a gateway with each key; EdDSA among them."""
    root = authority(key=SIGNERS[name])
    gw = gateway(root, key=SIGNERS[name])
    key = verify(gw, roots=(root,))
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key.public_bytes(*form) == SIGNERS[name].public_key().public_bytes(*form)


def middle(number: int, issuer: Issued, **changes: object) -> Issued:
    """An intermediate authority."""
    subject = f"O=Example,CN=CA {number}"
    return authority(subject, key_from(20 + number), issuer, **changes)


def test_intermediates_in_any_order() -> None:
    """RFC 7296 §3.6: only the first certificate has its place."""
    one = middle(1, ROOT)
    two = middle(2, one)
    other = middle(3, ROOT)
    gw = gateway(two)
    verify(gw, one, two, other)
    verify(gw, other, two, one)
    refused("no certificate authority that we trust", gw, one)
    refused("no certificate authority that we trust", gw)


def test_the_root_may_come_along() -> None:
    """RFC 4945 §3.3.10.5: what is of no use is passed over."""
    verify(gateway(), ROOT)


def test_the_longest_chain() -> None:
    """Our own limit, and no endless search."""
    chain = [ROOT]
    for number in range(MAX_CHAIN - 1):
        chain.append(middle(number, chain[-1]))
    verify(gateway(chain[-2]), *chain[1:-1])
    refused("no certificate authority", gateway(chain[-1]), *chain[1:])


def test_two_authorities_of_one_name() -> None:
    """After a change of keys: the one that fits is found."""
    old = authority(key=key_from(2))
    verify(gateway(), roots=(old, ROOT))
    verify(gateway(old), roots=(ROOT, old))


def test_authorities_that_certify_each_other() -> None:
    """A circle ends."""
    one = middle(1, ROOT)
    two = middle(2, one)
    back = issue(
        "O=Example,CN=CA 1",
        one.key,
        two,
        extensions=[(x509.BasicConstraints(ca=True, path_length=None), True)],
    )
    refused(
        "no certificate authority", gateway(two), two, back, roots=(authority("CN=x"),)
    )


# --- bad ------------------------------------------------------------------------------


def test_expired_and_not_yet_valid() -> None:
    """Of the gateway and of the authority. RFC 7296 §2.21.2."""
    refused("has expired", gateway(), at=TODAY + 31 * DAY)
    refused("not valid yet", gateway(), at=TODAY - 31 * DAY)
    old = authority(end=TODAY - DAY)
    refused("Example CA,O=Example has expired", gateway(old), roots=(old,))
    verify(gateway(), at=TODAY + 30 * DAY)
    verify(gateway(), at=TODAY - 30 * DAY)


def test_wrong_authority() -> None:
    """Same name, another key; another name; itself."""
    impostor = authority(key=key_from(2))
    refused("signature of .* is wrong", gateway(impostor))
    refused("that we trust", gateway(authority("CN=Other", key_from(2))))
    refused("that we trust", issue("CN=gw.example", KEY, names=["gw.example"]))
    refused("that we trust", gateway(), roots=())


def test_bad_signature() -> None:
    """One octet changed."""
    good = gateway()
    octets = bytearray(good.der)
    octets[-1] ^= 1
    trust = Trust(authorities=(ROOT.certificate,))
    with pytest.raises(AuthenticationFailedError, match="is wrong"):
        verify_certificate([bytes(octets)], trust, GW, TODAY)


def test_what_an_anchor_has_signed_is_remembered() -> None:
    """But not that it was valid; nor what is wrong, or signed by others."""
    remembered = certificates._verify_anchors_signature
    remembered.cache_clear()
    good = gateway()
    verify(good)
    verify(good)
    assert remembered.cache_info()[:2] == (1, 1)  # hits, misses
    refused("expired", good, at=TODAY + 400 * DAY)
    bad = gateway(authority(key=key_from(5)))
    refused("signature", bad)
    refused("signature", bad)
    middle = authority("O=Example,CN=Middle", key_from(2), ROOT)
    verify(gateway(middle), middle)
    assert remembered.cache_info().currsize == 2  # ROOT's signatures, not middle's


def test_an_issuer_that_is_no_authority() -> None:
    """Another gateway's certificate issues nothing."""
    other = gateway(key=key_from(8), extensions=[(usage("digital_signature"), True)])
    subject = "O=Example,CN=victim"
    forged = issue(subject, KEY, other, ["gw.example"])
    refused("is no certificate authority", forged, other)
    denied = issue(
        "CN=no",
        key_from(8),
        ROOT,
        extensions=[(x509.BasicConstraints(ca=False, path_length=None), True)],
    )
    refused("is no certificate authority", gateway(denied), denied)


def test_an_authority_that_may_not_sign() -> None:
    """Key usage without keyCertSign."""
    extensions = [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (usage("crl_sign"), True),
    ]
    root = authority(extensions=extensions)
    refused("may not sign certificates", gateway(root), roots=(root,))


def test_path_length() -> None:
    """A root that allows no other authority below it."""
    root = authority(path_length=0)
    one = middle(1, root)
    verify(gateway(root), roots=(root,))
    refused("is too long", gateway(one), one, roots=(root,))


@pytest.mark.parametrize(
    ("extension", "critical", "reason"),
    [
        (usage("key_encipherment"), True, "not for signing"),
        (
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
            False,
            "not for IKE",
        ),
        (x509.NameConstraints([x509.DNSName("a")], None), True, "2.5.29.30"),
        (x509.NameConstraints([x509.DNSName("a")], None), False, "2.5.29.30"),
        (
            x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0"),
            True,
            "1.2.3.4 is not understood",
        ),
    ],
)
def test_wrong_usage(
    extension: x509.ExtensionType, critical: bool, reason: str
) -> None:
    """RFC 4945 §5.1.3.2, §5.1.3.12."""
    refused(reason, gateway(extensions=[(extension, critical)]))


@pytest.mark.parametrize(
    ("extension", "critical"),
    [
        (usage("digital_signature"), True),
        (usage("content_commitment", "key_encipherment"), True),
        (x509.ExtendedKeyUsage([IPSEC_IKE]), True),
        (
            x509.ExtendedKeyUsage(
                [
                    ExtendedKeyUsageOID.SERVER_AUTH,
                    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
                ]
            ),
            False,
        ),
        (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0"), False),
    ],
)
def test_right_usage(extension: x509.ExtensionType, critical: bool) -> None:
    """RFC 4945 §5.1.3.2, §5.1.3.12."""
    verify(gateway(extensions=[(extension, critical)]))


def test_weak_signatures_and_keys() -> None:
    """SHA-1 below, a short RSA key above."""
    root = authority(key=SIGNERS["rsa"])
    weak = issue(
        "CN=gw.example",
        SIGNERS["rsa"],
        root,
        ["gw.example"],
        algorithm=hashes.SHA224(),
    )
    refused("too weak", weak, roots=(root,))
    short = authority(key=rsa.generate_private_key(65537, 1024))
    refused("too small", gateway(short), roots=(short,))


@pytest.mark.parametrize("octets", [b"", b"\x30\x03\x02\x01\x05", bytes(100)])
def test_what_is_no_certificate(octets: bytes) -> None:
    """CERT may hold anything."""
    trust = Trust(authorities=(ROOT.certificate,))
    for sent in ([octets], [gateway().der, octets]):
        with pytest.raises(AuthenticationFailedError, match="cannot be read"):
            verify_certificate(sent, trust, GW, TODAY)


def test_only_so_many_are_read() -> None:
    """A message could hold hundreds."""
    trust = Trust(authorities=(ROOT.certificate,))
    many = [gateway().der] * MAX_SENT + [b"never read"]
    verify_certificate(many, trust, GW, TODAY)


# --- revocation -----------------------------------------------------------------------


def test_revoked() -> None:
    """By its serial number, also where the list is out of date."""
    gw = gateway(serial=77)
    verify(gw, crls=(crl_of(ROOT, [78]),))
    refused("is revoked", gw, crls=(crl_of(ROOT, [77]),))
    old = crl_of(ROOT, [77], TODAY - 9 * DAY, TODAY - 8 * DAY)
    refused("is revoked", gw, crls=(old,))


def test_a_revoked_authority() -> None:
    """Every link counts."""
    one = middle(1, ROOT, serial=5)
    refused("is revoked", gateway(one), one, crls=(crl_of(ROOT, [5]),))


def test_lists_that_do_not_count() -> None:
    """Of another signer or authority, or with what is not understood."""
    gw = gateway(serial=77)
    other = authority("CN=Other", key_from(2))
    partial = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
    for crl in (
        crl_of(ROOT, [77], signer=key_from(2)),
        crl_of(other, [77]),
        crl_of(ROOT, [77], extensions=[(partial, True)]),
    ):
        verify(gw, crls=(crl,))
        refused("no current CRL", gw, crls=(crl,), is_crl_required=True)


def test_an_authority_that_may_not_sign_lists() -> None:
    """Key usage without cRLSign."""
    extensions = [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (usage("key_cert_sign"), True),
    ]
    root = authority(extensions=extensions)
    crl = crl_of(root, [1])
    refused(
        "no current CRL",
        gateway(root),
        roots=(root,),
        crls=(crl,),
        is_crl_required=True,
    )


def test_a_current_list_can_be_required() -> None:
    """RFC 4945 §3.2.3: local policy."""
    gw = gateway(serial=77)
    verify(gw, crls=(crl_of(ROOT),), is_crl_required=True)
    refused("no current CRL", gw, is_crl_required=True)
    for begin, end in ((-9, -8), (1, 2)):
        crl = crl_of(ROOT, (), TODAY + begin * DAY, TODAY + end * DAY)
        refused("no current CRL", gw, crls=(crl,), is_crl_required=True)


# --- names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alternatives", "identity", "is_named"),
    [
        (["gw.example"], "gw.example", True),
        (["GW.Example"], "gw.eXample", True),
        (["a.example", "gw.example"], "gw.example", True),
        (["*.example"], "gw.example", False),
        (["gw.example"], "other.example", False),
        (["gw.example"], "gw.example.", False),
        (["user@example.com"], "user@example.com", True),
        (["User@Example.com"], "user@example.com", True),
        (["user@example.com"], "example.com", False),
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.2", False),
        (["2001:db8::1"], "2001:db8:0::1", True),
        (["2001:db8::1"], "192.0.2.1", False),
        (["gw.example"], "keyid:c0ffee", False),
        ([], "gw.example", False),
        (["other.example"], "O=Example, CN=gw.example", True),
        ([], "O=Example, CN=gw.example", True),
        ([], "O=example, CN=GW.example", True),
        ([], "CN=gw.example, O=Example", False),
        ([], "CN=gw.example", False),
    ],
)
def test_names(alternatives: list[str], identity: str, is_named: bool) -> None:
    """RFC 4945 §3.1: the subject is for distinguished names only."""
    gw = gateway(names=alternatives)
    peer = Identity.parse(identity)
    assert names(gw.certificate, peer) == is_named
    if is_named:
        verify(gw, peer=peer)
    else:
        refused("the certificate is not of", gw, peer=peer)


@pytest.mark.parametrize(
    "identity",
    [
        Identity(IdType.ID_FQDN, b"\xff"),
        Identity(IdType.ID_IPV4_ADDR, b"abc"),
        Identity(IdType.ID_NULL, b""),
        Identity(IdType.ID_DER_ASN1_DN, b"\x30\x80"),
        Identity(200, b"gw.example"),
    ],
)
def test_identities_that_make_no_sense(identity: Identity) -> None:
    """They name nobody."""
    assert not names(gateway(names=["192.0.2.1", "gw.example"]).certificate, identity)


def test_an_empty_subject_is_nobody() -> None:
    """RFC 4945 §3.1.5."""
    builder = x509.CertificateBuilder(
        x509.Name([]), x509.Name([]), KEY.public_key(), 1, TODAY, TODAY + DAY
    )
    certificate = builder.sign(KEY, None)
    identity = Identity(IdType.ID_DER_ASN1_DN, x509.Name([]).public_bytes())
    assert not names(certificate, identity)


def test_certificate_request() -> None:
    """RFC 7296 §3.7: SHA-1 of SubjectPublicKeyInfo, one after the other."""
    other = authority("CN=Other", SIGNERS["p256"])
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digests = [
        hashlib.sha1(issued.key.public_key().public_bytes(*form)).digest()
        for issued in (ROOT, other)
    ]
    found = authority_hashes([ROOT.certificate, other.certificate])
    assert found == b"".join(digests)
