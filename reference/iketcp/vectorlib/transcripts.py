"""The file ``exchange_transcripts_test.json``: whole sessions, octet for octet.

Source: RFC 7296 §1.2, RFC 7296 §1.3, RFC 7296 §1.4, RFC 9329 §6.1, RFC 9329 §6.2
"""

from collections.abc import Iterator
from ipaddress import ip_address

from iketcp.vectorlib.assembly import case, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile
from iketcp.vectorlib.transcript_cases import CASES, SUITES, Session
from iketcp.vectorlib.transcript_configuration import policy_of
from iketcp.vectorlib.transcript_notes import HEADER, NOTES
from iketcp.vectorlib.transcript_reader import Transcript
from iketcp.vectorlib.wiring import EAST, SIDES, WEST, Wiring, other

NAME = "exchange_transcripts"


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §1.2
    """
    tests = [*map(record, sessions())]
    groups = [group("Transcript", "iketcp/transcripts", tests)]
    return vector_file(NAME, "IKE-TCP-SESSION", HEADER, NOTES, groups)


def sessions() -> Iterator[Session]:
    """Every session: one of each suite, then one of each kind of exchange."""
    yield from SUITES
    yield from CASES


def record(session: Session) -> Json:
    """Play a session and write it down."""
    secret = octets(f"{session.comment} pre-shared key", 32)
    parties = {WEST: session.west, EAST: session.east}
    policies = {
        side: policy_of(parties[side], parties[other(side)], secret) for side in SIDES
    }
    addresses = dict(zip(SIDES, session.addresses, strict=True))
    wiring = Wiring(policies, addresses, session.comment)
    session.script(wiring)
    wiring.settle()
    read = Transcript(wiring)
    return case(
        session.comment,
        session.flags,
        session.spec,
        requirement=session.requirement,
        outerVersion=ip_address(session.addresses[0]).version,
        preSharedKey=secret,
        west={**session.west, "entropy": wiring.entropy[WEST].draws},
        east={**session.east, "entropy": wiring.entropy[EAST].draws},
        steps=read.steps,
        ikeSas=read.ike_sas,
        childSas=read.child_sas,
    )
