"""Choosing one suite out of what the initiator offers and we accept.

An SA payload is a list of proposals, the most preferred first; inside a proposal the
transforms of one type are alternatives, and one of each type must be taken. The
responder answers with one proposal holding one transform of each type. Additional key
exchanges are types of their own, each of which may be NONE; no method serves twice.

Source: RFC 7296 §2.7
Source: RFC 7296 §3.3
Source: RFC 7296 §3.3.6
Source: RFC 9370 §2.2.1
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from iketcp.crypto.ciphers import cipher_spec
from iketcp.crypto.suite import Suite
from iketcp.errors import NoProposalChosenError
from iketcp.ike.proposals import Proposal, Transform
from iketcp.registry import (
    ADDITIONAL_KEY_EXCHANGES,
    ExtendedSequenceNumbers,
    IntegrityAlgorithm,
    KeyExchangeMethod,
    ProtocolId,
    TransformType,
)

_MANDATORY: Mapping[int, frozenset[int]] = {
    ProtocolId.IKE: frozenset(
        {TransformType.ENCR, TransformType.PRF, TransformType.KE}
    ),
    ProtocolId.ESP: frozenset({TransformType.ENCR, TransformType.ESN}),
}
"""Types that every suite of a protocol has. Integrity is not among them: whether it is
needed depends on the cipher. Source: RFC 7296 §3.3.3."""

_NONE: Mapping[int, Transform] = {
    TransformType.INTEG: Transform(TransformType.INTEG, IntegrityAlgorithm.NONE),
    **{
        kind: Transform(kind, KeyExchangeMethod.NONE)
        for kind in (TransformType.KE, *ADDITIONAL_KEY_EXCHANGES)
    },
}
"""NONE by type: it means the same as leaving the type out.

Source: RFC 7296 §3.3.3, RFC 9370 §2.2.1
"""

_KEY_EXCHANGES = frozenset({TransformType.KE, *ADDITIONAL_KEY_EXCHANGES})


@dataclass(frozen=True, slots=True)
class Choice:
    """What was agreed."""

    proposal: Proposal
    """The answer: one transform of each type; the SPI is still the offer's."""
    suite: Suite


def transforms_of(proposal: Proposal, kind: int) -> list[Transform]:
    """Return the transforms of one type, in order."""
    return [t for t in proposal.transforms if t.type == kind]


def methods_of(proposals: Iterable[Proposal]) -> set[int]:
    """Return every key exchange method offered."""
    return {t.id for p in proposals for t in transforms_of(p, TransformType.KE)}


def without_key_exchange(proposals: Iterable[Proposal]) -> tuple[Proposal, ...]:
    """Drop every key exchange transform: IKE_AUTH carries no KE payload.

    Source: RFC 7296 §1.2, RFC 9370 §2.2.3
    """
    return tuple(
        p.with_transforms(
            tuple(t for t in p.transforms if t.type not in _KEY_EXCHANGES)
        )
        for p in proposals
    )


def has_additional(proposal: Proposal) -> bool:
    """Tell whether a proposal knows additional key exchanges, be it only as NONE.

    Source: RFC 9370 §2.2.1
    """
    return any(t.type in ADDITIONAL_KEY_EXCHANGES for t in proposal.transforms)


def without_additional(proposals: Iterable[Proposal]) -> tuple[Proposal, ...]:
    """Pass over proposals with an additional key exchange, even where NONE will do.

    For an IKE_SA_INIT whose initiator does not offer the exchange in which they take
    place: to it they are transforms of an unknown type.

    Source: RFC 9370 §2.2.1, RFC 7296 §3.3.6
    """
    return tuple(p for p in proposals if not has_additional(p))


def with_spi(proposals: Iterable[Proposal], spi: bytes) -> tuple[Proposal, ...]:
    """Number the proposals from 1 and put our SPI into each.

    Source: RFC 7296 §3.3.1
    """
    return tuple(
        p.with_number_and_spi(number, spi) for number, p in enumerate(proposals, 1)
    )


def suite_of(proposal: Proposal) -> Suite:
    """Read a suite from a proposal that has one transform of each type.

    Raises
    ------
    NoProposalChosenError
        A mandatory type is missing or NONE, a type is doubled, a key exchange method
        serves twice, additional ones have none before them, the combination is not one
        we have, or it is one that only ESP can use.

    Source: RFC 7296 §3.3.3, RFC 8750 §7, RFC 9370 §2.2.1
    """
    by_type: dict[int, Transform] = {}
    for transform in proposal.transforms:
        if transform.type in by_type:
            raise NoProposalChosenError(f"two transforms of type {transform.type}")
        by_type[transform.type] = transform
    ids = {kind: t.id for kind, t in by_type.items() if t != _NONE.get(kind)}
    mandatory = _MANDATORY.get(proposal.protocol)
    if mandatory is None:
        raise NoProposalChosenError(f"no SA of protocol {proposal.protocol}")
    if missing := mandatory - ids.keys():
        raise NoProposalChosenError(f"no transform of type {min(missing)}")
    encr = by_type[TransformType.ENCR]
    suite = Suite(
        encr=encr.id,
        key_bits=encr.key_bits,
        prf=ids.get(TransformType.PRF),
        integ=ids.get(TransformType.INTEG),
        ke=ids.get(TransformType.KE),
        esn=ids.get(TransformType.ESN) == ExtendedSequenceNumbers.ESN,
        additional_ke=tuple(ids[k] for k in ADDITIONAL_KEY_EXCHANGES if k in ids),
    )
    if suite.additional_ke:
        _check_methods(suite)
    try:
        spec = cipher_spec(suite.encr, suite.key_bits, suite.integ)
    except ValueError as error:
        raise NoProposalChosenError(str(error)) from error
    if spec.is_iv_implicit and proposal.protocol == ProtocolId.IKE:
        raise NoProposalChosenError("an IKE message has no number to make an IV of")
    return suite


def _check_methods(suite: Suite) -> None:
    """Hold additional key exchanges to what they may be. Source: RFC 9370 §2.2.1."""
    if suite.ke is None:
        raise NoProposalChosenError("additional key exchanges without a first one")
    methods = (suite.ke, *suite.additional_ke)
    if len(set(methods)) < len(methods):
        raise NoProposalChosenError("a key exchange method serves twice")


def choose_proposal(
    offered: Sequence[Proposal],
    policy: Sequence[Proposal],
    preferred_ke: int | None = None,
) -> Choice:
    """Choose a suite as the responder.

    Choice: the initiator's order decides, proposal by proposal and transform by
    transform; but where several key exchange methods are acceptable, the one whose KE
    payload is already there may save a round trip. That is for CREATE_CHILD_SA only: in
    the clear a forged INVALID_KE_PAYLOAD could have led the initiator to it. A method
    that is taken already is passed over.

    Parameters
    ----------
    offered : Sequence[Proposal]
        The SA payload's proposals.
    policy : Sequence[Proposal]
        What we accept.
    preferred_ke : int or None
        The method of the KE payload that came along; ``None``: it does not matter.

    Raises
    ------
    NoProposalChosenError
        No proposal is acceptable. One of which we do not understand a transform type
        or every transform of a type is passed over, not an error.

    Source: RFC 7296 §1.2, RFC 7296 §2.7, RFC 7296 §3.3.6
    """
    for proposal in offered:
        for accepted in policy:
            answer = _match(proposal, accepted, preferred_ke)
            if answer is not None:
                try:
                    return Choice(answer, suite_of(answer))
                except NoProposalChosenError:
                    continue
    raise NoProposalChosenError("no common proposal")


def _match(
    offered: Proposal, accepted: Proposal, preferred_ke: int | None
) -> Proposal | None:
    """Take one transform of each offered type, or none at all if one has no match."""
    if offered.protocol != accepted.protocol:
        return None
    options = [
        _match_type(kind, offered, accepted, preferred_ke)
        for kind in dict.fromkeys(t.type for t in offered.transforms)
    ]
    chosen = _take_one_each(options, frozenset())
    if chosen is None:
        return None
    answer = offered.with_transforms(chosen)
    # a type that we demand and the peer left out is a mismatch too
    return answer if _covers(answer, accepted) else None


def _take_one_each(
    options: Sequence[Sequence[Transform]], taken: frozenset[int]
) -> tuple[Transform, ...] | None:
    """Take the first transform of each type that leaves one for all the others.

    Only key exchanges get into each other's way: no two are of one method.

    Source: RFC 7296 §2.7, RFC 9370 §2.2.1
    """
    if not options:
        return ()
    for transform in options[0]:
        used = taken
        if transform.type in _KEY_EXCHANGES and transform.id != KeyExchangeMethod.NONE:
            if transform.id in taken:
                continue
            used = taken | {transform.id}
        rest = _take_one_each(options[1:], used)
        if rest is not None:
            return (transform, *rest)
    return None


def _match_type(
    kind: int, offered: Proposal, accepted: Proposal, preferred_ke: int | None
) -> list[Transform]:
    """Return the acceptable transforms of one type; of most, the first will do.

    A type we do not understand has none, for no policy of ours names it. What is
    offered twice counts once, so there are no more than our policy has.

    Source: RFC 7296 §3.3.6
    """
    offers = dict.fromkeys(transforms_of(offered, kind))
    candidates = [t for t in offers if _accepts(accepted, t)]
    if kind == TransformType.KE:
        candidates.sort(key=lambda t: t.id != preferred_ke)
    return candidates if kind in _KEY_EXCHANGES else candidates[:1]


def _accepts(proposal: Proposal, transform: Transform) -> bool:
    """Tell whether our ``proposal`` has ``transform``, or says NONE by its silence.

    Equal means every attribute too, so one with an attribute that we do not understand
    is never among ours. Source: RFC 7296 §3.3.6
    """
    if transform in proposal.transforms:
        return True
    is_none = transform == _NONE.get(transform.type)
    return is_none and not transforms_of(proposal, transform.type)


def verify_choice(answer: Sequence[Proposal], offered: Sequence[Proposal]) -> Suite:
    """Check the responder's answer against what we offered.

    Raises
    ------
    NoProposalChosenError
        Not exactly one proposal, or one that we did not offer.

    Source: RFC 7296 §2.7, RFC 7296 §3.3.6
    """
    if len(answer) != 1:
        raise NoProposalChosenError(f"{len(answer)} proposals in the answer")
    (chosen,) = answer
    for proposal in offered:
        if (
            chosen.number == proposal.number
            and chosen.protocol == proposal.protocol
            and all(_accepts(proposal, t) for t in chosen.transforms)
            and _covers(chosen, proposal)
        ):
            return suite_of(chosen)
    raise NoProposalChosenError("the answer is not among our proposals")


def _covers(chosen: Proposal, ours: Proposal) -> bool:
    """Tell whether ``chosen`` has every type of our proposal, but where NONE will do.

    Source: RFC 7296 §2.7
    """
    present = {t.type for t in chosen.transforms}
    return all(
        t.type in present or _NONE.get(t.type) in ours.transforms
        for t in ours.transforms
    )
