"""One suite out of what is offered and what is accepted, and nothing else."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.crypto.suite import Suite
from iketcp.errors import NoProposalChosenError
from iketcp.ike.keywords import parse_esp_proposal, parse_ike_proposal
from iketcp.ike.negotiation import (
    choose_proposal,
    has_additional,
    methods_of,
    suite_of,
    transforms_of,
    verify_choice,
    with_spi,
    without_additional,
    without_key_exchange,
)
from iketcp.ike.proposals import Proposal, Transform, TransformAttribute
from iketcp.registry import NotifyType, TransformType

ENCR, PRF, INTEG, KE, ESN = 1, 2, 3, 4, 5
INTEG_NONE, KE_NONE = Transform(INTEG, 0), Transform(KE, 0)
STRANGE = TransformAttribute(99, b"\0\1", is_fixed=True)


def ike(*texts: str) -> tuple[Proposal, ...]:
    """IKE proposals from keywords, numbered from 1."""
    return with_spi((parse_ike_proposal(text) for text in texts), b"")


def esp(*texts: str, spi: bytes = b"\xc0\xff\xee\1") -> tuple[Proposal, ...]:
    """ESP proposals from keywords, numbered from 1."""
    return with_spi((parse_esp_proposal(text) for text in texts), spi)


def extended(proposal: Proposal, *transforms: Transform) -> Proposal:
    """A proposal with further transforms behind its own."""
    return proposal.with_transforms((*proposal.transforms, *transforms))


def without(proposal: Proposal, kind: int) -> Proposal:
    """A proposal without the transforms of one type."""
    kept = tuple(t for t in proposal.transforms if t.type != kind)
    return proposal.with_transforms(kept)


def swapped(proposal: Proposal, transform: Transform) -> Proposal:
    """A proposal with ``transform`` for all those of its type."""
    return extended(without(proposal, transform.type), transform)


def keyed(proposal: Proposal, *attributes: TransformAttribute) -> Proposal:
    """A proposal whose first transform has attributes nobody knows."""
    first, *rest = proposal.transforms
    return proposal.with_transforms(
        (replace(first, unknown_attributes=attributes), *rest)
    )


def refuse(offered: Sequence[Proposal], policy: Sequence[Proposal]) -> None:
    """Expect NO_PROPOSAL_CHOSEN."""
    with pytest.raises(NoProposalChosenError) as caught:
        choose_proposal(offered, policy)
    assert caught.value.notify is NotifyType.NO_PROPOSAL_CHOSEN


# --- choosing: the order of preference ------------------------------------------------


def test_the_offers_order_of_proposals_decides() -> None:
    """RFC 7296 §3.3: proposals come the most preferred first."""
    offered = ike("aes128-sha256-x25519", "aes256gcm16-prfsha384-ecp384")
    choice = choose_proposal(offered, tuple(reversed(offered)))
    assert choice.proposal == offered[0]
    assert choice.suite == Suite(12, 128, prf=5, integ=12, ke=31)


def test_the_offers_order_of_transforms_decides() -> None:
    """RFC 7296 §2.7: one transform of each type."""
    offered = ike("aes128-aes256-sha512-sha256-prfsha384-prfsha256-ecp256-x25519")
    policy = ike("aes256-aes128-sha256-sha512-prfsha256-prfsha384-x25519-ecp256")
    choice = choose_proposal(offered, policy)
    assert choice.suite == Suite(12, 128, prf=6, integ=14, ke=19)
    assert len(choice.proposal.transforms) == 4


def test_the_answer_has_number_and_protocol_of_the_offer() -> None:
    """RFC 7296 §3.3.1: the accepted proposal's number comes back."""
    offered = esp("aes256gcm16", "aes128gcm16", "chacha20poly1305")
    choice = choose_proposal(offered, esp("chacha20poly1305"))
    assert (choice.proposal.number, choice.proposal.protocol) == (3, 3)
    assert choice.proposal.spi == offered[2].spi


def test_attributes_come_back_unmodified() -> None:
    """RFC 7296 §3.3.6: Key Length stands in the answer as it was offered."""
    choice = choose_proposal(esp("aes192-sha256"), esp("aes192-sha256"))
    assert transforms_of(choice.proposal, ENCR) == [Transform(ENCR, 12, 192)]


def test_the_public_value_that_came_along_is_preferred() -> None:
    """RFC 7296 §1.2: an acceptable KE payload saves INVALID_KE_PAYLOAD."""
    offered = ike("aes256gcm16-prfsha256-x25519-ecp256-modp3072")
    policy = ike("aes256gcm16-prfsha256-modp3072-ecp256")
    assert choose_proposal(offered, policy, 15).suite.ke == 15
    assert choose_proposal(offered, policy, 19).suite.ke == 19


def test_an_unacceptable_public_value_names_another_method() -> None:
    """RFC 7296 §3.3.6: the first acceptable method; the caller asks for it."""
    offered = ike("aes256gcm16-prfsha256-x448-x25519-ecp256")
    policy = ike("aes256gcm16-prfsha256-ecp256-x25519")
    assert choose_proposal(offered, policy, 32).suite.ke == 31


# --- choosing: what does not fit ------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "accepted"),
    [
        ("aes128-sha256-x25519", "aes256-sha256-x25519"),
        ("aes128-sha256-x25519", "aes128gcm16-prfsha256-x25519"),
        ("aes128ctr-sha256-x25519", "aes128-sha256-x25519"),
        ("aes128-sha256-x25519", "aes128-sha384-prfsha256-x25519"),
        ("aes128-sha256-prfsha512-x25519", "aes128-sha256-x25519"),
        ("aes128-sha256-x25519", "aes128-sha256-x448"),
    ],
    ids=["key length", "cipher", "mode", "integrity", "prf", "key exchange"],
)
def test_one_difference_is_enough(offered: str, accepted: str) -> None:
    """RFC 7296 §2.7: every type must agree."""
    refuse(ike(offered), ike(accepted))


def test_a_cipher_without_its_key_length() -> None:
    """RFC 7296 §3.3.5: AES needs the attribute, ChaCha20-Poly1305 must not have it."""
    offered = ike("aes128-sha256-x25519")
    refuse([swapped(offered[0], Transform(ENCR, 12))], offered)
    offered = ike("chacha20poly1305-prfsha256-x25519")
    refuse([swapped(offered[0], Transform(ENCR, 28, 256))], offered)


@pytest.mark.parametrize(
    "legacy",
    [Transform(ENCR, 3), Transform(PRF, 2), Transform(INTEG, 2), Transform(KE, 2)],
    ids=["3DES", "PRF_HMAC_SHA1", "AUTH_HMAC_SHA1_96", "MODP_1024"],
)
def test_legacy_algorithms_are_refused(legacy: Transform) -> None:
    """RFC 8247 §2: SHA-1, 3DES and short groups get NO_PROPOSAL_CHOSEN."""
    (modern,) = ike("aes128-sha256-x25519")
    refuse([swapped(modern, legacy)], [modern])
    # beside a modern alternative the modern one is taken
    both = modern.with_transforms((legacy, *modern.transforms))
    assert choose_proposal([both], [modern]).suite == suite_of(modern)


def test_an_implicit_iv_is_for_esp_only() -> None:
    """RFC 8750 §7: no number in an IKE message does for an IV."""
    both = esp("aes256gcm16iiv-aes256gcm16-noesn")
    chosen = choose_proposal(both, esp("aes256gcm16iiv-noesn"))
    assert chosen.suite.cipher.is_iv_implicit
    (ours,) = ike("aes256gcm16-prfsha256-x25519")
    odd = swapped(ours, Transform(ENCR, 30, 256))
    with pytest.raises(NoProposalChosenError, match="an IKE message has no number"):
        suite_of(odd)
    refuse([odd], [odd])


def test_an_unknown_transform_type_spoils_its_proposal_only() -> None:
    """RFC 7296 §3.3.6: other proposals are processed as usual."""
    offered = ike("aes128-sha256-x25519", "aes128-sha256-x25519")
    strange = extended(offered[0], Transform(6, 1))
    refuse([strange], offered)
    assert choose_proposal([strange, offered[1]], offered).proposal.number == 2


def test_an_unknown_transform_spoils_itself_only() -> None:
    """RFC 7296 §3.3.6: other transforms of the type are processed as usual."""
    (offered,) = ike("aes128-sha256-x25519")
    strange = Transform(ENCR, 0xFF00, 128)
    refuse([swapped(offered, strange)], [offered])
    choice = choose_proposal([extended(offered, strange)], [offered])
    assert transforms_of(choice.proposal, ENCR) == [Transform(ENCR, 12, 128)]


def test_an_unknown_attribute_spoils_its_transform_only() -> None:
    """RFC 7296 §3.3.6: a transform with an attribute we do not understand."""
    (offered,) = ike("aes128-aes256-sha256-x25519")
    choice = choose_proposal([keyed(offered, STRANGE)], [offered])
    assert transforms_of(choice.proposal, ENCR) == [Transform(ENCR, 12, 256)]
    (offered,) = ike("aes128-sha256-x25519")
    refuse([keyed(offered, STRANGE)], [offered])


@pytest.mark.parametrize("kind", [ENCR, PRF, INTEG, KE])
def test_a_missing_type_of_an_ike_proposal(kind: int) -> None:
    """RFC 7296 §3.3.3, §3.3.6: mandatory for IKE, INTEG with a plain cipher."""
    (offered,) = ike("aes128-sha256-x25519")
    refuse([without(offered, kind)], [offered])
    refuse([without(offered, kind)], [without(offered, kind)])


@pytest.mark.parametrize("kind", [ENCR, ESN, INTEG])
def test_a_missing_type_of_an_esp_proposal(kind: int) -> None:
    """RFC 7296 §3.3.3, §3.3.6: mandatory for ESP, INTEG with a plain cipher."""
    (offered,) = esp("aes128-sha256-esn")
    refuse([without(offered, kind)], [offered])
    refuse([without(offered, kind)], [without(offered, kind)])


def test_protocols_are_not_mixed() -> None:
    """RFC 7296 §2.7: the answer has the protocol of the offer; AH we do not have."""
    (offered,) = esp("aes256gcm16")
    refuse([replace(offered, protocol=2)], [offered])
    refuse([replace(offered, protocol=2)], [replace(offered, protocol=2)])
    refuse(ike("aes256gcm16-prfsha256-x25519"), [offered])


def test_nothing_offered_and_nothing_accepted() -> None:
    """RFC 7296 §2.7: rejecting all is an answer."""
    refuse([], ike("aes128-sha256-x25519"))
    refuse(ike("aes128-sha256-x25519"), [])


# --- NONE -----------------------------------------------------------------------------


def test_integrity_none_goes_with_combined_modes() -> None:
    """RFC 7296 §3.3: NONE means the same as leaving integrity out."""
    (plain,) = ike("aes256gcm16-prfsha256-x25519")
    with_none = extended(plain, INTEG_NONE)
    for offered, accepted in [(with_none, plain), (plain, with_none)]:
        choice = choose_proposal([offered], [accepted])
        assert choice.suite == Suite(20, 256, prf=5, ke=31)
        assert transforms_of(choice.proposal, INTEG) == transforms_of(offered, INTEG)


def test_integrity_algorithms_do_not_go_with_combined_modes() -> None:
    """RFC 5282 §8: none may be selected; NONE beside them may."""
    (plain,) = ike("aes256gcm16-prfsha256-x25519")
    refuse([extended(plain, Transform(INTEG, 12))], [plain])
    offered = extended(plain, Transform(INTEG, 12), INTEG_NONE)
    assert choose_proposal([offered], [plain]).suite.integ is None


def test_integrity_none_does_not_go_with_plain_ciphers() -> None:
    """RFC 7296 §3.3.3: a plain cipher never stands alone."""
    (classic,) = ike("aes128-sha256-x25519")
    refuse([swapped(classic, INTEG_NONE)], [classic])
    refuse([swapped(classic, INTEG_NONE)], [swapped(classic, INTEG_NONE)])


def test_both_kinds_of_ciphers_in_one_offer() -> None:
    """RFC 7296 §2.7 wants two proposals; one is taken apart by our own two."""
    offered = parse_ike_proposal("aes128-sha256-x25519")
    offered = offered.with_transforms(
        (Transform(ENCR, 20, 256), *offered.transforms, INTEG_NONE)
    )
    combined, classic = ike("aes256gcm16-prfsha256-x25519", "aes128-sha256-x25519")
    assert choose_proposal([offered], [combined]).suite.integ is None
    assert choose_proposal([offered], [classic]).suite.integ == 12
    # as a policy the mixture gives no valid suite here, and the next one is tried
    assert choose_proposal([offered], [offered, classic]).suite.encr == 12


def test_key_exchange_none_in_a_child_sa() -> None:
    """RFC 7296 §3.3.3, §3.3.6: key exchange is optional for ESP."""
    (plain,) = esp("aes256gcm16")
    (fresh,) = esp("aes256gcm16-x25519")
    optional = extended(fresh, KE_NONE)
    assert choose_proposal([extended(plain, KE_NONE)], [plain]).suite.ke is None
    assert choose_proposal([optional], [plain]).suite.ke is None
    assert choose_proposal([plain], [optional]).suite.ke is None
    assert choose_proposal([optional], [fresh], 31).suite.ke == 31
    refuse([plain], [fresh])
    refuse([extended(plain, KE_NONE)], [fresh])
    refuse([fresh], [plain])


def test_key_exchange_none_in_an_ike_sa() -> None:
    """RFC 7296 §3.3.3: key exchange is mandatory for IKE, so NONE will not do."""
    (offered,) = ike("aes256gcm16-prfsha256-x25519")
    refuse([swapped(offered, KE_NONE)], [offered])
    refuse([swapped(offered, KE_NONE)], [swapped(offered, KE_NONE)])


# --- extended sequence numbers --------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "accepted", "esn"),
    [
        ("aes256gcm16-esn-noesn", "aes256gcm16-esn-noesn", True),
        ("aes256gcm16-noesn-esn", "aes256gcm16-esn-noesn", False),
        ("aes256gcm16-esn-noesn", "aes256gcm16-noesn", False),
        ("aes256gcm16-noesn", "aes256gcm16", False),
    ],
)
def test_sequence_numbers(offered: str, accepted: str, esn: bool) -> None:
    """RFC 7296 §3.3.2: the offer's order among what we accept."""
    assert choose_proposal(esp(offered), esp(accepted)).suite.esn is esn


def test_sequence_numbers_that_do_not_fit() -> None:
    """RFC 7296 §3.3.2: who wants the one kind is not given the other."""
    refuse(esp("aes256gcm16-esn"), esp("aes256gcm16-noesn"))


def test_sequence_numbers_are_nothing_for_ike() -> None:
    """RFC 7296 §3.3.3: a type that IKE does not have is one not understood."""
    (offered,) = ike("aes256gcm16-prfsha256-x25519")
    refuse([extended(offered, Transform(ESN, 0))], [offered])


# --- checking the answer --------------------------------------------------------------


def test_every_choice_offered_is_a_good_answer() -> None:
    """RFC 7296 §2.7: which of the alternatives is the responder's to say."""
    offered = ike("aes128-aes256-sha256-x25519-x448", "chacha20poly1305-prfsha512-x448")
    for text, number in [
        ("aes256-sha256-x448", 1),
        ("aes128-sha256-x25519", 1),
        ("chacha20poly1305-prfsha512-x448", 2),
    ]:
        answer = parse_ike_proposal(text, number)
        assert verify_choice([answer], offered) == suite_of(answer)


OFFERED = ike("aes128-sha256-x25519-x448", "aes256gcm16-prfsha256-x25519")
ANSWER = parse_ike_proposal("aes128-sha256-x25519")
WRONG = {
    "no proposal": (),
    "two proposals": (ANSWER, ANSWER),
    "a number not offered": (replace(ANSWER, number=3),),
    "the number of another proposal": (replace(ANSWER, number=2),),
    "another protocol": (replace(ANSWER, protocol=3),),
    "a cipher not offered": (swapped(ANSWER, Transform(ENCR, 13, 128)),),
    "another key length": (swapped(ANSWER, Transform(ENCR, 12, 256)),),
    "no key length": (swapped(ANSWER, Transform(ENCR, 12)),),
    "a prf not offered": (swapped(ANSWER, Transform(PRF, 7)),),
    "an integrity algorithm not offered": (swapped(ANSWER, Transform(INTEG, 14)),),
    "a method not offered": (swapped(ANSWER, Transform(KE, 19)),),
    "integrity NONE": (swapped(ANSWER, INTEG_NONE),),
    "key exchange NONE": (swapped(ANSWER, KE_NONE),),
    "a type left out: ENCR": (without(ANSWER, ENCR),),
    "a type left out: PRF": (without(ANSWER, PRF),),
    "a type left out: INTEG": (without(ANSWER, INTEG),),
    "a type left out: KE": (without(ANSWER, KE),),
    "a type too many": (extended(ANSWER, Transform(ESN, 0)),),
    "a type nobody knows": (extended(ANSWER, Transform(200, 1)),),
    "two of one type": (extended(ANSWER, Transform(KE, 32)),),
    "one of them twice": (extended(ANSWER, Transform(KE, 31)),),
    "an attribute added": (keyed(ANSWER, STRANGE),),
    "no transform at all": (ANSWER.with_transforms(()),),
    "the whole offer": OFFERED,
    "parts of two proposals": (
        replace(ANSWER, number=2).with_transforms(
            (Transform(ENCR, 20, 256), *ANSWER.transforms[1:])
        ),
    ),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_wrong_answers(answer: tuple[Proposal, ...]) -> None:
    """RFC 7296 §3.3.6: the initiator checks that the answer is one of its offers."""
    assert verify_choice([ANSWER], OFFERED) == suite_of(ANSWER)
    with pytest.raises(NoProposalChosenError):
        verify_choice(answer, OFFERED)


@pytest.mark.parametrize("is_said", [True, False], ids=["NONE", "left out"])
def test_perfect_forward_secrecy_is_not_negotiated_away(is_said: bool) -> None:
    """RFC 7296 §3.3.6: whoever offered only key exchanges is not answered with none."""
    (fresh,) = esp("aes256gcm16-x25519-ecp256-esn")
    answer = swapped(fresh, KE_NONE) if is_said else without(fresh, KE)
    assert suite_of(answer) == Suite(20, 256, esn=True)
    with pytest.raises(NoProposalChosenError):
        verify_choice([answer], [fresh])
    assert verify_choice([answer], [extended(fresh, KE_NONE)]).ke is None


def test_none_may_be_said_or_left_out_in_an_answer() -> None:
    """RFC 7296 §3.3.3: peers differ in how they say that there is none."""
    (plain,) = esp("aes256gcm16-esn")
    for offered in (plain, extended(plain, INTEG_NONE, KE_NONE)):
        for answer in (plain, extended(plain, KE_NONE), extended(plain, INTEG_NONE)):
            assert verify_choice([answer], [offered]) == Suite(20, 256, esn=True)
    strange = replace(KE_NONE, key_bits=1)
    with pytest.raises(NoProposalChosenError):
        verify_choice([extended(plain, strange)], [plain])


# --- properties -----------------------------------------------------------------------

CIPHERS = [(12, 128), (12, 256), (13, 128), (20, 128), (20, 256), (28, None), (3, None)]
some_transforms = st.one_of(
    st.builds(
        lambda cipher: Transform(ENCR, *cipher), st.sampled_from([*CIPHERS, (12, None)])
    ),
    st.builds(Transform, st.just(PRF), st.sampled_from([2, 5, 6, 7])),
    st.builds(Transform, st.just(INTEG), st.sampled_from([0, 2, 12, 13, 14])),
    st.builds(Transform, st.just(KE), st.sampled_from([0, 2, 14, 19, 31])),
    st.builds(Transform, st.just(ESN), st.sampled_from([0, 1, 2])),
)
strange_transforms = st.builds(
    Transform,
    st.integers(1, 7),
    st.integers(0, 40),
    st.sampled_from([None, 128, 256]),
    st.sampled_from([(), (STRANGE,)]),
)
transform_lists = st.lists(
    st.one_of(some_transforms, some_transforms, strange_transforms), max_size=8
)
ike_texts = st.sampled_from(
    [
        "aes128-sha256-x25519",
        "aes128-aes256-aes256ctr-sha256-sha512-prfsha256-x25519-ecp256",
        "aes256gcm16-chacha20poly1305-prfsha384-prfsha256-x25519-modp2048",
    ]
)
esp_texts = st.sampled_from(
    [
        "aes128-sha256",
        "aes256gcm16-x25519-esn",
        "chacha20poly1305-aes128gcm16-ecp256-x25519-noesn-esn",
        "aes128-aes256ctr-sha512-sha256-modp2048",
    ]
)
sensible = st.one_of(
    ike_texts.map(parse_ike_proposal), esp_texts.map(parse_esp_proposal)
)
proposals = st.builds(
    lambda proposal, more, order: proposal.with_transforms(
        tuple(order.sample([*proposal.transforms, *more], len(proposal.transforms)))
        + tuple(more)
    ),
    sensible,
    transform_lists,
    st.randoms(use_true_random=False),
)
some_proposals = st.one_of(sensible, proposals, proposals)
offers = st.lists(some_proposals, min_size=1, max_size=4).map(
    lambda some: with_spi(some, b"offer---")
)


@given(offers, st.lists(some_proposals, max_size=3), st.sampled_from([None, 0, 19, 31]))
def test_whatever_is_chosen_was_offered_and_is_accepted(
    offered: tuple[Proposal, ...], policy: list[Proposal], preferred: int | None
) -> None:
    """RFC 7296 §2.7, §3.3.6: and both sides read the same suite from it."""
    try:
        choice = choose_proposal(offered, policy, preferred)
    except NoProposalChosenError:
        return
    answer = choice.proposal
    kinds = [t.type for t in answer.transforms]
    assert len(set(kinds)) == len(kinds)
    (source,) = [p for p in offered if p.number == answer.number]
    assert set(answer.transforms) <= set(source.transforms)
    assert set(kinds) == {t.type for t in source.transforms}
    real = set(answer.transforms) - {INTEG_NONE, KE_NONE}
    assert any(
        real <= set(p.transforms) and p.protocol == answer.protocol for p in policy
    )
    assert choice.suite == suite_of(answer)
    assert choice.suite.cipher.key_size > 0
    assert verify_choice([answer], offered) == choice.suite


@given(st.lists(some_proposals, min_size=1, max_size=3).map(lambda p: with_spi(p, b"")))
def test_who_offers_its_own_policy_to_itself_agrees(
    proposals: tuple[Proposal, ...],
) -> None:
    """RFC 7296 §2.7: if any proposal gives a suite, two equal peers find one."""
    only = [
        p for p in proposals if len({t.type for t in p.transforms}) == len(p.transforms)
    ]
    for proposal in only:
        try:
            suite = suite_of(proposal)
        except NoProposalChosenError:
            continue
        assert choose_proposal([proposal], [proposal]).suite == suite
        assert verify_choice([proposal], proposals) == suite


@given(offers, offers)
def test_an_arbitrary_answer_is_refused_or_was_offered(
    answer: tuple[Proposal, ...], offered: tuple[Proposal, ...]
) -> None:
    """RFC 7296 §3.3.6: nothing a peer may answer does anything else."""
    try:
        verify_choice(answer[:1], offered)
    except NoProposalChosenError:
        return
    (source,) = [p for p in offered if p.number == answer[0].number]
    real = set(answer[0].transforms) - {INTEG_NONE, KE_NONE}
    assert real <= set(source.transforms)


# --- helpers --------------------------------------------------------------------------


def test_methods_of_every_proposal_count() -> None:
    """RFC 7296 §2.7: INVALID_KE_PAYLOAD may name any method that was offered."""
    offered = esp("aes256gcm16-x25519-ecp256", "aes128-sha256-modp2048", "aes128gcm16")
    assert methods_of(offered) == {31, 19, 14}


def test_ike_auth_offers_no_key_exchange() -> None:
    """RFC 7296 §1.2: there is no KE payload in IKE_AUTH."""
    offered = esp("aes256gcm16-x25519", "aes128-sha256")
    bare = without_key_exchange(offered)
    assert methods_of(bare) == set()
    assert [p.number for p in bare] == [1, 2]
    assert bare[1] == offered[1]


def test_proposals_are_numbered_from_one() -> None:
    """RFC 7296 §3.3.1: and each carries our SPI."""
    offered = with_spi(esp("aes256gcm16", "aes128gcm16")[::-1], b"spi!")
    assert [(p.number, p.spi) for p in offered] == [(1, b"spi!"), (2, b"spi!")]
    assert TransformType.ENCR in {t.type for t in offered[0].transforms}


# --- additional key exchanges ---------------------------------------------------------

ADDKE1, ADDKE2, ADDKE7 = 6, 7, 12
(HYBRID_BASE,) = ike("aes256gcm16-prfsha256-x25519")
ML_KEM = Transform(ADDKE1, 36)
OPTIONAL = Transform(ADDKE1, 0)


def test_additional_key_exchanges_are_chosen_in_their_order() -> None:
    """RFC 9370 §2.2.1: one of each type, and the suite has them as they take place."""
    both = extended(HYBRID_BASE, Transform(ADDKE2, 19), ML_KEM)
    choice = choose_proposal([both], [both])
    assert choice.suite.additional_ke == (36, 19)
    assert choice.proposal == both
    assert verify_choice([choice.proposal], [both]) == choice.suite


def test_an_optional_exchange_may_be_none() -> None:
    """RFC 9370 §2.2.1: NONE makes it optional; the answer says which it is."""
    offered = extended(HYBRID_BASE, ML_KEM, OPTIONAL)
    both = choose_proposal([offered], [extended(HYBRID_BASE, OPTIONAL, ML_KEM)])
    assert both.suite.additional_ke == (36,)
    plain = choose_proposal([offered], [HYBRID_BASE])
    assert plain.suite.additional_ke == ()
    assert OPTIONAL in plain.proposal.transforms
    assert verify_choice([plain.proposal], [offered]) == plain.suite
    old_peer = HYBRID_BASE  # it offers nothing of the kind
    optional = extended(HYBRID_BASE, ML_KEM, OPTIONAL)
    assert choose_proposal([old_peer], [optional]).suite.additional_ke == ()
    assert verify_choice([old_peer], [optional]).additional_ke == ()


def test_a_mandatory_exchange_is_no_option() -> None:
    """RFC 9370 §2.2.1: without NONE, a peer that lacks it takes another proposal."""
    hybrid = extended(HYBRID_BASE, ML_KEM)
    refuse([hybrid], [HYBRID_BASE])
    refuse([HYBRID_BASE], [hybrid])
    refuse([extended(HYBRID_BASE, Transform(ADDKE1, 37))], [hybrid])
    refuse([extended(HYBRID_BASE, Transform(ADDKE2, 36))], [hybrid])
    with pytest.raises(NoProposalChosenError):
        verify_choice([HYBRID_BASE], [hybrid])
    with pytest.raises(NoProposalChosenError):
        verify_choice([hybrid], [HYBRID_BASE])


def test_no_method_serves_twice() -> None:
    """RFC 9370 §2.2.1: what is taken is passed over, and what cannot be is refused."""
    offered = extended(
        HYBRID_BASE,
        Transform(KE, 19),
        Transform(ADDKE1, 31),
        Transform(ADDKE1, 36),
        Transform(ADDKE2, 36),
    )
    # KE 31 would leave ADDKE1 36 and then nothing for ADDKE2
    assert choose_proposal([offered], [offered]).suite == Suite(
        20, 256, prf=5, ke=19, additional_ke=(31, 36)
    )
    twice = extended(HYBRID_BASE, Transform(ADDKE1, 31))
    refuse([twice], [twice])
    with pytest.raises(NoProposalChosenError, match="twice"):
        verify_choice([twice], [twice])


def test_the_same_offer_again_and_again_is_looked_at_once() -> None:
    """A peer's repetitions do not multiply: only what we accept is tried."""
    many = [Transform(kind, 31) for kind in range(ADDKE1, ADDKE7 + 1)] * 30
    offered = extended(HYBRID_BASE, *many)
    refuse([offered], [offered])


def test_additional_to_nothing() -> None:
    """RFC 9370 §2.2.1: a Child SA without a first key exchange has no second."""
    (plain,) = esp("aes256gcm16-esn")
    alone = extended(plain, ML_KEM)
    refuse([alone], [alone])
    with pytest.raises(NoProposalChosenError, match="without a first one"):
        suite_of(alone)


def test_ike_auth_offers_no_additional_key_exchange() -> None:
    """RFC 9370 §2.2.3: the first Child SA has no key exchange at all."""
    (plain,) = esp("aes256gcm16-x25519-esn")
    (bare,) = without_key_exchange([extended(plain, ML_KEM, Transform(ADDKE7, 37))])
    assert {t.type for t in bare.transforms} == {ENCR, ESN}


def test_what_is_left_without_the_exchange_for_it() -> None:
    """RFC 9370 §2.2.1: to whom the types are unknown, NONE is unknown, too."""
    hybrid = extended(HYBRID_BASE, ML_KEM)
    none = extended(HYBRID_BASE, OPTIONAL)
    assert has_additional(hybrid)
    assert has_additional(none)
    assert not has_additional(HYBRID_BASE)
    assert without_additional([hybrid, none, HYBRID_BASE]) == (HYBRID_BASE,)
