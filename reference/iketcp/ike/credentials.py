"""What we prove our identity with, and which proofs of a peer we take.

The two sides choose for themselves: one may use a certificate and the other a
pre-shared key. Both records are configuration: nothing in them changes while IKE SAs
come and go.

Source: RFC 7296 §2.15
Source: RFC 7670 §3
Source: RFC 7619 §2
Source: RFC 8784 §2
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from cryptography.x509 import Certificate, CertificateRevocationList

from iketcp.crypto.signatures import SigningKey, VerifyingKey
from iketcp.ike.identity import Identity


class Proof(Enum):
    """Kind of proof of an identity; in a configuration by these words."""

    PSK = "psk"
    """A secret that both sides know. Source: RFC 7296 §2.15."""
    CERTIFICATE = "certificate"
    """A signature, by the key of an X.509 certificate. Source: RFC 7296 §3.6."""
    PUBLIC_KEY = "public-key"
    """A signature, by a key that the other side knows. Source: RFC 7670 §3."""
    NULL = "null"
    """None at all. Source: RFC 7619 §2."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What we prove our identity with."""

    proof: Proof = Proof.PSK
    key: SigningKey | None = field(default=None, repr=False)
    """Signs AUTH; for CERTIFICATE and PUBLIC_KEY."""
    certificates: tuple[Certificate, ...] = ()
    """For CERTIFICATE: that of ``key``, then intermediate ones."""
    is_pkcs1_preferred: bool = False
    """An RSA key signs with PKCS#1 v1.5, not PSS. Source: RFC 8247 §3.2."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Which proofs of a peer we take, and what we hold them against."""

    proofs: frozenset[Proof] = frozenset({Proof.PSK})
    authorities: tuple[Certificate, ...] = ()
    """Trust anchors of certificates."""
    crls: tuple[CertificateRevocationList, ...] = field(default=(), repr=False)
    is_crl_required: bool = False
    """Without a current CRL of its issuer no certificate is taken."""
    public_keys: Mapping[Identity | None, tuple[VerifyingKey, ...]] = field(
        default_factory=dict
    )
    """Raw public keys by identity; the keys under ``None`` are for all others."""


@dataclass(frozen=True, slots=True)
class Ppk:
    """A post-quantum preshared key, mixed into the keys of an IKE SA.

    Source: RFC 8784 §2
    """

    id: bytes
    """PPK_ID without its type octet, which is PPK_ID_FIXED. Source: RFC 8784 §5.1."""
    key: bytes = field(repr=False)
    """The PPK."""
    peer: Identity | None = None
    """Whom it is for; ``None``: for whoever has no PPK of its own."""
    is_mandatory: bool = False
    """There is no IKE SA with this peer without a PPK."""
