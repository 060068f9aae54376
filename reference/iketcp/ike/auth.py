"""The AUTH payload: each peer signs what it said, under what it shares or owns.

What is signed is the peer's own first message as it went over the wire, the other
side's nonce, and its identity keyed with SK_p: so nobody can have changed the
unprotected IKE_SA_INIT without being found out here.

Source: RFC 7296 §2.15
"""

import hmac

from iketcp.crypto.prf import Prf

KEY_PAD = b"Key Pad for IKEv2"
"""17 octets, without a terminating zero. Source: RFC 7296 §2.15."""


def signed_octets(
    prf: Prf, real_message: bytes, peer_nonce: bytes, sk_p: bytes, id_body: bytes
) -> bytes:
    """Return InitiatorSignedOctets or ResponderSignedOctets.

    RealMessage | the other side's nonce | prf(SK_p, RestOfIDPayload)

    Parameters
    ----------
    real_message : bytes
        The signer's IKE_SA_INIT message from the first octet of its header, without
        non-ESP marker; the last one sent, if it was repeated.
    peer_nonce : bytes
        The nonce of the other side, 16 to 256 octets.
    sk_p : bytes
        SK_pi or SK_pr, the prf's key size.
    id_body : bytes
        The signer's ID payload without its generic header.

    Source: RFC 7296 §2.15
    """
    return real_message + peer_nonce + prf.prf(sk_p, id_body)


def shared_key_auth(prf: Prf, secret: bytes, octets: bytes) -> bytes:
    """Return AUTH for a pre-shared key; the prf's output size.

    AUTH = prf( prf(Shared Secret, "Key Pad for IKEv2"), SignedOctets)

    Source: RFC 7296 §2.15
    """
    return prf.prf(prf.prf(secret, KEY_PAD), octets)


def is_shared_key_auth(prf: Prf, secret: bytes, octets: bytes, auth: bytes) -> bool:
    """Compare a received AUTH value in constant time. Source: RFC 7296 §2.15."""
    return hmac.compare_digest(shared_key_auth(prf, secret, octets), auth)
