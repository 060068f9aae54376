"""Who is who: our AUTH and the peer's, by secret, signature or not at all.

Whoever runs IKE_AUTH asks three things here, for itself and for EAP's rounds alike:

- :func:`prove` makes our AUTH;
- :func:`own_certificates` and :func:`certificate_requests` are the CERT and CERTREQ
  payloads that go with it;
- :func:`verify_peer` checks the peer's AUTH, and who it is.

What is signed is computed in :mod:`iketcp.ike.auth`.

Source: RFC 7296 §2.15
Source: RFC 7427 §3
Source: RFC 7619 §2
Source: RFC 7670 §3
Source: RFC 8784 §5.2.3
Source: RFC 9242 §3.3.2
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from iketcp.crypto import signatures
from iketcp.crypto.prf import Prf
from iketcp.crypto.signatures import SigningKey, VerifyingKey
from iketcp.errors import AuthenticationFailedError
from iketcp.ike.auth import is_shared_key_auth, shared_key_auth, signed_octets
from iketcp.ike.certificates import authority_hashes, verify_certificate
from iketcp.ike.credentials import Proof
from iketcp.ike.identity import Identity, user_identity
from iketcp.ike.keys import IkeKeys, prf_of
from iketcp.ike.payload_set import need
from iketcp.ike.payloads import (
    AuthPayload,
    CertPayload,
    CertReqPayload,
    IdPayload,
    Payload,
)
from iketcp.ike.policy import IkePolicy
from iketcp.ike.sa import IkeSa
from iketcp.registry import (
    AuthMethod,
    CertificateEncoding,
    HashAlgorithm,
    IdType,
    name_of,
)

SIGNATURE_HASHES = (
    HashAlgorithm.SHA2_256,
    HashAlgorithm.SHA2_384,
    HashAlgorithm.SHA2_512,
    HashAlgorithm.IDENTITY,
)
"""What we can verify, and announce. Source: RFC 7427 §4, RFC 8420 §2."""

_SIGNATURES = (
    AuthMethod.RSA_DIGITAL_SIGNATURE,
    AuthMethod.ECDSA_SHA256_P256,
    AuthMethod.ECDSA_SHA384_P384,
    AuthMethod.ECDSA_SHA512_P521,
    AuthMethod.DIGITAL_SIGNATURE,
)


# --- what is signed ------------------------------------------------------------------


def _prf(sa: IkeSa) -> Prf:
    if sa.suite is None:
        raise LookupError("no suite yet")  # pragma: no cover
    return prf_of(sa.suite)


def _keys(sa: IkeSa) -> IkeKeys:
    if sa.keys is None:
        raise LookupError("no keys yet")  # pragma: no cover
    return sa.keys


def _sk_p(sa: IkeSa, is_ours: bool) -> bytes:
    """Return SK_pi or SK_pr, whichever is of this side."""
    keys = _keys(sa)
    return keys.sk_pi if sa.is_original_initiator == is_ours else keys.sk_pr


def _octets_of(sa: IkeSa, identity: IdPayload, is_ours: bool) -> bytes:
    """Return what one side signs; the initiator's with Nr and SK_pi.

    Source: RFC 7296 §2.15, RFC 9242 §3.3.2
    """
    nonce = sa.nr if sa.is_original_initiator == is_ours else sa.ni
    message = sa.local_init_message if is_ours else sa.remote_init_message
    sk_p = _sk_p(sa, is_ours)
    octets = signed_octets(_prf(sa), message, nonce, sk_p, identity.encode_body())
    return octets if sa.intermediate is None else octets + sa.intermediate.int_auth


# --- ours ----------------------------------------------------------------------------


def local_id_payload(sa: IkeSa) -> IdPayload:
    """Make IDi or IDr, whichever is ours.

    Our second authentication of two is the user's. Source: RFC 4739 §2.3
    """
    identity, user = sa.policy.local_identity, sa.policy.eap_peer
    if sa.first_auth and user is not None:
        identity = user_identity(user.identity)
    return IdPayload(sa.is_original_initiator, identity.id_type, identity.data)


def own_certificates(policy: IkePolicy) -> list[Payload]:
    """Return the CERT payloads that go with our AUTH; the signing key's is first.

    Source: RFC 7296 §3.6, RFC 7670 §3
    """
    credential = policy.credential
    if credential.proof is Proof.PUBLIC_KEY and credential.key is not None:
        octets = public_key_octets(credential.key.public_key())
        return [CertPayload(CertificateEncoding.RAW_PUBLIC_KEY, octets)]
    return [
        CertPayload(
            CertificateEncoding.X509_SIGNATURE, certificate.public_bytes(Encoding.DER)
        )
        for certificate in credential.certificates
    ]


def certificate_requests(policy: IkePolicy) -> list[Payload]:
    """Return CERTREQ, if certificates of the peer are welcome.

    Source: RFC 7296 §3.7
    """
    authorities = [
        authority
        for each in policy.variants
        if Proof.CERTIFICATE in each.trust.proofs
        for authority in each.trust.authorities
    ]
    if not authorities:
        return []
    hashes = authority_hashes(list(dict.fromkeys(authorities)))
    return [CertReqPayload(CertificateEncoding.X509_SIGNATURE, hashes)]


def prove(sa: IkeSa, ours: IdPayload, peer: Identity | None) -> AuthPayload:
    """Make our AUTH.

    Parameters
    ----------
    ours : IdPayload
        Our identity, as we send it.
    peer : Identity or None
        To whom: decides which pre-shared key; ``None`` takes the only one there is.

    Raises
    ------
    AuthenticationFailedError
        There is no secret for this peer, or it takes no signature that our key makes.

    Source: RFC 7296 §2.15
    """
    octets = _octets_of(sa, ours, is_ours=True)
    credential = sa.policy.credential
    if credential.proof is Proof.NULL:
        secret = _sk_p(sa, is_ours=True)
        return AuthPayload(AuthMethod.NULL, shared_key_auth(_prf(sa), secret, octets))
    if credential.key is not None:
        return _signed(sa, credential.key, octets)
    secret = _only_secret(sa) if peer is None else _secret_for(sa, peer)
    return AuthPayload(
        AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE,
        shared_key_auth(_prf(sa), secret, octets),
    )


def _signed(sa: IkeSa, key: SigningKey, octets: bytes) -> AuthPayload:
    """Sign; with an older method only where the peer announced no hash algorithms.

    Source: RFC 7427 §3
    """
    public, announced = key.public_key(), sa.remote_hash_algorithms
    if not announced:
        method = signatures.older_method(public)
        return AuthPayload(method, signatures.sign_older(key, octets))
    is_pkcs1_preferred = sa.policy.credential.is_pkcs1_preferred
    scheme = signatures.choose_scheme(public, announced, is_pkcs1_preferred)
    value = signatures.sign(key, scheme, octets)
    return AuthPayload(AuthMethod.DIGITAL_SIGNATURE, value)


def _secret_for(sa: IkeSa, identity: Identity) -> bytes:
    """Find the pre-shared key for a peer: by its identity, its address, or for all.

    Raises
    ------
    AuthenticationFailedError
        There is none.

    Source: RFC 7296 §2.15, RFC 4301 §4.4.3
    """
    secrets = sa.policy.secrets
    if identity in secrets:
        return secrets[identity]
    by_network, address = sa.policy.address_secrets, sa.path.remote_address
    networks = [network for network in by_network if address in network]
    if networks:
        return by_network[max(networks, key=lambda network: network.prefixlen)]
    if None not in secrets:
        raise AuthenticationFailedError(f"no secret for {identity}")
    return secrets[None]


def _only_secret(sa: IkeSa) -> bytes:
    """Take the one secret there is when the configuration names no peer."""
    for secret in sa.policy.secrets.values():
        return secret
    raise AuthenticationFailedError("no secret configured")


# --- the peer's ----------------------------------------------------------------------


def verify_peer(
    sa: IkeSa, identity: IdPayload, payloads: Sequence[Payload]
) -> Identity:
    """Check the peer's identity and AUTH.

    Parameters
    ----------
    identity : IdPayload
        IDi or IDr, as it came.
    payloads : Sequence[Payload]
        The message with AUTH, and CERT where there is one.

    Returns
    -------
    Identity
        Who the peer is. Without authentication what it says means nothing: it is then
        called by ID_NULL and the SPIs of this IKE SA, unless a PPK of its own shows it.

    Raises
    ------
    AuthenticationFailedError
        It is not the peer we expect, we do not take this kind of proof of it, or the
        proof is wrong.
    MalformedMessageError
        There is no AUTH, or more than one.

    Source: RFC 7296 §2.15, RFC 7296 §2.21.2
    """
    auth = need(payloads, AuthPayload)
    octets = _octets_of(sa, identity, is_ours=False)
    peer = Identity(identity.id_type, identity.data)
    if auth.method == AuthMethod.NULL:
        return _verify_null(sa, peer, octets, auth)
    check_expected(sa, peer)
    if auth.method == AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE:
        _check_proof(sa, Proof.PSK)
        secret = _secret_for(sa, peer)
        if not is_shared_key_auth(_prf(sa), secret, octets, auth.data):
            raise AuthenticationFailedError(f"the secret of {peer} does not fit")
    elif auth.method in _SIGNATURES:
        _verify_signature(sa, _peer_key(sa, peer, payloads), auth, octets)
    else:
        raise AuthenticationFailedError(f"Auth Method {auth.method} is not supported")
    return peer


def check_expected(sa: IkeSa, peer: Identity) -> None:
    """Refuse a peer that claims to be another than we expect.

    Raises
    ------
    AuthenticationFailedError
        It does.
    """
    expected = sa.policy.remote_identity
    if peer.id_type == IdType.ID_NULL:
        raise AuthenticationFailedError("the peer gives no identity")
    if expected is not None and not peer.matches(expected):
        raise AuthenticationFailedError(f"the peer is {peer}, not {expected}")


def _check_proof(sa: IkeSa, proof: Proof) -> None:
    if proof not in sa.policy.trust.proofs:
        raise AuthenticationFailedError(f"no proof by {proof.value} is taken here")


def _verify_null(
    sa: IkeSa, peer: Identity, octets: bytes, auth: AuthPayload
) -> Identity:
    """Check AUTH of a peer that does not say who it is.

    It shows only that both sides saw the same IKE_SA_INIT; and, with a PPK that is this
    peer's alone, who it is. An initiator that uses EAP never takes it.

    Source: RFC 7619 §2, RFC 7619 §2.1, RFC 7619 §2.4, RFC 8784 §5.2.3
    """
    _check_proof(sa, Proof.NULL)
    if sa.policy.eap_peer is not None:
        raise AuthenticationFailedError("no proof by null is taken beside EAP")
    if not is_shared_key_auth(_prf(sa), _sk_p(sa, is_ours=False), octets, auth.data):
        raise AuthenticationFailedError("AUTH without authentication is wrong")
    if sa.ppk is not None and sa.ppk.peer == peer:
        check_expected(sa, peer)
        return peer
    return Identity(IdType.ID_NULL, sa.spi_i + sa.spi_r)


def _verify_signature(
    sa: IkeSa, key: VerifyingKey, auth: AuthPayload, octets: bytes
) -> None:
    """Verify a signature; by an older method only where both sides have no other.

    Source: RFC 7427 §3
    """
    if auth.method == AuthMethod.DIGITAL_SIGNATURE:
        signatures.verify(key, auth.data, octets, SIGNATURE_HASHES)
    elif sa.remote_hash_algorithms:
        name = name_of(AuthMethod, auth.method)
        raise AuthenticationFailedError(f"{name}, though both know Digital Signature")
    else:
        signatures.verify_older(auth.method, key, auth.data, octets)


def _peer_key(sa: IkeSa, peer: Identity, payloads: Sequence[Payload]) -> VerifyingKey:
    """Find the key that the peer's signature is verified with.

    Raises
    ------
    AuthenticationFailedError
        There is none that we trust.

    Source: RFC 7296 §3.6, RFC 7670 §3
    """
    certificates = [p for p in payloads if isinstance(p, CertPayload)]
    if not certificates:
        return _known_key(sa, peer, None)
    encoding = certificates[0].encoding
    if encoding == CertificateEncoding.RAW_PUBLIC_KEY:
        return _known_key(sa, peer, certificates[0].data)
    if encoding == CertificateEncoding.X509_SIGNATURE:
        _check_proof(sa, Proof.CERTIFICATE)
        sent = [p.data for p in certificates if p.encoding == encoding]
        return verify_certificate(sent, sa.policy.trust, peer, sa.context.date())
    name = name_of(CertificateEncoding, encoding)
    raise AuthenticationFailedError(f"CERT with {name} is not taken")


def _known_key(sa: IkeSa, peer: Identity, octets: bytes | None) -> VerifyingKey:
    """Return the raw public key that we know of this peer.

    Parameters
    ----------
    octets : bytes or None
        SubjectPublicKeyInfo in DER, if the peer sent it; it must be one we know.

    Source: RFC 7670 §3
    """
    _check_proof(sa, Proof.PUBLIC_KEY)
    known = sa.policy.trust.public_keys
    keys = known.get(peer, known.get(None, ()))
    if octets is None:
        if len(keys) == 1:
            return keys[0]
        raise AuthenticationFailedError(f"{peer} does not say which key is its own")
    sent = _read_public_key(octets)
    for key in keys:
        if hmac.compare_digest(public_key_octets(key), sent):
            return key
    raise AuthenticationFailedError(f"this public key is not known of {peer}")


def _read_public_key(octets: bytes) -> bytes:
    """Read SubjectPublicKeyInfo and write it again, so that encodings do not differ."""
    try:
        return public_key_octets(signatures.check_key(load_der_public_key(octets)))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise AuthenticationFailedError("the public key cannot be read") from None


def public_key_octets(key: VerifyingKey) -> bytes:
    """Encode SubjectPublicKeyInfo in DER. Source: RFC 7670 §3."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# --- after EAP -----------------------------------------------------------------------


def eap_auth(sa: IkeSa, msk: bytes, identity: IdPayload, is_ours: bool) -> AuthPayload:
    """Make AUTH of one side after EAP.

    The shared secret is the MSK, or SK_pi and SK_pr where the method made no key.

    Source: RFC 7296 §2.16
    """
    octets = _octets_of(sa, identity, is_ours)
    return AuthPayload(
        AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE,
        shared_key_auth(_prf(sa), msk or _sk_p(sa, is_ours), octets),
    )


def check_eap_auth(
    sa: IkeSa, msk: bytes, identity: IdPayload, auth: AuthPayload
) -> None:
    """Check the other side's AUTH after EAP.

    Raises
    ------
    AuthenticationFailedError
        It is not what EAP made.

    Source: RFC 7296 §2.16
    """
    expected = eap_auth(sa, msk, identity, is_ours=False)
    is_right = hmac.compare_digest(expected.data, auth.data)
    if auth.method != expected.method or not is_right:
        raise AuthenticationFailedError("AUTH does not fit the key that EAP made")
