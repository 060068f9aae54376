"""The file ``ike_message_test.json``: IKE messages as octets and as named fields.

Source: RFC 7296 §3, RFC 7296 §2.5, RFC 7296 §2.21, RFC 9329 §6.1
"""

from collections.abc import Iterable

from iketcp.vectorlib.envelope import VectorFile
from iketcp.vectorlib.message_case import Case, MessageGroup, as_test
from iketcp.vectorlib.message_cases import valid
from iketcp.vectorlib.message_cases_broken import broken
from iketcp.vectorlib.message_cases_childless import childless
from iketcp.vectorlib.message_cases_crash import crash_detection
from iketcp.vectorlib.message_cases_eap import eap_rounds
from iketcp.vectorlib.message_cases_fragment import fragmentation
from iketcp.vectorlib.message_cases_kem import further_exchanges, key_encapsulation
from iketcp.vectorlib.message_cases_lifetime import lifetimes
from iketcp.vectorlib.message_cases_null import proofs
from iketcp.vectorlib.message_cases_open import odd
from iketcp.vectorlib.message_cases_ppk import ppks
from iketcp.vectorlib.message_cases_puzzle import puzzles, wrong_solutions
from iketcp.vectorlib.message_cases_sa import implicit_iv
from iketcp.vectorlib.message_cases_twice import twice
from iketcp.vectorlib.message_notes import HEADER, NOTES

NAME = "ike_message"
SCHEMA = "ike_message_schema_v1.json"
VERSION = "1"


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §3
    """
    cases = [*valid(), *odd(), *broken(), *puzzles(), *wrong_solutions()]
    cases += [*implicit_iv(), *fragmentation(), *crash_detection(), *eap_rounds()]
    cases += key_encapsulation()
    cases += proofs()
    cases += further_exchanges()
    cases += ppks()
    cases += childless()
    cases += twice()
    cases += lifetimes()
    groups: list[MessageGroup] = []
    count = 0
    for is_protected in (False, True):
        found = _distinct(case for case in cases if case.is_protected == is_protected)
        tests = [as_test(case, number) for number, case in enumerate(found, count + 1)]
        count += len(tests)
        groups.append(
            {
                "type": "MessageCodec",
                "source": {"name": "iketcp/messages", "version": VERSION},
                "protected": is_protected,
                "tests": tests,
            }
        )
    return {
        "algorithm": "IKEV2-MESSAGE",
        "schema": SCHEMA,
        "numberOfTests": count,
        "header": HEADER,
        "notes": NOTES,
        "testGroups": groups,
    }


def _distinct(cases: Iterable[Case]) -> list[Case]:
    """Leave out cases whose octets an earlier one has: grids of cases overlap."""
    found: dict[bytes, Case] = {}
    for case in cases:
        found.setdefault(case.octets, case)
    return list(found.values())
