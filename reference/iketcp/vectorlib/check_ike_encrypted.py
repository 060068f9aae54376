"""Runs ``ike_encrypted_test.json`` against our Encrypted payload.

Source: RFC 7296 §3.14
"""

from iketcp.environment import ScriptedEntropy
from iketcp.errors import IketcpError
from iketcp.ike.header import Header
from iketcp.ike.keys import IkeKeys
from iketcp.ike.message import decode_chain, decode_message, encode_chain
from iketcp.ike.protection import IkeProtection
from iketcp.octets import Reader
from iketcp.vectorlib.check_ike_keys import cipher_problems, suite_of
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, error_name, unhex


class _GivenIv(IkeProtection):
    """Our protection with the file's IV in place of the next one."""

    iv = b""

    def _next_iv(self) -> bytes:
        return self.iv


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, "Encrypted"):
        suite = suite_of(group["cipher"], None)
        found += cipher_problems({**test, "cipher": group["cipher"]}, suite)
        found += check_open(group, test)
        if test["canonical"]:
            found += check_seal(group, test)
    return found


def protection(group: Json, is_original_initiator: bool) -> _GivenIv:
    """Make one side's protection."""
    e_i, e_r, a_i, a_r = unhex(group, "skEi", "skEr", "skAi", "skAr")
    keys = IkeKeys(b"", a_i, a_r, e_i, e_r, b"", b"")
    suite = suite_of(group["cipher"], None)
    return _GivenIv(suite, keys, is_original_initiator, ScriptedEntropy("unused"))


def check_open(group: Json, test: Json) -> list[str]:
    """Open a message as its receiver, the side that its I flag does not name."""
    octets = bytes.fromhex(test["message"])
    try:
        message = decode_message(octets)
        receiver = protection(group, not message.header.is_original_initiator)
        inside = receiver.open(message, octets)
    except IketcpError as error:
        found = compare(test, "error", error_name(error))
        reaction = "drop" if error.notify is None else error.notify.name
        return found + compare(test, "reaction", reaction)
    first, inner = encode_chain(inside)
    return (
        compare(test, "error", None)
        + compare(test, "firstInnerPayload", first)
        + compare(test, "inner", inner.hex())
        + compare(test, "exchangeType", message.header.exchange_type)
        + compare(test, "messageId", message.header.message_id)
        + compare(test, "isResponse", message.header.is_response)
    )


def check_seal(group: Json, test: Json) -> list[str]:
    """Seal what is inside as its sender."""
    spi_i, spi_r = unhex(group, "spiI", "spiR")
    inner, iv = unhex(test, "inner", "iv")
    sender = protection(group, test["isFromInitiator"])
    sender.iv = iv
    header = Header(
        spi_i,
        spi_r,
        test["exchangeType"],
        test["messageId"],
        test["isResponse"],
        test["isFromInitiator"],
    )
    reader = Reader(inner, 0, len(inner))
    inside = decode_chain(test["firstInnerPayload"], reader)
    return compare(test, "message", sender.seal(header, inside).hex())
