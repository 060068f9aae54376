"""Proposals as people write them: ``aes256gcm16-prfsha256-x25519``.

A proposal is a list of algorithm keywords joined by hyphens, in the vocabulary that
strongSwan made common. Keywords of one type are alternatives, the most preferred
first, so ``aes256gcm16-aes128gcm16-prfsha256-x25519`` offers two ciphers, one
pseudorandom function and one key exchange. ``iiv`` behind a combined-mode cipher leaves
the IV out of ESP packets. What a proposal must hold depends on its protocol:

========  ==============  ==============================  ===========  ==============
protocol  encryption      integrity                       PRF          key exchange
========  ==============  ==============================  ===========  ==============
IKE       needed          needed unless combined-mode     needed [1]_  needed
ESP       needed          needed unless combined-mode     none         optional (PFS)
========  ==============  ==============================  ===========  ==============

.. [1] Left out beside an integrity keyword, the PRF is HMAC with the same hash.

``ke1_`` to ``ke7_`` before a key exchange keyword ask for additional key exchanges, one
of each number and in this order: ``x25519-ke1_mlkem768`` makes keys that stay secret as
long as one of the two methods does. ``ke1_none`` among them says that it may be left
out.

Source: RFC 7296 §3.3
Source: RFC 7296 §3.3.3
Source: RFC 8247 §2
Source: RFC 8750 §8
Source: RFC 9370 §2.2.1
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iketcp.crypto import key_encapsulation
from iketcp.errors import ConfigurationError
from iketcp.ike.proposals import Proposal, Transform
from iketcp.registry import (
    ADDITIONAL_KEY_EXCHANGES,
    EncryptionAlgorithm,
    ExtendedSequenceNumbers,
    IntegrityAlgorithm,
    KeyExchangeMethod,
    ProtocolId,
    PseudorandomFunction,
    TransformType,
)

_HASHES = {
    256: (
        IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128,
        PseudorandomFunction.PRF_HMAC_SHA2_256,
    ),
    384: (
        IntegrityAlgorithm.AUTH_HMAC_SHA2_384_192,
        PseudorandomFunction.PRF_HMAC_SHA2_384,
    ),
    512: (
        IntegrityAlgorithm.AUTH_HMAC_SHA2_512_256,
        PseudorandomFunction.PRF_HMAC_SHA2_512,
    ),
}
"""Digest bits of SHA-2 and the two transforms built on it. Source: RFC 4868 §4."""

_AES_MODES = {
    "": EncryptionAlgorithm.ENCR_AES_CBC,
    "ctr": EncryptionAlgorithm.ENCR_AES_CTR,
    "gcm16": EncryptionAlgorithm.ENCR_AES_GCM_16,
    "gcm16iiv": EncryptionAlgorithm.ENCR_AES_GCM_16_IIV,
}

_CHACHA20 = {
    "": EncryptionAlgorithm.ENCR_CHACHA20_POLY1305,
    "iiv": EncryptionAlgorithm.ENCR_CHACHA20_POLY1305_IIV,
}

_METHODS = {
    "x25519": KeyExchangeMethod.CURVE25519,
    "x448": KeyExchangeMethod.CURVE448,
    "ecp256": KeyExchangeMethod.ECP_256,
    "ecp384": KeyExchangeMethod.ECP_384,
    "ecp521": KeyExchangeMethod.ECP_521,
    "modp2048": KeyExchangeMethod.MODP_2048,
    "modp3072": KeyExchangeMethod.MODP_3072,
    "modp4096": KeyExchangeMethod.MODP_4096,
    "mlkem768": KeyExchangeMethod.ML_KEM_768,
    "mlkem1024": KeyExchangeMethod.ML_KEM_1024,
}


def _keywords() -> Mapping[str, Transform]:
    aes = {
        f"aes{bits}{suffix}": Transform(TransformType.ENCR, encr, bits)
        for suffix, encr in _AES_MODES.items()
        for bits in (128, 192, 256)
    }
    chacha = {
        f"chacha20poly1305{suffix}": Transform(TransformType.ENCR, encr)
        for suffix, encr in _CHACHA20.items()
    }
    integrity = {
        f"sha{bits}": Transform(TransformType.INTEG, integ)
        for bits, (integ, _) in _HASHES.items()
    }
    functions = {
        f"prfsha{bits}": Transform(TransformType.PRF, prf)
        for bits, (_, prf) in _HASHES.items()
    }
    methods = {
        text: Transform(TransformType.KE, method) for text, method in _METHODS.items()
    }
    additional = {
        f"ke{number}_{text}": Transform(kind, method)
        for number, kind in enumerate(ADDITIONAL_KEY_EXCHANGES, 1)
        for text, method in {**_METHODS, "none": KeyExchangeMethod.NONE}.items()
    }
    numbers = {
        "esn": Transform(TransformType.ESN, ExtendedSequenceNumbers.ESN),
        "noesn": Transform(TransformType.ESN, ExtendedSequenceNumbers.NO_ESN),
    }
    return {
        **aes,
        **chacha,
        **integrity,
        **functions,
        **methods,
        **additional,
        **numbers,
    }


KEYWORDS: Mapping[str, Transform] = _keywords()
"""Every keyword, under the spelling that :func:`describe_proposal` prints."""

ALIASES: Mapping[str, str] = {
    "aes": "aes128",
    "aesctr": "aes128ctr",
    **{
        f"aes{bits}{suffix}": f"aes{bits}gcm16"
        for bits in (128, 192, 256)
        for suffix in ("gcm", "gcm128")
    },
    **{f"sha2_{bits}": f"sha{bits}" for bits in _HASHES},
    **{f"prfsha2_{bits}": f"prfsha{bits}" for bits in _HASHES},
    "curve25519": "x25519",
    "curve448": "x448",
}
"""Other spellings of the same keywords."""

_SPELLINGS = {transform: text for text, transform in KEYWORDS.items()}

_PRF_BESIDE = {int(integ): int(prf) for integ, prf in _HASHES.values()}

_IMPLICIT_IV = frozenset(
    {
        EncryptionAlgorithm.ENCR_AES_GCM_16_IIV,
        EncryptionAlgorithm.ENCR_CHACHA20_POLY1305_IIV,
    }
)

_COMBINED_MODE = _IMPLICIT_IV | {
    EncryptionAlgorithm.ENCR_AES_GCM_16,
    EncryptionAlgorithm.ENCR_CHACHA20_POLY1305,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Keywords that others know and this package turns down."""

    pattern: str
    """Regular expression for the whole keyword."""
    reason: str
    """Completes the sentence "... is refused: "."""
    examples: tuple[str, ...]


REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        "(prf)?sha1?(_160)?",
        "SHA-1 is being retired [RFC 8247 §2.3]; use sha256 or prfsha256",
        ("sha1", "sha", "prfsha1"),
    ),
    Refusal(
        "(prf)?md5(_128)?",
        "MD5 must not be used any more [RFC 8247 §2.3]; use sha256 or prfsha256",
        ("md5", "prfmd5"),
    ),
    Refusal(
        "3des|des|blowfish[0-9]*|cast128|idea|rc5",
        "old ciphers with short blocks or keys have no place here; use aes256gcm16",
        ("3des", "des", "blowfish256", "cast128"),
    ),
    Refusal(
        "null",
        "it encrypts nothing [RFC 8247 §2.1]; use aes256gcm16",
        ("null",),
    ),
    Refusal(
        "aes[0-9]*(gcm(8|12|64|96)|ccm[0-9]*)",
        "only combined-mode AES with GCM and the full 16-octet ICV is built; "
        "use aes256gcm16",
        ("aes256gcm8", "aes128gcm96", "aes128ccm16"),
    ),
    Refusal(
        "(prf)?aes(128)?(xcbc|cmac)",
        "AES-based integrity and PRFs suit small devices without SHA-2; "
        "use sha256 or prfsha256",
        ("aesxcbc", "aescmac", "prfaesxcbc"),
    ),
    Refusal(
        "modp(768|1024|1536)",
        "a MODP group under 2048 bits can be broken [RFC 8247 §2.4]; "
        "use x25519 or modp3072",
        ("modp768", "modp1024", "modp1536"),
    ),
    Refusal(
        "modp(1024s160|2048s224|2048s256)",
        "MODP groups with small subgroups are not trusted [RFC 8247 §2.4]; "
        "use x25519 or modp3072",
        ("modp1024s160", "modp2048s256"),
    ),
    Refusal(
        "modpnone",
        "write the proposal without a key exchange keyword instead",
        ("modpnone",),
    ),
    Refusal(
        "(ke[1-7]_)?mlkem512",
        "of ML-KEM the two larger sets of parameters are built; use mlkem768",
        ("mlkem512", "ke1_mlkem512"),
    ),
)
"""Looked through from the top. Source: RFC 8247 §2, RFC 8221 §5."""

_ORDER = (
    TransformType.ENCR,
    TransformType.INTEG,
    TransformType.PRF,
    TransformType.KE,
    *ADDITIONAL_KEY_EXCHANGES,
    TransformType.ESN,
)

_FOREIGN = {
    ProtocolId.IKE: {TransformType.ESN: "an IKE SA has no sequence numbers to extend"},
    ProtocolId.ESP: {TransformType.PRF: "a Child SA takes its keys from the IKE SA's"},
}
"""Types that a protocol does not have, and why. Source: RFC 7296 §3.3.3."""

_Groups = dict[TransformType, list[Transform]]


def parse_ike_proposal(text: str, number: int = 1) -> Proposal:
    """Read a proposal for an IKE SA, such as ``aes128-sha256-modp2048``.

    Parameters
    ----------
    text : str
        Keywords joined by hyphens; upper and lower case are the same.
    number : int
        Proposal Num, 8 bits, from 1.

    Raises
    ------
    ConfigurationError
        A keyword is unknown, refused, repeated or foreign to IKE; ciphers of both
        kinds are mixed; encryption, integrity, PRF or key exchange is missing; an
        integrity keyword stands beside combined-mode ciphers; key exchanges cannot be
        told apart; or the OpenSSL at hand lacks their method.

    Source: RFC 7296 §3.3.3, RFC 5282 §8, RFC 8750 §7
    """
    groups = _group(text, ProtocolId.IKE)
    implicit = [t for t in groups[TransformType.ENCR] if t.id in _IMPLICIT_IV]
    if implicit:
        raise _refused(
            text,
            f"{_first(implicit)} has no place in an IKE proposal: it takes its IV from "
            "the sequence number, and IKE messages have none",
        )
    _check_integrity(text, groups)
    if not groups[TransformType.PRF]:
        groups[TransformType.PRF] = [
            Transform(TransformType.PRF, _PRF_BESIDE[integ.id])
            for integ in groups[TransformType.INTEG]
        ]
    if not groups[TransformType.PRF]:
        raise _refused(
            text,
            "a combined-mode cipher leaves the pseudorandom function open; "
            "add a keyword such as prfsha256",
        )
    if not groups[TransformType.KE]:
        raise _refused(text, "a key exchange keyword such as x25519 is missing")
    _check_key_exchanges(text, groups)
    return _proposal(ProtocolId.IKE, number, groups)


def parse_esp_proposal(text: str, number: int = 1) -> Proposal:
    """Read a proposal for a Child SA, such as ``aes256gcm16-x25519-esn``.

    A key exchange keyword asks for perfect forward secrecy: it counts when the Child
    SA is rekeyed or made by CREATE_CHILD_SA, while the first one, made by IKE_AUTH,
    never has a key exchange of its own.

    Choice: with neither ``esn`` nor ``noesn`` both are offered and accepted, extended
    numbers first. So an initiator that has them usually does, and extended numbers
    are what ESP itself takes for the default.

    Parameters
    ----------
    text : str
        Keywords joined by hyphens; upper and lower case are the same.
    number : int
        Proposal Num, 8 bits, from 1.

    Raises
    ------
    ConfigurationError
        A keyword is unknown, refused, repeated or foreign to ESP; ciphers of both
        kinds are mixed; encryption or integrity is missing; an integrity keyword
        stands beside combined-mode ciphers; a key exchange is additional; or the
        OpenSSL at hand lacks its method.

    Source: RFC 7296 §3.3.2, RFC 7296 §3.3.3, RFC 4303 §2.2.1
    """
    groups = _group(text, ProtocolId.ESP)
    _check_integrity(text, groups)
    if not groups[TransformType.ESN]:
        groups[TransformType.ESN] = [KEYWORDS["esn"], KEYWORDS["noesn"]]
    _check_key_exchanges(text, groups)
    return _proposal(ProtocolId.ESP, number, groups)


def describe_proposal(proposal: Proposal) -> str:
    """Write a proposal in keywords, in full: nothing implied is left out.

    Reading the text again gives the same transforms. A transform without a keyword,
    as a peer may offer, appears under IANA's name.

    Source: RFC 7296 §3.3.2
    """
    return "-".join(_SPELLINGS.get(t) or str(t) for t in proposal.transforms)


def _group(text: str, protocol: ProtocolId) -> _Groups:
    """Sort the keywords of ``text`` by transform type, order kept."""
    groups: _Groups = {kind: [] for kind in _ORDER}
    for word in text.strip().lower().split("-"):
        transform = _look_up(text, word)
        kind = TransformType(transform.type)
        foreign = _FOREIGN[protocol].get(kind)
        if foreign is not None:
            raise _refused(
                text,
                f"'{word}' has no place in an {protocol.name} proposal: {foreign}",
            )
        if transform in groups[kind]:
            raise _refused(text, f"'{word}' stands there twice")
        groups[kind].append(transform)
    if not groups[TransformType.ENCR]:
        raise _refused(text, "an encryption keyword such as aes256gcm16 is missing")
    return groups


def _look_up(text: str, word: str) -> Transform:
    """Find the transform for one keyword, or say what is wrong with it."""
    transform = KEYWORDS.get(ALIASES.get(word, word))
    if transform is not None:
        return transform
    if not word:
        raise _refused(text, "a keyword is missing before or after a hyphen")
    for refusal in REFUSALS:
        if re.fullmatch(refusal.pattern, word):
            raise _refused(text, f"'{word}' is refused: {refusal.reason}")
    near = difflib.get_close_matches(word, [*KEYWORDS, *ALIASES], n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise _refused(text, f"'{word}' is not a keyword{hint}")


def _check_integrity(text: str, groups: _Groups) -> None:
    """Hold ciphers and integrity algorithms to what one proposal can express.

    Source: RFC 7296 §3.3, RFC 5282 §8
    """
    combined = [t for t in groups[TransformType.ENCR] if t.id in _COMBINED_MODE]
    classic = [t for t in groups[TransformType.ENCR] if t.id not in _COMBINED_MODE]
    if combined and classic:
        raise _refused(
            text,
            f"{_first(combined)} and {_first(classic)} cannot share it, for only "
            "the latter takes an integrity algorithm; write two proposals",
        )
    integrity = groups[TransformType.INTEG]
    if combined and integrity:
        raise _refused(
            text,
            f"{_first(combined)} protects integrity by itself; "
            f"leave {_first(integrity)} out",
        )
    if classic and not integrity:
        raise _refused(
            text, f"{_first(classic)} needs an integrity keyword such as sha256"
        )


def _check_key_exchanges(text: str, groups: _Groups) -> None:
    """Hold key exchanges to what can be agreed on and carried out.

    Source: RFC 9370 §2.2.1
    """
    kinds = (TransformType.KE, *ADDITIONAL_KEY_EXCHANGES)
    options = [groups[kind] for kind in kinds if groups[kind]]
    if options and not groups[TransformType.KE]:
        word = _first(options[0])
        raise _refused(text, f"{word} is additional to nothing; add x25519 before it")
    if not _are_distinct(options):
        raise _refused(text, "no key exchange method may serve twice")
    methods = [t for kind in kinds for t in groups[kind]]
    kems = [t for t in methods if t.id in key_encapsulation.PARAMETER_SETS]
    if kems and not key_encapsulation.is_available():
        raise _refused(
            text,
            f"{_first(kems)} needs OpenSSL 3.5 or later, which the installed "
            "'cryptography' was not built with",
        )


def _are_distinct(
    options: Sequence[Sequence[Transform]], taken: frozenset[int] = frozenset()
) -> bool:
    """Tell whether one of each can be had without taking a method twice.

    Source: RFC 9370 §2.2.1
    """
    if not options:
        return True
    return any(
        _are_distinct(options[1:], taken | {t.id} - {KeyExchangeMethod.NONE})
        for t in options[0]
        if t.id not in taken
    )


def _first(transforms: Sequence[Transform]) -> str:
    return f"'{_SPELLINGS[transforms[0]]}'"


def _proposal(protocol: ProtocolId, number: int, groups: _Groups) -> Proposal:
    transforms = tuple(t for kind in _ORDER for t in groups[kind])
    return Proposal(number, protocol, b"", transforms)


def _refused(text: str, sentence: str) -> ConfigurationError:
    return ConfigurationError(f"proposal '{text}': {sentence}")
