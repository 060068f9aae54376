"""Digital signatures of AUTH: the algorithms, how they are named, and their octets.

In the method *Digital Signature* the value says by itself how it was made::

    | size of the name, 1 octet | AlgorithmIdentifier, DER | signature |

The names are few, so they are compared as octets and never parsed: :data:`SCHEMES` is
all that is ever accepted. The older methods have a number for each algorithm and
nothing but the signature in the value; they are for peers that do not announce their
hash algorithms.

================  ===================  ==============================================
key               new method           older method
================  ===================  ==============================================
RSA               PSS, PKCS#1 v1.5     1: PKCS#1 v1.5 with SHA-1
ECDSA             SHA-2, in DER        9, 10, 11: r and s, one after the other
Ed25519, Ed448    no hash before it    none
================  ===================  ==============================================

Source: RFC 7427 §3
Source: RFC 8420 §2
Source: RFC 4754 §7
Source: RFC 8247 §3.1, §3.2
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import (
    Ed448PrivateKey,
    Ed448PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from iketcp.errors import AuthenticationFailedError
from iketcp.registry import AuthMethod, HashAlgorithm, name_of

SigningKey = (
    RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey
)
VerifyingKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

MIN_RSA_BITS = 2048
"""Smaller RSA keys are refused. Source: RFC 8247 §3.1.1."""

_HASHES: Mapping[int, hashes.HashAlgorithm] = {
    HashAlgorithm.SHA1: hashes.SHA1(),
    HashAlgorithm.SHA2_256: hashes.SHA256(),
    HashAlgorithm.SHA2_384: hashes.SHA384(),
    HashAlgorithm.SHA2_512: hashes.SHA512(),
}

_SHA2 = (HashAlgorithm.SHA2_256, HashAlgorithm.SHA2_384, HashAlgorithm.SHA2_512)

_CURVES: Mapping[str, tuple[HashAlgorithm, AuthMethod, int]] = {
    "secp256r1": (HashAlgorithm.SHA2_256, AuthMethod.ECDSA_SHA256_P256, 32),
    "secp384r1": (HashAlgorithm.SHA2_384, AuthMethod.ECDSA_SHA384_P384, 48),
    "secp521r1": (HashAlgorithm.SHA2_512, AuthMethod.ECDSA_SHA512_P521, 66),
}
"""Hash as strong as the curve, older method, and octets of r or s.

Source: RFC 4754 §3, RFC 4754 §7
"""


# --- names ---------------------------------------------------------------------------


def _der(tag: int, *parts: bytes) -> bytes:
    """Encode one element whose content is shorter than 128 octets."""
    content = b"".join(parts)
    return bytes([tag, len(content)]) + content


_NULL = b"\x05\x00"
_SEQUENCE, _OID, _INTEGER, _TAG_0, _TAG_1, _TAG_2, _TAG_3 = (
    *(0x30, 0x06, 0x02),
    *(0xA0, 0xA1, 0xA2, 0xA3),
)
_PKCS_1 = bytes.fromhex("2a864886f70d0101")
_ECDSA_WITH_SHA2 = bytes.fromhex("2a8648ce3d0403")
_SHA2_OID = bytes.fromhex("6086480165030402")


def _pkcs1_names(last: int) -> list[bytes]:
    """``shaNNNWithRSAEncryption``: NULL belongs there. Source: RFC 7427 App. A.1."""
    oid = _der(_OID, _PKCS_1, bytes([last]))
    return [_der(_SEQUENCE, oid, _NULL), _der(_SEQUENCE, oid)]


def _pss_names(last: int, salt_size: int) -> list[bytes]:
    """RSASSA-PSS with SHA-2 for both hashes and a salt of the hash's size.

    NULL may be left out of either hash. The trailer field is left out of DER, as its
    value is the default; RFC 7427 App. A.4.3 shows it all the same.

    Source: RFC 7427 App. A.4
    """
    names = []
    oid = _der(_OID, _SHA2_OID, bytes([last]))
    mgf1 = _der(_OID, _PKCS_1, b"\x08")
    for hash_null, mask_null, has_trailer in product(
        (_NULL, b""), (_NULL, b""), (0, 1)
    ):
        parameters = [
            _der(_TAG_0, _der(_SEQUENCE, oid, hash_null)),
            _der(_TAG_1, _der(_SEQUENCE, mgf1, _der(_SEQUENCE, oid, mask_null))),
            _der(_TAG_2, _der(_INTEGER, bytes([salt_size]))),
        ]
        if has_trailer:
            parameters.append(_der(_TAG_3, _der(_INTEGER, b"\x01")))
        pss = _der(_OID, _PKCS_1, b"\x0a")
        names.append(_der(_SEQUENCE, pss, _der(_SEQUENCE, *parameters)))
    return names


@dataclass(frozen=True, slots=True)
class Scheme:
    """One signature algorithm with its hash. Source: RFC 7427 §3."""

    name: str
    hash: HashAlgorithm
    """What the verifier must have announced."""
    key_type: type[VerifyingKey]
    names: tuple[bytes, ...]
    """AlgorithmIdentifiers in DER: the one we write, then others that we accept."""
    is_pss: bool = False

    @property
    def algorithm_identifier(self) -> bytes:
        """The AlgorithmIdentifier as we write it, in DER."""
        return self.names[0]


def _schemes() -> tuple[Scheme, ...]:
    """Every algorithm; of those that fit a key the first is preferred."""
    schemes = []
    for order, algorithm in enumerate(_SHA2):
        bits = _HASHES[algorithm].digest_size * 8
        pss = tuple(_pss_names(order + 1, bits // 8))
        pkcs1 = tuple(_pkcs1_names(order + 11))
        ecdsa = _der(_SEQUENCE, _der(_OID, _ECDSA_WITH_SHA2, bytes([order + 2])))
        schemes += [
            Scheme(f"rsa-pss-sha{bits}", algorithm, RSAPublicKey, pss, is_pss=True),
            Scheme(f"rsa-pkcs1-sha{bits}", algorithm, RSAPublicKey, pkcs1),
            Scheme(f"ecdsa-sha{bits}", algorithm, EllipticCurvePublicKey, (ecdsa,)),
        ]
    for name, kind, last in (
        ("ed25519", Ed25519PublicKey, 0x70),
        ("ed448", Ed448PublicKey, 0x71),
    ):
        identifier = _der(_SEQUENCE, _der(_OID, bytes([0x2B, 0x65, last])))
        schemes.append(Scheme(name, HashAlgorithm.IDENTITY, kind, (identifier,)))
    return tuple(schemes)


SCHEMES = _schemes()
"""All that we sign with or accept. Source: RFC 7427 App. A, RFC 8420 App. A."""

_BY_NAME: Mapping[bytes, Scheme] = MappingProxyType(
    {name: scheme for scheme in SCHEMES for name in scheme.names}
)


# --- keys ----------------------------------------------------------------------------


def check_key(key: object) -> VerifyingKey:
    """Tell whether a public key is of a kind that is supported.

    Raises
    ------
    AuthenticationFailedError
        It is another kind of key, another curve, or an RSA key that is too small.

    Source: RFC 8247 §3.1.1
    """
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise AuthenticationFailedError(
                f"an RSA key of {key.key_size} bits is too small"
            )
        return key
    if isinstance(key, EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise AuthenticationFailedError(f"curve {key.curve.name} is not supported")
        return key
    if isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        return key
    raise AuthenticationFailedError("a key of this kind is not supported")


def choose_scheme(
    key: VerifyingKey, announced: Collection[int], is_pkcs1_preferred: bool = False
) -> Scheme:
    """Choose how to sign for a peer.

    Parameters
    ----------
    key : VerifyingKey
        The public half of the key that will sign.
    announced : Collection[int]
        The peer's hash algorithms.
    is_pkcs1_preferred : bool
        RSA signs with PKCS#1 v1.5 rather than PSS.

    Raises
    ------
    AuthenticationFailedError
        The peer announced no hash that goes with this key.

    Source: RFC 7427 §4
    """
    fitting = [
        scheme
        for scheme in SCHEMES
        if isinstance(key, scheme.key_type) and scheme.hash in announced
    ]
    wanted = (
        _CURVES[key.curve.name][0] if isinstance(key, EllipticCurvePublicKey) else None
    )
    for scheme in fitting:
        if scheme.key_type is RSAPublicKey and scheme.is_pss == is_pkcs1_preferred:
            continue
        if wanted in (None, scheme.hash) or not any(s.hash == wanted for s in fitting):
            return scheme
    raise AuthenticationFailedError("the peer takes no hash that goes with our key")


# --- Digital Signature ---------------------------------------------------------------


def sign(key: SigningKey, scheme: Scheme, octets: bytes) -> bytes:
    """Return Authentication Data of the method Digital Signature.

    ECDSA takes its secret number from key and octets, not from chance. RSASSA-PSS
    draws its salt by itself, so that no two signatures are alike.

    Source: RFC 7427 §3
    """
    name = scheme.algorithm_identifier
    return bytes([len(name)]) + name + _signature(key, scheme, octets)


def verify(
    key: VerifyingKey, data: bytes, octets: bytes, announced: Collection[int]
) -> Scheme:
    """Verify Authentication Data of the method Digital Signature.

    Parameters
    ----------
    data : bytes
        Size, AlgorithmIdentifier and signature.
    octets : bytes
        What was signed.
    announced : Collection[int]
        Our own hash algorithms, as we announced them.

    Returns
    -------
    Scheme
        What the peer signed with.

    Raises
    ------
    AuthenticationFailedError
        The algorithm is unknown or not of this key, its hash was not announced, or the
        signature is wrong.

    Source: RFC 7427 §3, RFC 7427 §4
    """
    size = data[0] if data else 0
    name, signature = data[1 : 1 + size], data[1 + size :]
    scheme = _BY_NAME.get(name)
    if scheme is None:
        raise AuthenticationFailedError(f"signature algorithm {name.hex()} is unknown")
    if scheme.hash not in announced:
        hash_name = name_of(HashAlgorithm, scheme.hash)
        raise AuthenticationFailedError(f"we did not announce {hash_name}")
    if not isinstance(check_key(key), scheme.key_type):
        raise AuthenticationFailedError(f"{scheme.name} does not go with the key")
    if not _is_signature(key, scheme, signature, octets):
        raise AuthenticationFailedError(f"the {scheme.name} signature is wrong")
    return scheme


def _rsa_padding(scheme: Scheme) -> padding.PSS | padding.PKCS1v15:
    if not scheme.is_pss:
        return padding.PKCS1v15()
    algorithm = _HASHES[scheme.hash]
    return padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)


def _signature(key: SigningKey, scheme: Scheme, octets: bytes) -> bytes:
    if isinstance(key, RSAPrivateKey):
        return key.sign(octets, _rsa_padding(scheme), _HASHES[scheme.hash])
    if isinstance(key, EllipticCurvePrivateKey):
        return key.sign(octets, ECDSA(_HASHES[scheme.hash], deterministic_signing=True))
    return key.sign(octets)


def _is_signature(
    key: VerifyingKey, scheme: Scheme, signature: bytes, octets: bytes
) -> bool:
    try:
        if isinstance(key, RSAPublicKey):
            algorithm = _HASHES[scheme.hash]
            key.verify(signature, octets, _rsa_padding(scheme), algorithm)
        elif isinstance(key, EllipticCurvePublicKey):
            key.verify(signature, octets, ECDSA(_HASHES[scheme.hash]))
        else:
            key.verify(signature, octets)
    except InvalidSignature:
        return False
    return True


# --- older methods -------------------------------------------------------------------


def older_method(key: VerifyingKey) -> AuthMethod:
    """Return the Auth Method for a peer that announces no hash algorithms.

    Raises
    ------
    AuthenticationFailedError
        There is none for this kind of key.

    Source: RFC 7296 §3.8, RFC 4754 §4
    """
    if isinstance(key, RSAPublicKey):
        return AuthMethod.RSA_DIGITAL_SIGNATURE
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name][1]
    raise AuthenticationFailedError("only Digital Signature goes with this key")


def sign_older(key: SigningKey, octets: bytes) -> bytes:
    """Return Authentication Data of the method 1, 9, 10 or 11.

    RSA signs with SHA-1, the default of RFC 7296 §3.8: a peer that old seldom takes
    anything else, and a signature made now is of no use later.

    Raises
    ------
    AuthenticationFailedError
        There is no older method for this kind of key.

    Source: RFC 7296 §3.8, RFC 4754 §7
    """
    older_method(key.public_key())
    if isinstance(key, RSAPrivateKey):
        return key.sign(octets, padding.PKCS1v15(), hashes.SHA1())
    assert isinstance(key, EllipticCurvePrivateKey)  # invariant
    algorithm, _, size = _CURVES[key.curve.name]
    made = key.sign(octets, ECDSA(_HASHES[algorithm], deterministic_signing=True))
    return b"".join(n.to_bytes(size, "big") for n in decode_dss_signature(made))


def verify_older(method: int, key: VerifyingKey, data: bytes, octets: bytes) -> None:
    """Verify Authentication Data of the method 1, 9, 10 or 11.

    RSA may have signed with SHA-1 or SHA-2: nothing but the certificate hints at it.

    Raises
    ------
    AuthenticationFailedError
        The method does not go with the key, or the signature is wrong.

    Source: RFC 7296 §3.8, RFC 4754 §7
    """
    if older_method(check_key(key)) != method:
        name = name_of(AuthMethod, method)
        raise AuthenticationFailedError(f"{name} does not go with the key")
    try:
        if isinstance(key, RSAPublicKey):
            _verify_older_rsa(key, data, octets)
        elif isinstance(key, EllipticCurvePublicKey):  # pragma: no branch - no others
            algorithm, _, size = _CURVES[key.curve.name]
            if len(data) != 2 * size:
                raise InvalidSignature
            r, s = (int.from_bytes(half, "big") for half in (data[:size], data[size:]))
            key.verify(encode_dss_signature(r, s), octets, ECDSA(_HASHES[algorithm]))
    except InvalidSignature:
        raise AuthenticationFailedError("the signature is wrong") from None


def _verify_older_rsa(key: RSAPublicKey, data: bytes, octets: bytes) -> None:
    for algorithm in _HASHES.values():
        try:
            key.verify(data, octets, padding.PKCS1v15(), algorithm)
        except InvalidSignature:
            continue
        return
    raise InvalidSignature
