"""The file ``proposal_choice_test.json`` against every suite, tried one by one."""

import itertools
import struct

from iketcp.vectorlib import check_proposal_choice
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped, unnoticed

Suite = dict[int, tuple[int, int | None]]
COMBINED = {20, 28}
NEEDED = {1: {1, 2, 4}, 3: {1, 5}}
ADDITIONAL = set(range(6, 13))


def suites(proposal: Json) -> list[Suite]:
    """List every combination of a proposal, one transform of each type."""
    by_type: dict[int, list[tuple[int, int, int | None]]] = {}
    for one in proposal["transforms"]:
        value = (one["type"], one["id"], one["keyBits"])
        if one["otherAttributes"]:
            value = (one["type"], -1, None)  # equal to nothing
        by_type.setdefault(one["type"], []).append(value)
    return [
        {kind: (number, bits) for kind, number, bits in combination}
        for combination in itertools.product(*by_type.values())
    ]


def meaning(suite: Suite) -> Suite:
    """Leave NONE out, for integrity and key exchanges."""
    return {k: v for k, v in suite.items() if k not in (3, 4, *ADDITIONAL) or v[0] != 0}


def is_sound(protocol: int, suite: Suite) -> bool:
    """Tell whether a suite has what its protocol demands. Source: RFC 7296 §3.3.3."""
    means = meaning(suite)
    if not NEEDED.get(protocol, {0}) <= set(means):
        return False
    methods = [means[kind][0] for kind in (4, *ADDITIONAL) if kind in means]
    is_alone = 4 not in means and not ADDITIONAL.isdisjoint(means)
    if is_alone or len(methods) != len(set(methods)):  # RFC 9370 §2.2.1
        return False
    cipher, bits = means[1]
    has_good_size = bits is None if cipher == 28 else bits in (128, 192, 256)
    return has_good_size and (3 in means) != (cipher in COMBINED)


def choices(offer: list[Json], policy: list[Json]) -> list[tuple[int, Suite]]:
    """List every right answer: number of the proposal, and suite."""
    allowed = [
        (one["protocol"], meaning(suite)) for one in policy for suite in suites(one)
    ]
    return [
        (one["number"], suite)
        for one in offer
        for suite in suites(one)
        if (one["protocol"], meaning(suite)) in allowed
        and is_sound(one["protocol"], suite)
    ]


def test_choice_is_right() -> None:
    """RFC 7296 §2.7: among all right answers; the only one where it is valid."""
    for _, test in grouped("proposal_choice", "ProposalSelection"):
        right = choices(test["offer"], test["policy"])
        if test["result"] == "invalid":
            assert right == [], test["tcId"]
            continue
        chosen = (test["choice"]["number"], suites(test["choice"])[0])
        assert len(suites(test["choice"])) == 1
        assert chosen in right, test["tcId"]
        assert (len(right) == 1) == (test["result"] == "valid"), test["tcId"]


def test_answers() -> None:
    """RFC 7296 §2.7: an answer is good if it is one of the suites of its proposal."""
    for _, test in grouped("proposal_choice", "ProposalAnswer"):
        is_good = False
        if len(test["answer"]) == 1:
            (answer,) = test["answer"]
            kinds = [one["type"] for one in answer["transforms"]]
            is_good = len(kinds) == len(set(kinds)) and any(
                one["number"] == answer["number"]
                and one["protocol"] == answer["protocol"]
                and meaning(suites(answer)[0]) in map(meaning, suites(one))
                and is_sound(answer["protocol"], suites(answer)[0])
                for one in test["offer"]
            )
        assert is_good == (test["result"] == "valid"), test["tcId"]


def test_octets_are_the_offer() -> None:
    """RFC 7296 §3.3: read with struct, back into the same proposals."""
    for _, test in grouped("proposal_choice", "ProposalSelection"):
        rest, proposals = bytes.fromhex(test["offerOctets"]), []
        while rest:
            more, size, number, protocol, spi_size, count = struct.unpack_from(
                ">BxHBBBB", rest
            )
            body, rest = rest[8:size], rest[size:]
            assert more == (2 if rest else 0)
            spi, body, found = body[:spi_size], body[spi_size:], []
            while body:
                more, size, kind, identity = struct.unpack_from(">BxHBxH", body)
                attributes, body = body[8:size], body[size:]
                assert more == (3 if body else 0)
                bits = None
                if attributes[:2] == b"\x80\x0e":
                    bits = int.from_bytes(attributes[2:4], "big")
                    attributes = attributes[4:]
                found.append(
                    {
                        "type": kind,
                        "id": identity,
                        "keyBits": bits,
                        "otherAttributes": attributes.hex(),
                    }
                )
            assert len(found) == count
            proposals.append(
                {
                    "number": number,
                    "protocol": protocol,
                    "spi": spi.hex(),
                    "transforms": found,
                }
            )
        assert proposals == test["offer"], test["tcId"]


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_proposal_choice.problems(document("proposal_choice")) == []
    assert unnoticed("proposal_choice", "ProposalSelection", "choice") == []
    assert unnoticed("proposal_choice", "ProposalAnswer", "error") == []
