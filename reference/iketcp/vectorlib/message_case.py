"""One message test before it has a number, and what a receiver does about it.

The reaction follows from four things that a test shows: the error, whether the payloads
came under protection, whether the message is a response, and its exchange.

Source: RFC 7296 §2.5, RFC 7296 §2.21, RFC 9329 §6.1
"""

from dataclasses import dataclass
from typing import TypedDict

from iketcp.vectorlib.envelope import VectorGroup, VectorTest
from iketcp.vectorlib.message_parts import (
    INITIATOR,
    RESPONSE,
    Fields,
    Head,
    Part,
    first_type,
    message,
    number,
)

MALFORMED = "MalformedMessage"
CRITICAL = "UnsupportedCriticalPayload"
MAJOR = "InvalidMajorVersion"

INVALID_SYNTAX = 7
NOTIFY_TYPES = {MALFORMED: INVALID_SYNTAX, CRITICAL: 1, MAJOR: 5}
IKE_AUTH = 35

INIT = Head(34, 0, INITIATOR, spi_r=bytes(8))
INIT_RESPONSE = Head(34, 0, RESPONSE)
AUTH_REQUEST = Head(IKE_AUTH, 1)
AUTH_RESPONSE = Head(IKE_AUTH, 1, RESPONSE)
CREATE = Head(36, 2)
CREATE_RESPONSE = Head(36, 2, RESPONSE)
INFO = Head(37, 3)
INFO_RESPONSE = Head(37, 3, RESPONSE)


class Answer(TypedDict):
    """The Notify that answers a request which is refused."""

    notifyType: int
    data: str


class MessageTest(VectorTest):
    """One message, its fields, and how they are written again."""

    octets: str
    fields: Fields | None
    encoded: str | None
    answer: Answer | None


class MessageGroup(VectorGroup):
    """Tests of messages as they come, or of what was inside Encrypted payloads."""

    protected: bool


@dataclass(frozen=True, slots=True)
class Case:
    """A test before it has a number."""

    comment: str
    flags: str
    """Names of notes, separated by spaces."""
    spec: str
    """Sections of RFC 7296, separated by spaces; others as ``7383:2.5``."""
    head: Head
    parts: tuple[Part, ...] = ()
    is_protected: bool = False
    """The payloads were inside an Encrypted payload."""
    tail: bytes = b""
    """Octets behind the payloads, counted in the header's Length."""
    error: str | None = None
    is_open: bool = False
    """The RFC leaves it open: the result is ``acceptable``."""
    is_dropped: bool = False
    """Nothing in the header can be relied on, so there is nobody to answer."""
    is_never_sent: bool = False
    """No sender that follows the RFC writes these fields."""
    cut: int | None = None
    """Octets that are left of the message, at the end of which others are missing."""
    is_refitted: bool = False
    """The header's Length counts what the cut leaves."""
    critical_type: int = 0
    requirement: str = ""

    @property
    def octets(self) -> bytes:
        """The message."""
        whole = message(self.head, self.parts, self.tail)[: self.cut]
        if self.is_refitted:
            return whole[:24] + number(len(whole), 4) + whole[28:]
        return whole

    @property
    def tree(self) -> Fields:
        """The message as a JSON object."""
        header = self.head.tree(first_type(self.parts), len(self.octets))
        return {"header": header, "payloads": [part.tree for part in self.parts]}

    @property
    def result(self) -> str:
        """Valid, invalid or acceptable."""
        if self.is_open:
            return "acceptable"
        return "invalid" if self.error else "valid"

    @property
    def reaction(self) -> str | None:
        """What a receiver does. Source: RFC 7296 §2.21."""
        if self.error is None:
            return None
        if self.error == MAJOR:
            return "drop" if self.head.is_response else "answer"
        if self.is_dropped:
            return "drop"
        if not self.is_protected:
            return "answer" if self.head.is_first_request else "drop"
        if self.head.is_response:
            return "end-ike-sa"
        is_fatal = self.error == MALFORMED or self.head.exchange == IKE_AUTH
        return "answer-and-end-ike-sa" if is_fatal else "answer"

    @property
    def answer(self) -> Answer | None:
        """The Notify of the answer, if there is one."""
        if self.error is None or not (self.reaction or "").startswith("answer"):
            return None
        data = bytes([self.critical_type]) if self.error == CRITICAL else b""
        return {"notifyType": NOTIFY_TYPES[self.error], "data": data.hex()}

    @property
    def requirements(self) -> list[str]:
        """Ids of the ledger."""
        found = self.requirement.split()
        if self.reaction == "answer-and-end-ike-sa" and self.error == MALFORMED:
            found.append("9329-6.1-syntax")
        return found

    @property
    def sections(self) -> list[str]:
        """Sections, as citations."""
        found = []
        for section in self.spec.split():
            rfc, _, name = section.rpartition(":")
            found.append(f"RFC {rfc or '7296'} §{name}")
        if self.reaction not in (None, "drop"):
            found.append("RFC 7296 §2.21")
        return sorted(dict.fromkeys(found))


def as_test(case: Case, tc_id: int) -> MessageTest:
    """Give a case its number and write it out."""
    is_read = case.error is None
    sent = message(case.head, case.parts, case.tail, is_sent=True).hex()
    return {
        "tcId": tc_id,
        "comment": case.comment,
        "flags": case.flags.split(),
        "spec": case.sections,
        "requirement": case.requirements,
        "octets": case.octets.hex(),
        "fields": case.tree if is_read else None,
        "encoded": sent if is_read and not case.is_never_sent else None,
        "result": case.result,
        "error": case.error,
        "reaction": case.reaction,
        "answer": case.answer,
    }
