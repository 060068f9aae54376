"""Runs ``cookie_test.json`` against our cookies, over messages decoded by us.

Source: RFC 7296 §2.6, RFC 9329 §6.3
"""

from collections.abc import Callable, Mapping
from ipaddress import ip_address

from iketcp.environment import ScriptedEntropy
from iketcp.ike.cookies import CookieJar
from iketcp.ike.message import Message, decode_message, encode_message
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import NoncePayload, NotifyPayload
from iketcp.registry import NotifyType
from iketcp.vectorlib.assembly import flipped
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, unhex

CHANGES: Mapping[str, Callable[[bytes], bytes]] = {
    "echoed": lambda cookie: cookie,
    "changed-first": lambda cookie: flipped(cookie, 0, 0x80),
    "changed-last": lambda cookie: flipped(cookie, -1),
    "cut": lambda cookie: cookie[:-1],
    "longer": lambda cookie: cookie + b"\0",
    "zeros": lambda cookie: bytes(len(cookie)),
}


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, *CHECKED):
        found += CHECKED[group["type"]](group, test)
    return found


def nonce_of(message: Message) -> bytes:
    """Return the nonce of an IKE_SA_INIT message."""
    nonces = (p.nonce for p in message.payloads if isinstance(p, NoncePayload))
    return next(nonces)


def first_with(message: Message, cookie: bytes) -> bytes:
    """Put a cookie before a message's payloads."""
    notify = NotifyPayload(NotifyType.COOKIE, cookie)
    return encode_message(message.header, [notify, *message.payloads])


def check_cookie(group: Json, test: Json) -> list[str]:
    """Ask for a cookie, and come back."""
    jar = CookieJar(ScriptedEntropy("cookie vectors"))
    first, second = (
        decode_message(o) for o in unhex(test, "firstRequest", "secondRequest")
    )
    address = ip_address(test["firstAddress"])
    cookie = jar.make(nonce_of(first), address, first.header.spi_i, 100.0)
    if test["cookie"] != "none":
        second = decode_message(first_with(second, CHANGES[test["cookie"]](cookie)))
    notify = find_notify(second.payloads, NotifyType.COOKIE)
    is_accepted = notify is not None and jar.is_valid(
        notify.data,
        nonce_of(second),
        ip_address(test["secondAddress"]),
        second.header.spi_i,
        100.0 + test["secondsBetween"],
    )
    return compare(test, "outcome", "accept" if is_accepted else "cookie")


def check_repeat(group: Json, test: Json) -> list[str]:
    """Send a request again with a cookie; the limits are those of the exchange."""
    request, cookie = unhex(test, "request", "cookie")
    if not 1 <= len(cookie) <= 64:
        return compare(test, "repeated", "")
    return compare(test, "repeated", first_with(decode_message(request), cookie).hex())


CHECKED = {"Cookie": check_cookie, "CookieRepeat": check_repeat}
"""What checks a test, by the type of its group."""
