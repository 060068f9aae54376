"""Key derivation: from a shared secret and two nonces to every key of an IKE SA.

Two peers who have exchanged public values and nonces feed them to the negotiated prf
and read off, in a fixed order, seven keys for the IKE SA. SK_d, the first of them, is
the root of the keys of every Child SA and of the IKE SA that a rekey puts in this
one's place.

Source: RFC 7296 §2.13
Source: RFC 7296 §2.14
Source: RFC 7296 §2.17
Source: RFC 7296 §2.18
Source: RFC 8784 §3
Source: RFC 9370 §2.2
"""

from dataclasses import dataclass, field, replace

from iketcp.crypto.prf import PRFS, Prf
from iketcp.crypto.suite import Suite


@dataclass(frozen=True, slots=True)
class IkeKeys:
    """The seven keys of an IKE SA. Source: RFC 7296 §2.14."""

    sk_d: bytes = field(repr=False)
    """Derives further keys; the prf's key size."""
    sk_ai: bytes = field(repr=False)
    """Integrity, original initiator to responder; empty with a combined-mode cipher."""
    sk_ar: bytes = field(repr=False)
    """Integrity, original responder to initiator."""
    sk_ei: bytes = field(repr=False)
    """Encryption (and salt), original initiator to responder."""
    sk_er: bytes = field(repr=False)
    """Encryption (and salt), original responder to initiator."""
    sk_pi: bytes = field(repr=False)
    """Keys the initiator's AUTH payload."""
    sk_pr: bytes = field(repr=False)
    """Keys the responder's AUTH payload."""


@dataclass(frozen=True, slots=True)
class ChildKeys:
    """The keys of one pair of SAs, named for who sends. Source: RFC 7296 §2.17."""

    encryption_i: bytes = field(repr=False)
    """Encryption (and salt), exchange initiator to responder."""
    integrity_i: bytes = field(repr=False)
    """Integrity, exchange initiator to responder; empty with a combined-mode cipher."""
    encryption_r: bytes = field(repr=False)
    """Encryption (and salt), exchange responder to initiator."""
    integrity_r: bytes = field(repr=False)
    """Integrity, exchange responder to initiator."""


def prf_of(suite: Suite) -> Prf:
    """Return the prf of an IKE suite.

    Raises
    ------
    ValueError
        The suite is a Child SA's and has no prf.
    """
    if suite.prf is None:
        raise ValueError("a suite for an IKE SA needs a prf")
    return PRFS[suite.prf]


def _split(octets: bytes, *sizes: int) -> list[bytes]:
    """Cut ``octets`` into pieces of the given sizes, in order."""
    pieces, position = [], 0
    for size in sizes:
        pieces.append(octets[position : position + size])
        position += size
    return pieces


def derive_skeyseed(prf: Prf, ni: bytes, nr: bytes, g_ir: bytes) -> bytes:
    """Derive SKEYSEED of a first IKE SA: prf(Ni | Nr, g^ir).

    Parameters
    ----------
    ni, nr : bytes
        Nonces without payload header, 16 to 256 octets each.
    g_ir : bytes
        Shared secret of the key exchange, in the size its method defines.

    Source: RFC 7296 §2.14
    """
    return prf.prf(ni + nr, g_ir)


def derive_rekeyed_skeyseed(
    old_prf: Prf,
    old_sk_d: bytes,
    g_ir: bytes,
    ni: bytes,
    nr: bytes,
    further: bytes = b"",
) -> bytes:
    """Derive SKEYSEED of a rekeyed IKE SA: prf(SK_d (old), g^ir (new) | Ni | Nr).

    The prf is the old IKE SA's. After an additional key exchange in IKE_INTERMEDIATE
    the same formula updates the keys of an IKE SA: SKEYSEED(n) = prf(SK_d(n-1), SK(n) |
    Ni | Nr), with the first nonces.

    Parameters
    ----------
    further : bytes
        SK(1) | SK(2) | … of the additional key exchanges of a rekey, which go last.

    Source: RFC 7296 §2.18, RFC 9370 §2.2.2, RFC 9370 §2.2.4
    """
    return old_prf.prf(old_sk_d, g_ir + ni + nr + further)


def derive_ike_keys(
    suite: Suite, skeyseed: bytes, ni: bytes, nr: bytes, spi_i: bytes, spi_r: bytes
) -> IkeKeys:
    """Derive the seven keys of an IKE SA.

    {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr}
        = prf+ (SKEYSEED, Ni | Nr | SPIi | SPIr)

    Parameters
    ----------
    suite : Suite
        The negotiated suite; gives the sizes.
    skeyseed : bytes
        As derived for a first or a rekeyed IKE SA.
    spi_i, spi_r : bytes
        The IKE SPIs, 8 octets each.

    Source: RFC 7296 §2.14
    """
    prf, cipher = prf_of(suite), suite.cipher
    sizes = (
        prf.key_size,
        cipher.integrity_key_size,
        cipher.integrity_key_size,
        cipher.key_size,
        cipher.key_size,
        prf.key_size,
        prf.key_size,
    )
    octets = prf.prf_plus(skeyseed, ni + nr + spi_i + spi_r, sum(sizes))
    return IkeKeys(*_split(octets, *sizes))


def mix_ppk(prf: Prf, keys: IkeKeys, ppk: bytes) -> IkeKeys:
    """Stir a post-quantum preshared key into the keys of a first IKE SA.

    SK_d = prf+ (PPK, SK_d'), and SK_pi and SK_pr likewise, each as long as before. The
    other four stay. A rekey needs no PPK again, for SK_d carries it on.

    Parameters
    ----------
    prf : Prf
        The negotiated prf.
    keys : IkeKeys
        As derived without PPK: SK_d', SK_pi', SK_pr' among them.
    ppk : bytes
        The PPK, of any size.

    Source: RFC 8784 §3
    """
    return replace(
        keys,
        sk_d=prf.prf_plus(ppk, keys.sk_d, len(keys.sk_d)),
        sk_pi=prf.prf_plus(ppk, keys.sk_pi, len(keys.sk_pi)),
        sk_pr=prf.prf_plus(ppk, keys.sk_pr, len(keys.sk_pr)),
    )


def derive_child_keys(
    prf: Prf,
    sk_d: bytes,
    suite: Suite,
    ni: bytes,
    nr: bytes,
    g_ir: bytes = b"",
    further: bytes = b"",
) -> ChildKeys:
    """Derive the keys of a Child SA from KEYMAT.

    KEYMAT = prf+(SK_d, g^ir (new) | Ni | Nr), where g^ir is empty without a key
    exchange of the Child SA's own. Keys of the SA from initiator to responder come
    first, and encryption keys before integrity keys.

    Parameters
    ----------
    further : bytes
        SK(1) | SK(2) | … of additional key exchanges, which go last.

    Source: RFC 7296 §2.17, RFC 9370 §2.2.4
    """
    cipher = suite.cipher
    sizes = (cipher.key_size, cipher.integrity_key_size) * 2
    keymat = prf.prf_plus(sk_d, g_ir + ni + nr + further, sum(sizes))
    return ChildKeys(*_split(keymat, *sizes))
