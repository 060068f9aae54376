"""Private keys and certificates that are the same every time: for tests only.

Keys come from labelled draws; those of RSA, which no library makes from a draw, are
written down. Every certificate is signed with Ed25519, whose signatures leave nothing
to chance, and is valid for as long as anybody will run the vectors.

Source: RFC 7427 §3, RFC 8420 §2, RFC 4945 §5.1
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from iketcp.crypto.signatures import SigningKey, VerifyingKey
from iketcp.vectorlib.assembly import octets

VALID_FROM = datetime(2020, 1, 1, tzinfo=UTC)
VALID_UNTIL = datetime(2099, 12, 31, tzinfo=UTC)

_RSA_P = """
    bc8868fcb28cc0d76b637a6678278a41a6572df2acf1ebb9e69801c175b67665
    7e99c323a6a193e42048e009b0254f182f93d8c7bfe98d821da3dabc10939d51
    735c5f8db38d3172e46d854756f9d01391db1946c9674e873b5bc42af0a02c6e
    671c0b385f96566f2bb889c6119b768cded6da138b377e00f227c87b85bc9e33
"""
_RSA_Q = """
    b8f0d96b174306f3f7baff2e8458b6acffb930cbe0268e5af8c3372b2cad1ac2
    5dbfac803822e896d5e65235ff0e0638c4a2928777c6f6628ad44ca2110e0aaa
    b44734202fb5567dd88911499c47baa89d65926ccea9a078a0d712c73bd92cb1
    8fd459bbb9334e37ad93d93aaf7abbf40ca3344533e6cf0afeb73db7cd1a6681
"""


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """Return the one RSA key, of 2048 bits."""
    p, q = (int("".join(text.split()), 16) for text in (_RSA_P, _RSA_Q))
    public = rsa.RSAPublicNumbers(65537, p * q)
    d = rsa.rsa_recover_private_exponent(65537, p, q)
    parts = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *parts, public).private_key()


def ecdsa_key(label: str, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    """Make the key of a label on a curve; its number is a little shorter than most."""
    size = curve.key_size // 8
    return ec.derive_private_key(int.from_bytes(octets(label, size)[1:], "big"), curve)


def ed25519_key(label: str) -> ed25519.Ed25519PrivateKey:
    """Make the Ed25519 key of a label."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(octets(label, 32))


def ed448_key(label: str) -> ed448.Ed448PrivateKey:
    """Make the Ed448 key of a label."""
    return ed448.Ed448PrivateKey.from_private_bytes(octets(label, 57))


def private_octets(key: SigningKey) -> bytes:
    """Write a private key as PKCS #8 in DER."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def public_octets(key: VerifyingKey) -> bytes:
    """Write a public key as SubjectPublicKeyInfo in DER. Source: RFC 7670 §3."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class Authority:
    """Who issues certificates, with Ed25519."""

    name: str
    issuer: Authority | None = None
    """None: it has signed its own certificate."""

    @property
    def certificate(self) -> x509.Certificate:
        """The authority's own certificate."""
        key = self._key.public_key()
        builder = _builder(self.name, (self.issuer or self).name, key, 1)
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
        return builder.sign((self.issuer or self)._key, None)

    @property
    def _key(self) -> ed25519.Ed25519PrivateKey:
        return ed25519_key(f"{self.name} key")

    def issue(self, host: str, key: VerifyingKey, serial: int) -> x509.Certificate:
        """Certify a key for a host name. Source: RFC 4945 §5.1.3."""
        alternative = x509.SubjectAlternativeName([x509.DNSName(host)])
        builder = _builder(host, self.name, key, serial)
        return builder.add_extension(alternative, False).sign(self._key, None)


def _builder(
    subject: str, issuer: str, key: VerifyingKey, serial: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_UNTIL)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])
