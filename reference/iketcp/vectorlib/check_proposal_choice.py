"""Runs ``proposal_choice_test.json`` against our negotiation.

Source: RFC 7296 §2.7, RFC 7296 §3.3.6
"""

from iketcp.errors import NoProposalChosenError
from iketcp.ike.negotiation import choose_proposal, verify_choice
from iketcp.ike.proposals import Proposal, Transform, decode_proposals
from iketcp.octets import Reader
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, *CHECKED):
        found += CHECKED[group["type"]](group, test)
    return found


def read(proposals: list[Json]) -> list[Proposal]:
    """Make our proposals of a file's; without attributes nobody knows."""
    return [
        Proposal(
            one["number"],
            one["protocol"],
            bytes.fromhex(one["spi"]),
            tuple(
                Transform(part["type"], part["id"], part["keyBits"])
                for part in one["transforms"]
            ),
        )
        for one in proposals
    ]


def write(proposal: Proposal) -> Json:
    """Make a file's proposal of ours."""
    return {
        "number": proposal.number,
        "protocol": proposal.protocol,
        "spi": proposal.spi.hex(),
        "transforms": [
            {
                "type": part.type,
                "id": part.id,
                "keyBits": part.key_bits,
                "otherAttributes": b"".join(
                    one.encode() for one in part.unknown_attributes
                ).hex(),
            }
            for part in proposal.transforms
        ],
    }


def check_selection(group: Json, test: Json) -> list[str]:
    """Choose from an offer as it was decoded from its octets."""
    octets = bytes.fromhex(test["offerOctets"])
    offer = decode_proposals(Reader(octets, 0, len(octets)))
    found = compare(test, "offer", [write(one) for one in offer])
    try:
        choice = choose_proposal(offer, read(test["policy"]), test["preferredKe"])
    except NoProposalChosenError:
        return found + compare(test, "choice", None)
    return found + compare(test, "choice", write(choice.proposal))


def check_answer(group: Json, test: Json) -> list[str]:
    """Compare an answer with what was offered."""
    try:
        verify_choice(read(test["answer"]), read(test["offer"]))
    except NoProposalChosenError:
        return compare(test, "error", "NoProposalChosen")
    return compare(test, "error", None)


CHECKED = {
    "ProposalSelection": check_selection,
    "ProposalAnswer": check_answer,
}
"""What checks a test, by the type of its group."""
