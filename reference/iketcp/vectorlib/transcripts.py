"""The file ``exchange_transcripts_test.json``: whole sessions, octet for octet.

Source: RFC 7296 §1.2, RFC 7296 §1.3, RFC 7296 §1.4, RFC 9329 §6.1, RFC 9329 §6.2
"""

from collections.abc import Iterator
from ipaddress import ip_address

from iketcp.ike.policy import IkePolicy
from iketcp.vectorlib import (
    transcript_cases_authentication,
    transcript_cases_datagrams,
    transcript_cases_further,
    transcript_cases_more,
    transcript_cases_refusals,
)
from iketcp.vectorlib.assembly import case, group, octets, vector_file
from iketcp.vectorlib.datagram_wiring import FRAGMENT_SIZE, DatagramWiring
from iketcp.vectorlib.envelope import Json, VectorFile
from iketcp.vectorlib.transcript_cases import CASES, SUITES, Session, W
from iketcp.vectorlib.transcript_configuration import policy_of
from iketcp.vectorlib.transcript_notes import HEADER, NOTES
from iketcp.vectorlib.transcript_reader import Transcript
from iketcp.vectorlib.wiring import DATE, EAST, SIDES, WEST, Wiring, other

NAME = "exchange_transcripts"


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §1.2
    """
    source, date = "iketcp/transcripts", DATE.isoformat()
    over_udp = transcript_cases_datagrams.CASES
    groups = [
        group("Transcript", source, [*map(record, sessions())], date=date),
        group(
            "DatagramTranscript",
            source,
            [*map(record_datagrams, over_udp)],
            date=date,
            fragmentSize=FRAGMENT_SIZE,
        ),
    ]
    return vector_file(NAME, "IKE-SESSION", HEADER, NOTES, groups)


def sessions() -> Iterator[Session[Wiring]]:
    """Every session over TCP: one of each suite, then one of each kind."""
    yield from SUITES
    yield from CASES
    yield from transcript_cases_authentication.CASES
    yield from transcript_cases_more.CASES
    yield from transcript_cases_refusals.CASES
    yield from transcript_cases_further.CASES


def record(session: Session[Wiring]) -> Json:
    """Play a session over TCP and write it down."""
    policies = _policies(session)
    inside, outside = (
        dict(zip(SIDES, ends, strict=True))
        for ends in (session.addresses, session.outside or session.addresses)
    )
    wiring = Wiring(policies, inside, session.comment, outside)
    session.script(wiring)
    wiring.settle()
    return _written(session, wiring)


def record_datagrams(session: Session[DatagramWiring]) -> Json:
    """Play a session over UDP and write it down."""
    addresses = dict(zip(SIDES, session.addresses, strict=True))
    policies = _policies(session, is_fragmented=True)
    wiring = DatagramWiring(policies, addresses, session.comment)
    session.script(wiring)
    wiring.settle()
    return _written(session, wiring)


def _secret(session: Session[W]) -> bytes:
    return octets(f"{session.comment} pre-shared key", 32)


def _policies(session: Session[W], is_fragmented: bool = False) -> dict[str, IkePolicy]:
    parties, secret = {WEST: session.west, EAST: session.east}, _secret(session)
    return {
        side: policy_of(parties[side], parties[other(side)], secret, is_fragmented)
        for side in SIDES
    }


def _written(session: Session[W], wiring: W) -> Json:
    proof = session.west["authentication"] or {"eap": None}
    password = proof["eap"]["password"] if proof["eap"] else ""
    read = Transcript(wiring, password)
    return case(
        session.comment,
        session.flags,
        session.spec,
        requirement=session.requirement,
        outerVersion=ip_address(session.addresses[0]).version,
        preSharedKey=_secret(session),
        west={**session.west, "entropy": wiring.entropy[WEST].draws},
        east={**session.east, "entropy": wiring.entropy[EAST].draws},
        steps=read.steps,
        ikeSas=read.ike_sas,
        childSas=read.child_sas,
        msk=read.msk,
    )
