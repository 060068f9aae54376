"""Certificates and keys of the two ends, where each of them looks for its own.

Ours are PEM files beside our configuration; strongSwan's are in the folders of its
``swanctl`` folder, whose names say what is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certificate_factory import Issued, authority, issue, write_issued
from iketcp.crypto.signatures import SigningKey

DAY = timedelta(days=1)
PERIOD = {
    "begin": datetime.now(UTC) - DAY,
    "end": datetime.now(UTC) + DAY,
}
OVER = {"begin": PERIOD["begin"] - DAY, "end": PERIOD["begin"]}
NOT_FOR_IKE = [
    (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.TIME_STAMPING]), True)
]

KEYS: dict[str, Callable[[], SigningKey]] = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "ECDSA P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ECDSA P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ECDSA P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
}


def root(kind: str = "ECDSA P-256", subject: str = "O=Example,CN=Root") -> Issued:
    """Make an authority that is valid now."""
    return authority(subject, KEYS[kind](), **PERIOD)


def between(above: Issued, kind: str = "ECDSA P-256") -> Issued:
    """Make an authority under another."""
    return authority("O=Example,CN=Between", KEYS[kind](), above, serial=2, **PERIOD)


def end(
    above: Issued, name: str, kind: str = "ECDSA P-256", **changes: object
) -> Issued:
    """Issue the certificate of an end, for the domain name that is its identity."""
    how = {"names": [name], "serial": 3, **PERIOD, **changes}
    return issue(f"O=Example,CN={name}", KEYS[kind](), above, **how)  # type: ignore[arg-type]


def write_ours(folder: Path, ca: Issued, issued: Issued, *more: Issued) -> None:
    """Write ours with what stands between it and the authority that we trust."""
    write_issued(folder, "ours", issued)
    chain = [one.certificate.public_bytes(Encoding.PEM) for one in (issued, *more)]
    (folder / "ours.pem").write_bytes(b"".join(chain))
    (folder / "ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))


def write_theirs(folder: Path, ca: Issued, issued: Issued, *more: Issued) -> None:
    """Write strongSwan's; what stands between goes where its authorities are."""
    for name in ("x509", "x509ca", "private"):
        (folder / name).mkdir(exist_ok=True)
    write_issued(folder / "x509", "theirs", issued)
    (folder / "x509" / "theirs.key").rename(folder / "private" / "theirs.key")
    (folder / "x509" / "theirs.pub").unlink()
    for number, one in enumerate((ca, *more)):
        pem = one.certificate.public_bytes(Encoding.PEM)
        (folder / "x509ca" / f"ca{number}.pem").write_bytes(pem)
