"""Proposals in keywords: what they mean, and what is refused and how it is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.errors import ConfigurationError
from iketcp.ike.keywords import (
    ALIASES,
    KEYWORDS,
    REFUSALS,
    describe_proposal,
    parse_esp_proposal,
    parse_ike_proposal,
)
from iketcp.ike.negotiation import choose_proposal
from iketcp.ike.proposals import Proposal, Transform, TransformAttribute
from iketcp.registry import (
    EncryptionAlgorithm,
    ExtendedSequenceNumbers,
    IntegrityAlgorithm,
    KeyExchangeMethod,
    ProtocolId,
    PseudorandomFunction,
    TransformType,
)

ENCR, PRF, INTEG, KE, ESN = (
    TransformType.ENCR,
    TransformType.PRF,
    TransformType.INTEG,
    TransformType.KE,
    TransformType.ESN,
)
GCM = EncryptionAlgorithm.ENCR_AES_GCM_16
BOTH_ESN = (
    (ESN, ExtendedSequenceNumbers.ESN, None),
    (ESN, ExtendedSequenceNumbers.NO_ESN, None),
)


def triples(proposal: Proposal) -> tuple[tuple[int, int, int | None], ...]:
    """Type, ID and key length of each transform."""
    return tuple((t.type, t.id, t.key_bits) for t in proposal.transforms)


IKE_CASES = {
    "aes256gcm16-prfsha256-x25519": (
        (ENCR, GCM, 256),
        (PRF, PseudorandomFunction.PRF_HMAC_SHA2_256, None),
        (KE, KeyExchangeMethod.CURVE25519, None),
    ),
    "aes128-sha256-modp2048": (
        (ENCR, EncryptionAlgorithm.ENCR_AES_CBC, 128),
        (INTEG, IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128, None),
        (PRF, PseudorandomFunction.PRF_HMAC_SHA2_256, None),
        (KE, KeyExchangeMethod.MODP_2048, None),
    ),
    "chacha20poly1305-prfsha512-x448": (
        (ENCR, EncryptionAlgorithm.ENCR_CHACHA20_POLY1305, None),
        (PRF, PseudorandomFunction.PRF_HMAC_SHA2_512, None),
        (KE, KeyExchangeMethod.CURVE448, None),
    ),
    "aes256ctr-sha512-ecp384": (
        (ENCR, EncryptionAlgorithm.ENCR_AES_CTR, 256),
        (INTEG, IntegrityAlgorithm.AUTH_HMAC_SHA2_512_256, None),
        (PRF, PseudorandomFunction.PRF_HMAC_SHA2_512, None),
        (KE, KeyExchangeMethod.ECP_384, None),
    ),
    "x25519-aes256gcm16-aes128gcm16-ecp521-prfsha384": (
        (ENCR, GCM, 256),
        (ENCR, GCM, 128),
        (PRF, PseudorandomFunction.PRF_HMAC_SHA2_384, None),
        (KE, KeyExchangeMethod.CURVE25519, None),
        (KE, KeyExchangeMethod.ECP_521, None),
    ),
    "aes256gcm16-prfsha384-mlkem1024-x25519": (
        (ENCR, GCM, 256),
        (PRF, PseudorandomFunction.PRF_HMAC_SHA2_384, None),
        (KE, KeyExchangeMethod.ML_KEM_1024, None),
        (KE, KeyExchangeMethod.CURVE25519, None),
    ),
    "aes256gcm16-prfsha256-ke3_none-x25519-ke3_x448-ke1_mlkem768": (
        (ENCR, GCM, 256),
        (PRF, PseudorandomFunction.PRF_HMAC_SHA2_256, None),
        (KE, KeyExchangeMethod.CURVE25519, None),
        (TransformType.ADDKE1, KeyExchangeMethod.ML_KEM_768, None),
        (TransformType.ADDKE3, KeyExchangeMethod.NONE, None),
        (TransformType.ADDKE3, KeyExchangeMethod.CURVE448, None),
    ),
    "aes256gcm16-prfsha256-x25519-x448-ke1_x25519-ke2_x448-ke2_none": (
        (ENCR, GCM, 256),
        (PRF, PseudorandomFunction.PRF_HMAC_SHA2_256, None),
        (KE, KeyExchangeMethod.CURVE25519, None),
        (KE, KeyExchangeMethod.CURVE448, None),
        (TransformType.ADDKE1, KeyExchangeMethod.CURVE25519, None),
        (TransformType.ADDKE2, KeyExchangeMethod.CURVE448, None),
        (TransformType.ADDKE2, KeyExchangeMethod.NONE, None),
    ),
    "aes192-sha256-sha384-prfsha512-modp4096": (
        (ENCR, EncryptionAlgorithm.ENCR_AES_CBC, 192),
        (INTEG, IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128, None),
        (INTEG, IntegrityAlgorithm.AUTH_HMAC_SHA2_384_192, None),
        (PRF, PseudorandomFunction.PRF_HMAC_SHA2_512, None),
        (KE, KeyExchangeMethod.MODP_4096, None),
    ),
}

ESP_CASES = {
    "aes256gcm16": ((ENCR, GCM, 256), *BOTH_ESN),
    "aes128-sha256": (
        (ENCR, EncryptionAlgorithm.ENCR_AES_CBC, 128),
        (INTEG, IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128, None),
        *BOTH_ESN,
    ),
    "aes256gcm16-x25519": (
        (ENCR, GCM, 256),
        (KE, KeyExchangeMethod.CURVE25519, None),
        *BOTH_ESN,
    ),
    "aes128gcm16iiv-aes128gcm16-chacha20poly1305iiv-esn": (
        (ENCR, EncryptionAlgorithm.ENCR_AES_GCM_16_IIV, 128),
        (ENCR, GCM, 128),
        (ENCR, EncryptionAlgorithm.ENCR_CHACHA20_POLY1305_IIV, None),
        BOTH_ESN[0],
    ),
    "aes128gcm16-esn": ((ENCR, GCM, 128), BOTH_ESN[0]),
    "aes128gcm16-noesn": ((ENCR, GCM, 128), BOTH_ESN[1]),
    "aes128gcm16-noesn-esn": ((ENCR, GCM, 128), BOTH_ESN[1], BOTH_ESN[0]),
}


@pytest.mark.parametrize("text", IKE_CASES)
def test_ike_proposals(text: str) -> None:
    """RFC 7296 §3.3.3: IKE has ENCR, PRF, KE, and INTEG with classic ciphers."""
    proposal = parse_ike_proposal(text, 7)
    assert triples(proposal) == IKE_CASES[text]
    assert (proposal.number, proposal.protocol) == (7, ProtocolId.IKE)
    assert proposal.spi == b""


@pytest.mark.parametrize("text", ESP_CASES)
def test_esp_proposals(text: str) -> None:
    """RFC 7296 §3.3.2: ESP has ENCR and ESN; both ESN values where none is written."""
    proposal = parse_esp_proposal(text)
    assert triples(proposal) == ESP_CASES[text]
    assert (proposal.number, proposal.protocol) == (1, ProtocolId.ESP)
    assert proposal.spi == b""


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_are_other_spellings(alias: str) -> None:
    """No alias hides a keyword, and each leads to one."""
    assert alias not in KEYWORDS
    assert ALIASES[alias] in KEYWORDS


def test_case_and_space_do_not_matter() -> None:
    """Users copy proposals from elsewhere."""
    assert parse_esp_proposal(" AES256GCM-Curve25519\n") == parse_esp_proposal(
        "aes256gcm16-x25519"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "aes256gcm16-x25519",
            "a combined-mode cipher leaves the pseudorandom function open; "
            "add a keyword such as prfsha256",
        ),
        (
            "aes256gcm16-prfsha256",
            "a key exchange keyword such as x25519 is missing",
        ),
        (
            "prfsha256-x25519",
            "an encryption keyword such as aes256gcm16 is missing",
        ),
        (
            "aes256gcm16-aes128-sha256-x25519",
            "'aes256gcm16' and 'aes128' cannot share it, for only the latter takes an "
            "integrity algorithm; write two proposals",
        ),
        (
            "aes256gcm16-sha256-x25519",
            "'aes256gcm16' protects integrity by itself; leave 'sha256' out",
        ),
        (
            "aes128-prfsha256-x25519",
            "'aes128' needs an integrity keyword such as sha256",
        ),
        (
            "aes128-aes-sha256-x25519",
            "'aes' stands there twice",
        ),
        (
            "aes128-sha256-x25519-esn",
            "'esn' has no place in an IKE proposal: "
            "an IKE SA has no sequence numbers to extend",
        ),
        (
            "aes128-sha265-x25519",
            "'sha265' is not a keyword; did you mean 'sha256'?",
        ),
        (
            "aes256gcm16iiv-prfsha256-x25519",
            "'aes256gcm16iiv' has no place in an IKE proposal: it takes its IV from "
            "the sequence number, and IKE messages have none",
        ),
        (
            "aes256gcm16-prfsha256-x25519-ke1_x25519",
            "no key exchange method may serve twice",
        ),
        (
            "aes256gcm16-prfsha256-x25519-x448-ke1_x25519-ke2_x448",
            "no key exchange method may serve twice",
        ),
        ("aes128-sha256-@@@@", "'@@@@' is not a keyword"),
        ("aes128--sha256", "a keyword is missing before or after a hyphen"),
        ("", "a keyword is missing before or after a hyphen"),
    ],
)
def test_ike_refusals(text: str, sentence: str) -> None:
    """RFC 7296 §3.3, RFC 5282 §8: what one IKE proposal cannot hold, said clearly."""
    with pytest.raises(ConfigurationError) as caught:
        parse_ike_proposal(text)
    assert str(caught.value) == f"proposal '{text}': {sentence}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "aes256gcm16-prfsha256",
            "'prfsha256' has no place in an ESP proposal: "
            "a Child SA takes its keys from the IKE SA's",
        ),
        ("aes128", "'aes128' needs an integrity keyword such as sha256"),
        (
            "chacha20poly1305-sha512",
            "'chacha20poly1305' protects integrity by itself; leave 'sha512' out",
        ),
        ("x25519", "an encryption keyword such as aes256gcm16 is missing"),
        (
            "aes256gcm16-ke2_mlkem768",
            "'ke2_mlkem768' is additional to nothing; add x25519 before it",
        ),
    ],
)
def test_esp_refusals(text: str, sentence: str) -> None:
    """RFC 7296 §3.3.3, RFC 5282 §8: what one ESP proposal cannot hold."""
    with pytest.raises(ConfigurationError) as caught:
        parse_esp_proposal(text)
    assert str(caught.value) == f"proposal '{text}': {sentence}"


@pytest.mark.parametrize(
    ("word", "reason"),
    [(word, refusal.reason) for refusal in REFUSALS for word in refusal.examples],
)
def test_legacy_is_refused_with_a_reason(word: str, reason: str) -> None:
    """RFC 8247 §2: legacy algorithms are named and turned down, not "unknown"."""
    with pytest.raises(ConfigurationError) as caught:
        parse_ike_proposal(f"aes128-{word}-sha256-x25519")
    assert str(caught.value).endswith(f"'{word}' is refused: {reason}")


def test_no_good_keyword_is_refused() -> None:
    """The patterns of what is refused match nothing that is accepted."""
    for word in (*KEYWORDS, *ALIASES):
        refused = False
        try:
            parse_esp_proposal(word)
        except ConfigurationError as error:
            refused = "is refused" in str(error)
        assert not refused, word


CLASSIC = [w for w in KEYWORDS if w in {"aes128", "aes192", "aes256ctr", "aes256"}]
COMBINED = ["aes128gcm16", "aes256gcm16", "chacha20poly1305"]
INTEGRITY = ["sha256", "sha384", "sha512"]
FUNCTIONS = ["prfsha256", "prfsha384", "prfsha512"]
EXCHANGES = ["x25519", "x448", "ecp256", "modp3072"]
NUMBERS = ["esn", "noesn"]


def some(words: list[str], fewest: int = 1) -> st.SearchStrategy[list[str]]:
    """Draw different words, in any order."""
    return st.lists(st.sampled_from(words), min_size=fewest, unique=True)


@st.composite
def ciphers(draw: st.DrawFn) -> list[str]:
    """Draw ciphers of one kind, with integrity where they need it."""
    if draw(st.booleans()):
        return draw(some(COMBINED))
    return draw(some(CLASSIC)) + draw(some(INTEGRITY))


@given(ciphers(), some(FUNCTIONS), some(EXCHANGES))
def test_ike_text_and_back(
    words: list[str], functions: list[str], exchanges: list[str]
) -> None:
    """What is described in full reads back as the same proposal, and is acceptable."""
    text = "-".join([*words, *functions, *exchanges])
    proposal = parse_ike_proposal(text)
    assert describe_proposal(proposal) == text
    assert choose_proposal([proposal], [proposal]).proposal.number == 1


@given(ciphers(), some(EXCHANGES, fewest=0), some(NUMBERS, fewest=0))
def test_esp_text_and_back(
    words: list[str], exchanges: list[str], numbers: list[str]
) -> None:
    """Nothing implied is left out of the description, which reads back as the same."""
    proposal = parse_esp_proposal("-".join([*words, *exchanges, *numbers]))
    text = "-".join([*words, *exchanges, *(numbers or NUMBERS)])
    assert describe_proposal(proposal) == text
    assert parse_esp_proposal(text) == proposal


@given(st.text(), st.booleans())
def test_any_text_is_read_or_refused(text: str, is_ike: bool) -> None:
    """No text raises anything but the error for users."""
    parse = parse_ike_proposal if is_ike else parse_esp_proposal
    try:
        proposal = parse(text)
    except ConfigurationError:
        return
    assert parse(describe_proposal(proposal)) == proposal


@given(
    st.lists(
        st.sampled_from(
            [*KEYWORDS, *ALIASES, *(r.examples[0] for r in REFUSALS), "nonsense", ""]
        )
    ),
    st.booleans(),
)
def test_any_keywords_are_read_or_refused(words: list[str], is_ike: bool) -> None:
    """What is accepted describes itself; the rest is the error for users."""
    parse = parse_ike_proposal if is_ike else parse_esp_proposal
    try:
        proposal = parse("-".join(words))
    except ConfigurationError:
        return
    assert parse(describe_proposal(proposal)) == proposal


def test_what_has_no_keyword_is_described_by_name() -> None:
    """A peer may offer anything; logs name it all the same."""
    odd = TransformAttribute(15, b"\0\1", True)
    proposal = Proposal(
        1,
        ProtocolId.ESP,
        b"",
        (
            Transform(ENCR, EncryptionAlgorithm.ENCR_3DES),
            Transform(ENCR, 9999, 64),
            Transform(99, 5),
            Transform(ENCR, GCM, 256, (odd,)),
            Transform(KE, KeyExchangeMethod.ECP_256),
        ),
    )
    assert describe_proposal(proposal) == (
        "3DES-EncryptionAlgorithm(9999)-64-TransformType(99):5-AES_GCM_16-256-ecp256"
    )
