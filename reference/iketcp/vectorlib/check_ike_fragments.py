"""Runs ``ike_fragments_test.json`` against our fragments.

Source: RFC 7383 §2.5, RFC 7383 §2.6
"""

from iketcp.errors import DropError, IketcpError
from iketcp.ike.fragments import Reassembly, Whole, check_numbers
from iketcp.ike.header import Header
from iketcp.ike.message import decode_message
from iketcp.ike.payloads import SkfPayload
from iketcp.ike.protection import IkeProtection
from iketcp.vectorlib.check_ike_encrypted import protection
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, error_name, unhex

LATE = 60.0


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, "Fragments"):
        found += check_reassembly(group, test)
        found += check_seal(group, test)
    return found


def check_reassembly(group: Json, test: Json) -> list[str]:
    """Take the messages as their receiver, one after another."""
    receiver = protection(group, not test["isFromInitiator"])
    waiting, outcomes = Reassembly(), []
    whole: Whole | None = None
    error: str | None = None
    for message in test["messages"]:
        try:
            whole = _take(receiver, waiting, bytes.fromhex(message))
        except DropError as drop:
            outcomes.append("dropped")
            error = error or error_name(drop)
        else:
            outcomes.append("kept" if whole is None else "complete")
    if whole is None:
        return compare(test, "outcomes", outcomes) + compare(
            test, "error", error or "Incomplete"
        )
    return (
        compare(test, "outcomes", outcomes)
        + compare(test, "error", None)
        + compare(test, "firstInnerPayload", whole.first_inner_type)
        + compare(test, "inner", whole.content.hex())
    )


def _take(receiver: IkeProtection, waiting: Reassembly, octets: bytes) -> Whole | None:
    message = decode_message(octets)
    fragment = message.payloads[-1]
    if not isinstance(fragment, SkfPayload):
        raise IketcpError("no Encrypted Fragment payload")
    check_numbers(fragment)
    waiting.check(message.header, fragment)
    content = receiver.open_content(fragment, octets)
    return waiting.add(message.header, fragment, content, LATE)


def check_seal(group: Json, test: Json) -> list[str]:
    """Seal each piece as its sender."""
    found = []
    spi_i, spi_r = unhex(group, "spiI", "spiR")
    sender = protection(group, test["isFromInitiator"])
    header = Header(
        spi_i,
        spi_r,
        test["exchangeType"],
        test["messageId"],
        test["isResponse"],
        test["isFromInitiator"],
    )
    for at, message in enumerate(test["messages"]):
        if not test["canonical"][at]:
            continue
        octets = bytes.fromhex(message)
        sender.iv = bytes.fromhex(test["ivs"][at])
        number, total = test["numbers"][at], test["totals"][at]
        outer = SkfPayload(octets[28], number, total, b"")
        sealed = sender.seal_content(header, outer, bytes.fromhex(test["pieces"][at]))
        if sealed != octets:
            found.append(f"tcId {test['tcId']}: message {at} is sealed differently")
    return found
