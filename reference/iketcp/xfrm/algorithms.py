"""What Linux calls the algorithms of a Child SA, and the shape it wants their keys in.

======================  ==============================  ==============================
IKEv2                   Linux                           key
======================  ==============================  ==============================
AES_GCM_16              ``rfc4106(gcm(aes))``           key and salt
CHACHA20_POLY1305       ``rfc7539esp(chacha20,…)``      key and salt
AES_CBC                 ``cbc(aes)``                    key
AES_CTR                 ``rfc3686(ctr(aes))``           key and nonce
HMAC_SHA2_256_128 …     ``hmac(sha256)`` …              key; the ICV cut to its size
======================  ==============================  ==============================

That is the order in which IKE derives them, so nothing is rearranged. There is no name
for an implicit IV.

Source: RFC 4106 §8.1, RFC 7634 §2, RFC 3686 §5.1, RFC 4868 §2.3
"""

from iketcp.crypto.suite import Suite
from iketcp.registry import EncryptionAlgorithm, IntegrityAlgorithm
from iketcp.xfrm.layout import AttributeKind, algorithm, attribute

_COMBINED: dict[int, str] = {
    EncryptionAlgorithm.ENCR_AES_GCM_16: "rfc4106(gcm(aes))",
    EncryptionAlgorithm.ENCR_CHACHA20_POLY1305: "rfc7539esp(chacha20,poly1305)",
}
_PLAIN: dict[int, str] = {
    EncryptionAlgorithm.ENCR_AES_CBC: "cbc(aes)",
    EncryptionAlgorithm.ENCR_AES_CTR: "rfc3686(ctr(aes))",
}
_INTEGRITY: dict[int, str] = {
    IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128: "hmac(sha256)",
    IntegrityAlgorithm.AUTH_HMAC_SHA2_384_192: "hmac(sha384)",
    IntegrityAlgorithm.AUTH_HMAC_SHA2_512_256: "hmac(sha512)",
}


def is_known_to_kernel(encr: int) -> bool:
    """Tell whether Linux has a name for an encryption algorithm. RFC 8750 §4."""
    return encr in _COMBINED or encr in _PLAIN


def algorithm_attributes(suite: Suite, key: bytes, integrity_key: bytes) -> bytes:
    """Write the attributes that name the algorithms of one SA, with its keys.

    Parameters
    ----------
    suite : Suite
        One that :func:`is_known_to_kernel`.
    key : bytes
        ``suite.cipher.key_size`` octets, the salt or nonce at their end.
    integrity_key : bytes
        ``suite.cipher.integrity_key_size`` octets.

    Source: RFC 4106 §8.1, RFC 4868 §2.3
    """
    icv_bits = suite.cipher.icv_size * 8
    if suite.encr in _COMBINED:
        sizes = (len(key) * 8, icv_bits)
        named = algorithm(_COMBINED[suite.encr], sizes, key)
        return attribute(AttributeKind.ALG_AEAD, named)
    assert suite.integ is not None  # invariant: a plain cipher has an integrity
    sizes = (len(integrity_key) * 8, icv_bits)
    integrity = algorithm(_INTEGRITY[suite.integ], sizes, integrity_key)
    named = algorithm(_PLAIN[suite.encr], (len(key) * 8,), key)
    return attribute(AttributeKind.ALG_AUTH_TRUNC, integrity) + attribute(
        AttributeKind.ALG_CRYPT, named
    )
