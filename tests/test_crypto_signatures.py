"""Digital signatures: exact names, every algorithm, and everything that is refused."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import (
    dsa,
    ec,
    ed448,
    ed25519,
    padding,
    rsa,
)
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from iketcp.crypto import signatures
from iketcp.crypto.signatures import SCHEMES, Scheme, SigningKey
from iketcp.errors import AuthenticationFailedError
from iketcp.registry import AuthMethod, HashAlgorithm

OCTETS = b"what was said and by whom"
ALL = (2, 3, 4, 5)
BY_NAME = {scheme.name: scheme for scheme in SCHEMES}

KEYS: dict[str, SigningKey] = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ed448": ed448.Ed448PrivateKey.generate(),
}

# Written out from RFC 7427 App. A and RFC 8420 App. A; PSS without the trailer field,
# which DER leaves out.
IDENTIFIERS = {
    "rsa-pkcs1-sha256": "300d06092a864886f70d01010b0500",
    "rsa-pkcs1-sha384": "300d06092a864886f70d01010c0500",
    "rsa-pkcs1-sha512": "300d06092a864886f70d01010d0500",
    "ecdsa-sha256": "300a06082a8648ce3d040302",
    "ecdsa-sha384": "300a06082a8648ce3d040303",
    "ecdsa-sha512": "300a06082a8648ce3d040304",
    "rsa-pss-sha256": "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
    "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120",
    "rsa-pss-sha384": "304106092a864886f70d01010a3034a00f300d06096086480165030402020500"
    "a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130",
    "rsa-pss-sha512": "304106092a864886f70d01010a3034a00f300d06096086480165030402030500"
    "a11c301a06092a864886f70d010108300d06096086480165030402030500a203020140",
    "ed25519": "300506032b6570",
    "ed448": "300506032b6571",
}

PSS_OF_THE_APPENDIX = (
    "304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a"
    "864886f70d010108300d06096086480165030402010500a203020120a303020101"
)


def key_of(scheme: Scheme) -> SigningKey:
    """A key that the algorithm goes with."""
    return next(
        key for key in KEYS.values() if isinstance(key.public_key(), scheme.key_type)
    )


every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.name)
every_key = pytest.mark.parametrize("name", KEYS)


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_algorithm_identifiers(name: str) -> None:
    """RFC 7427 App. A, RFC 8420 App. A: octet by octet."""
    assert BY_NAME[name].algorithm_identifier.hex() == IDENTIFIERS[name]
    assert set(BY_NAME) == set(IDENTIFIERS)


def test_other_encodings_of_the_same_name_are_accepted() -> None:
    """RFC 7427 App. A.4.3 shows a trailer field; NULL may be missing with RSA."""
    assert bytes.fromhex(PSS_OF_THE_APPENDIX) in BY_NAME["rsa-pss-sha256"].names
    assert len(set(BY_NAME["rsa-pss-sha256"].names)) == 8
    bare = bytes.fromhex("300b06092a864886f70d01010b")
    assert bare in BY_NAME["rsa-pkcs1-sha256"].names


@every_scheme
def test_every_algorithm_signs_and_verifies(scheme: Scheme) -> None:
    """RFC 7427 §3: size, name, signature; plain cryptography agrees."""
    key = key_of(scheme)
    data = signatures.sign(key, scheme, OCTETS)
    size = data[0]
    assert data[1 : 1 + size] == scheme.algorithm_identifier
    signature = data[1 + size :]
    assert signatures.verify(key.public_key(), data, OCTETS, ALL) is scheme
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        algorithm = {2: hashes.SHA256(), 3: hashes.SHA384(), 4: hashes.SHA512()}[
            scheme.hash
        ]
        wanted = (
            padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
            if scheme.is_pss
            else padding.PKCS1v15()
        )
        public.verify(signature, OCTETS, wanted, algorithm)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        algorithm = {2: hashes.SHA256(), 3: hashes.SHA384(), 4: hashes.SHA512()}[
            scheme.hash
        ]
        public.verify(signature, OCTETS, ec.ECDSA(algorithm))
    else:
        public.verify(signature, OCTETS)


@every_scheme
def test_wrong_signatures_are_refused(scheme: Scheme) -> None:
    """RFC 7427 §3: other octets, a changed or shorter signature."""
    key = key_of(scheme)
    data = signatures.sign(key, scheme, OCTETS)
    public = key.public_key()
    for wrong, octets in (
        (data, OCTETS + b"!"),
        (data[:-1] + bytes([data[-1] ^ 1]), OCTETS),
        (data[:-1], OCTETS),
        (data[: 1 + data[0]], OCTETS),
    ):
        with pytest.raises(AuthenticationFailedError, match="signature is wrong"):
            signatures.verify(public, wrong, octets, ALL)


@every_scheme
def test_a_hash_that_was_not_announced_is_refused(scheme: Scheme) -> None:
    """RFC 7427 §4: the signer picks one of ours."""
    key = key_of(scheme)
    data = signatures.sign(key, scheme, OCTETS)
    others = [number for number in ALL if number != scheme.hash]
    with pytest.raises(AuthenticationFailedError, match="did not announce"):
        signatures.verify(key.public_key(), data, OCTETS, others)


@every_scheme
def test_another_kind_of_key_is_refused(scheme: Scheme) -> None:
    """RFC 7427 §3: the name has to go with the key."""
    data = signatures.sign(key_of(scheme), scheme, OCTETS)
    for key in KEYS.values():
        if not isinstance(key.public_key(), scheme.key_type):
            with pytest.raises(AuthenticationFailedError, match="does not go with"):
                signatures.verify(key.public_key(), data, OCTETS, ALL)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x07\x30",
        b"\xff" + bytes(20),
        bytes.fromhex("0f300d06092a864886f70d0101050500"),  # SHA-1 with RSA
        bytes.fromhex("0f300d06092a864886f70d01010a3000"),  # PSS, empty parameters
        bytes.fromhex("0b300906072a8648ce3d0401"),  # ECDSA with SHA-1
    ],
)
def test_unknown_algorithms_are_refused(data: bytes) -> None:
    """RFC 8247 §3.2: SHA-1 is among them."""
    with pytest.raises(AuthenticationFailedError, match="is unknown"):
        signatures.verify(KEYS["rsa"].public_key(), data + b"sig", OCTETS, (1, *ALL))


# --- which key, which algorithm -------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "announced", "expected"),
    [
        ("rsa", ALL, "rsa-pss-sha256"),
        ("rsa", (4, 3), "rsa-pss-sha384"),
        ("p256", ALL, "ecdsa-sha256"),
        ("p384", ALL, "ecdsa-sha384"),
        ("p521", ALL, "ecdsa-sha512"),
        ("p521", (2,), "ecdsa-sha256"),
        ("ed25519", ALL, "ed25519"),
        ("ed448", (5,), "ed448"),
    ],
)
def test_choice(key: str, announced: tuple[int, ...], expected: str) -> None:
    """RFC 7427 §4: a hash the peer announced, as strong as the curve if it can be."""
    public = KEYS[key].public_key()
    assert signatures.choose_scheme(public, announced).name == expected


def test_choice_of_the_older_padding() -> None:
    """RFC 8247 §3.2: PSS unless the configuration says otherwise."""
    public = KEYS["rsa"].public_key()
    scheme = signatures.choose_scheme(public, ALL, is_pkcs1_preferred=True)
    assert scheme.name == "rsa-pkcs1-sha256"


@pytest.mark.parametrize(
    ("key", "announced"), [("ed25519", (2, 3, 4)), ("rsa", (1, 5)), ("p256", ())]
)
def test_no_choice(key: str, announced: tuple[int, ...]) -> None:
    """RFC 8420 §2: Ed25519 is not sent to a peer that did not announce Identity."""
    with pytest.raises(AuthenticationFailedError, match="takes no hash"):
        signatures.choose_scheme(KEYS[key].public_key(), announced)


@every_key
def test_keys_that_are_supported(name: str) -> None:
    """RFC 8247 §3.1: RSA from 2048 bits, three curves, EdDSA."""
    public = KEYS[name].public_key()
    assert signatures.check_key(public) is public


def test_keys_that_are_not() -> None:
    """RFC 8247 §3.1.1: short RSA keys; and other curves and kinds."""
    for key, reason in (
        (rsa.generate_private_key(65537, 1024), "too small"),
        (ec.generate_private_key(ec.SECP256K1()), "curve secp256k1"),
        (dsa.generate_private_key(1024), "this kind"),
    ):
        with pytest.raises(AuthenticationFailedError, match=reason):
            signatures.check_key(key.public_key())


# --- older methods --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "method", "size"),
    [("rsa", 1, 256), ("p256", 9, 64), ("p384", 10, 96), ("p521", 11, 132)],
)
def test_older_methods(name: str, method: int, size: int) -> None:
    """RFC 4754 §7: r and s have fixed sizes; RFC 7296 §3.8: RSA with SHA-1."""
    key = KEYS[name]
    public = key.public_key()
    assert signatures.older_method(public) == method
    data = signatures.sign_older(key, OCTETS)
    assert len(data) == size
    signatures.verify_older(method, public, data, OCTETS)
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(data, OCTETS, padding.PKCS1v15(), hashes.SHA1())
    elif isinstance(public, ec.EllipticCurvePublicKey):
        numbers = (data[: size // 2], data[size // 2 :])
        pair = encode_dss_signature(*(int.from_bytes(n, "big") for n in numbers))
        algorithm = {9: hashes.SHA256(), 10: hashes.SHA384(), 11: hashes.SHA512()}
        public.verify(pair, OCTETS, ec.ECDSA(algorithm[method]))
    for wrong in (data[:-1], data + b"\0", data[:-1] + bytes([data[-1] ^ 1]), b""):
        with pytest.raises(AuthenticationFailedError, match="signature is wrong"):
            signatures.verify_older(method, public, wrong, OCTETS)
    for other in {1, 9, 10, 11} - {method}:
        with pytest.raises(AuthenticationFailedError, match="does not go with the key"):
            signatures.verify_older(other, public, data, OCTETS)


@pytest.mark.parametrize(
    "algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
)
def test_older_rsa_with_newer_hashes(algorithm: hashes.HashAlgorithm) -> None:
    """RFC 7296 §3.8: which hash it was, only a certificate could tell."""
    key = KEYS["rsa"]
    assert isinstance(key, rsa.RSAPrivateKey)
    data = key.sign(OCTETS, padding.PKCS1v15(), algorithm)
    signatures.verify_older(1, key.public_key(), data, OCTETS)


@pytest.mark.parametrize("name", ["ed25519", "ed448"])
def test_no_older_method(name: str) -> None:
    """RFC 8420 §2: EdDSA came after the older methods."""
    with pytest.raises(AuthenticationFailedError, match="only Digital Signature"):
        signatures.sign_older(KEYS[name], OCTETS)
    with pytest.raises(AuthenticationFailedError, match="only Digital Signature"):
        signatures.verify_older(1, KEYS[name].public_key(), b"", OCTETS)


# --- published ------------------------------------------------------------------------

# RFC 4754 §8.1: the private key w, the message "abc", and r and s.
W = "DC51D3866A15BACDE33D96F992FCA99DA7E6EF0934E7097559C27F1614C88A7F"
R = "CB28E0999B9C7715FD0A80D8E47A77079716CBBF917DD72E97566EA1C066957C"
S = "86FA3BB4E26CAD5BF90B7F81899256CE7594BB1EA0C89212748BFF3B3D5B0315"


def test_published_signature() -> None:
    """RFC 4754 §8.1."""
    key = ec.derive_private_key(int(W, 16), ec.SECP256R1())
    data = bytes.fromhex(R + S)
    method = AuthMethod.ECDSA_SHA256_P256
    signatures.verify_older(method, key.public_key(), data, b"abc")
    with pytest.raises(AuthenticationFailedError):
        signatures.verify_older(method, key.public_key(), data, b"abd")
    with pytest.raises(InvalidSignature):
        key.public_key().verify(b"", b"abc", ec.ECDSA(hashes.SHA256()))
    assert HashAlgorithm.IDENTITY == 5
