"""How each end proves who it is: ``auth`` of ``[local]`` and ``[remote]``.

Source: RFC 7296 §2.15, RFC 7619 §2, RFC 7670 §3
"""

from pathlib import Path

from iketcp.config.eap import is_alone
from iketcp.config.pem_files import (
    read_certificates,
    read_crls,
    read_private_key,
    read_public_key,
)
from iketcp.config.psk import read_psk
from iketcp.config.psk_table import Secrets, read_psk_table
from iketcp.config.reader import Document, Section
from iketcp.crypto.signatures import check_key
from iketcp.errors import AuthenticationFailedError
from iketcp.ike.certificates import names
from iketcp.ike.credentials import Credential, Proof, Trust

OURS: dict[str, tuple[str, ...]] = {
    "certificate": ("certificate", "private_key"),
    "public-key": ("private_key",),
}
"""Keys of [local] that go with each ``auth``; others there mean nothing."""

THEIRS: dict[str, tuple[str, ...]] = {
    "certificate": ("ca",),
    "public-key": ("public_key",),
}
"""The same of [remote]."""


def own_credential(document: Document, folder: Path, warnings: list[str]) -> Credential:
    """Read what we prove our identity with.

    Raises
    ------
    ConfigurationError
        A file is missing or wrong, or key and certificate do not go together.

    Source: RFC 7296 §2.15
    """
    local = document.one("local")
    if local["auth"] == "eap":
        if document.role == "responder":
            raise local.error("auth", 'of a responder cannot be "eap"')
        return Credential()
    return credential_of(local, folder, warnings)


def credential_of(local: Section, folder: Path, warnings: list[str]) -> Credential:
    """Read what a table says that we prove our identity with.

    Parameters
    ----------
    local : Section
        With the keys of ``[local]``.

    Raises
    ------
    ConfigurationError
        A file is missing or wrong, or key and certificate do not go together.

    Source: RFC 7296 §2.15
    """
    proof = Proof(local["auth"])
    _check_keys(local, OURS)
    if proof not in (Proof.CERTIFICATE, Proof.PUBLIC_KEY):
        return Credential(proof)
    key = read_private_key(local, folder, warnings)
    try:
        check_key(key.public_key())
    except AuthenticationFailedError as error:
        raise local.error("private_key", f"cannot be used: {error}") from None
    is_pkcs1_preferred = local["rsa_padding"] == "pkcs1"
    if proof is Proof.PUBLIC_KEY:
        return Credential(proof, key, (), is_pkcs1_preferred)
    certificates = read_certificates(local, "certificate", folder)
    where = local["certificate"]
    if key.public_key() != certificates[0].public_key():
        sentence = f"is not that of the certificate in {where}"
        raise local.error("private_key", sentence)
    if not names(certificates[0], local["identity"]):
        sentence = f"of {where} is not issued to {local['identity']}"
        raise local.error("certificate", sentence)
    return Credential(proof, key, certificates, is_pkcs1_preferred)


def trust_in_peers(document: Document, folder: Path) -> Trust:
    """Read which proofs of a peer we take, besides EAP.

    Raises
    ------
    ConfigurationError
        A file is missing or wrong.

    Source: RFC 7296 §2.15
    """
    remote = document.one("remote")
    if remote["auth"] == "eap":
        if document.role == "initiator":
            sentence = 'of an initiator cannot be "eap"; [local] says that'
            raise remote.error("auth", sentence)
        return Trust(frozenset())
    if remote["auth"] == "null" and document.one("local")["auth"] == "eap":
        raise remote.error("auth", 'of "null" does not go with EAP')
    if remote["auth"] == "public-key" and remote["identity"] is None:
        raise remote.error("auth", "of \"public-key\" needs the key 'identity'")
    return trust_of(remote, folder)


def trust_of(remote: Section, folder: Path) -> Trust:
    """Read which proof a table says that we take.

    Parameters
    ----------
    remote : Section
        With the keys of ``[remote]``.

    Raises
    ------
    ConfigurationError
        A file is missing or wrong.

    Source: RFC 7296 §2.15
    """
    proof = Proof(remote["auth"])
    _check_keys(remote, THEIRS)
    if proof is Proof.CERTIFICATE:
        crls = read_crls(remote, folder)
        authorities = read_certificates(remote, "ca", folder)
        return Trust(frozenset({proof}), authorities, crls, bool(crls))
    if proof is Proof.PUBLIC_KEY:
        keys = {remote["identity"]: (read_public_key(remote, folder),)}
        return Trust(frozenset({proof}), public_keys=keys)
    return Trust(frozenset({proof}))


def _check_keys(section: Section, by_auth: dict[str, tuple[str, ...]]) -> None:
    """Refuse a table that lacks what its ``auth`` needs, or has what it ignores."""
    auth = section["auth"]
    for key in by_auth.get(auth, ()):
        if section[key] is None:
            raise section.error("auth", f"of \"{auth}\" needs the key '{key}'")
    wanted = set(by_auth.get(auth, ()))
    for key in {key for keys in by_auth.values() for key in keys} - wanted:
        if section[key] is not None:
            raise section.error(key, f'means nothing with auth = "{auth}"')


# --- pre-shared keys ------------------------------------------------------------------


def read_secrets(document: Document, folder: Path, warnings: list[str]) -> Secrets:
    """Read every pre-shared key but those of ``[[peer]]``.

    Raises
    ------
    ConfigurationError
        A secret cannot be read, is given twice, or is wanted and not there.

    Source: RFC 7296 §2.15
    """
    secrets, local = Secrets(), document.one("local")
    for section in document.all("secret"):
        key = _owner_of(section)
        secret, complaints = read_psk(section, folder)
        warnings += complaints
        if secret is None:
            sentence = "[[secret]] needs one of the keys 'psk_file' and 'psk_env'"
            raise section.source.error(section.path, sentence)
        if not secrets.add(section[key], secret):
            raise section.error(key, f"{section[key]} has a secret already")
    secret, complaints = read_psk(local, folder)
    warnings += complaints
    if secret is not None:
        secrets.add(None, secret)
    read_psk_table(local, folder, secrets, warnings)
    _check_secrets(document, secrets)
    return secrets


def _owner_of(section: Section) -> str:
    """Return the key that says whose secret it is: one of two."""
    given = [key for key in ("identity", "address") if section[key] is not None]
    if len(given) != 1:
        sentence = "[[secret]] needs one of the keys 'identity' and 'address'"
        raise section.source.error(section.path, sentence)
    return given[0]


def _check_secrets(document: Document, secrets: Secrets) -> None:
    """Refuse a configuration that needs a secret and has none.

    Where there are several kinds of peers, that is looked at for each.
    """
    local, remote = document.one("local"), document.one("remote")
    wanted, auths = remote["identity"], (local["auth"], remote["auth"])
    is_eap_all = "eap" in auths and is_alone(document)
    if document.all("peer") or is_eap_all or "psk" not in auths:
        return
    if not secrets.by_identity and not secrets.by_network:
        sentence = "there is no secret: [local] psk_file is the simplest way to one"
        raise document.source.error(("local",), sentence)
    is_his = {wanted, None} & set(secrets.by_identity) or secrets.by_network
    if wanted is not None and not is_his:
        sentence = f"{wanted} has no [[secret]], and [local] has none for all"
        raise remote.error("identity", sentence)
