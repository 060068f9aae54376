"""The file ``cookie_test.json``: what a responder's cookies must depend on.

How a cookie is made is the responder's own affair, so these tests are about behaviour:
a request, the cookie that answers it, and a second request that may carry it.

Source: RFC 7296 §2.6, RFC 9329 §6.3
"""

from collections.abc import Iterator

from iketcp.vectorlib import plain
from iketcp.vectorlib.assembly import case, flipped, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "cookie"
SPEC = "RFC 7296 §2.6; RFC 9329 §6.3"
PORT = "9329-6.3-port"
INITIATOR = "9329-6.3-initiator"
SA, KE, NONCE, NOTIFY = 33, 34, 40, 41
COOKIE = 16390

HEADER = [
    "Cookie: a responder that demands cookies gets firstRequest from firstAddress and"
    " firstPort and answers with a cookie. After secondsBetween comes secondRequest"
    " from secondAddress and secondPort, perhaps over another connection, with the"
    " cookie put first: cookie says whether as it came (echoed), with its first or last"
    " bit changed (changed-first, changed-last), without its last octet (cut), with an"
    " octet of zero added (longer), as zeros of the same size (zeros) or not at all"
    " (none).",
    "Putting a cookie of n octets first: Next Payload of the header becomes 41 and its"
    " Length grows by 8 + n; a Notify payload (Protocol ID 0, SPI Size 0, type 16390,"
    " the cookie) with the header's old Next Payload goes behind the header; nothing"
    " else changes.",
    "outcome: accept, the exchange goes on; cookie, the second request is answered with"
    " a cookie again and no state is kept. Acceptable: how long a cookie is good is up"
    " to the responder; outcome is ours.",
    "CookieRepeat: an initiator that has sent request gets this cookie and sends"
    " repeated. Invalid: the cookie's size is not 1 to 64 octets, repeated is empty.",
]

NOTES = {
    "Address": (
        "BASIC",
        "The second request comes from another address.",
        "Cookies prove nothing about the address.",
    ),
    "CookieSize": (
        "EDGE_CASE",
        "The smallest and largest cookie, and sizes beyond.",
        "Cookies cut, or buffers too small.",
    ),
    "Forged": (
        "BASIC",
        "A cookie that the responder has not made.",
        "State for addresses that nobody has.",
    ),
    "Late": (
        "EDGE_CASE",
        "The second request comes late.",
        "Cookies collected for an attack much later.",
    ),
    "Ordinary": (
        "BASIC",
        "The same request again with the cookie first.",
        "No tunnel under load.",
    ),
    "OtherRequest": (
        "BASIC",
        "The second request has another nonce or SPI.",
        "One cookie is good for any number of IKE SAs.",
    ),
    "Port": (
        "STATE_MACHINE",
        "The second request comes from another TCP port, over a new connection.",
        "No tunnel under load when the first connection was closed.",
    ),
}


def request(label: str = "", spi: str = "") -> bytes:
    """Make an IKE_SA_INIT request; a label changes the nonce, ``spi`` the SPI.

    One proposal: AES-GCM-128, PRF_HMAC_SHA2_256, Curve25519.

    Source: RFC 7296 §1.2
    """
    transforms = (
        bytes.fromhex("0300000c01000014800e0080")
        + bytes.fromhex("0300000802000005")
        + bytes.fromhex("000000080400001f")
    )
    proposal = bytes.fromhex("0000002401010003") + transforms
    ke_body = bytes.fromhex("001f0000") + octets("cookie ke", 32)
    chain = (
        plain.payload(KE, proposal)
        + plain.payload(NONCE, ke_body)
        + plain.payload(0, octets(f"cookie nonce {label}", 32))
    )
    spi_i = octets(f"cookie spi {spi}", 8)
    return plain.ike_header(spi_i, bytes(8), SA, 34, 0x08, 0, 28 + len(chain)) + chain


def with_cookie(message: bytes, cookie: bytes) -> bytes:
    """Put a cookie first, as the file's header says. Source: RFC 7296 §2.6."""
    notify = plain.payload(message[16], bytes(2) + COOKIE.to_bytes(2, "big") + cookie)
    length = (len(message) + len(notify)).to_bytes(4, "big")
    head = message[:16] + bytes([NOTIFY]) + message[17:24] + length
    return head + notify + message[28:]


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §2.6, RFC 9329 §6.3
    """
    source = "iketcp/cookie"
    groups = [
        group("Cookie", source, [*good(), *bad()]),
        group("CookieRepeat", source, list(repeats())),
    ]
    return vector_file(NAME, "IKE-COOKIE", HEADER, NOTES, groups)


def exchange(comment: str, flags: str, **changes: object) -> Json:
    """Make a case; what is not said is as in an ordinary one."""
    result = str(changes.pop("result", ""))
    first = request()
    fields: Json = {
        "firstRequest": first,
        "firstAddress": "192.0.2.1",
        "firstPort": 49999,
        "secondsBetween": 1,
        "secondRequest": first,
        "secondAddress": "192.0.2.1",
        "secondPort": 49999,
        "cookie": "echoed",
        "outcome": "accept",
    }
    fields |= changes
    is_good = fields["outcome"] == "accept"
    return case(
        comment,
        flags,
        SPEC,
        requirement=PORT,
        result=result,
        error=None if is_good else "Cookie",
        reaction=None if is_good else "send-cookie",
        **fields,
    )


def good() -> Iterator[Json]:
    """Come back with the cookie."""
    yield exchange("over the same connection", "Ordinary")
    yield exchange("from another port", "Port", secondPort=50000)
    yield exchange("from port 1", "Port", secondPort=1)
    comment = "from another port that differs in one octet"
    yield exchange(comment, "Port", secondPort=49999 ^ 0x100)
    ipv6 = {"firstAddress": "2001:db8::1", "secondAddress": "2001:db8::1"}
    yield exchange("IPv6", "Ordinary", **ipv6)
    yield exchange("IPv6, from another port", "Port", **ipv6, secondPort=1024)
    yield exchange("at once", "Ordinary", secondsBetween=0)
    yield exchange("after 7 seconds", "Ordinary", secondsBetween=7)
    comment = "after a minute, from another port"
    yield exchange(
        comment, "Late Port", secondsBetween=60, secondPort=1025, result="acceptable"
    )


def bad() -> Iterator[Json]:
    """Come back without a good cookie."""
    again = "cookie"
    for comment, kind in (
        ("no cookie", "none"),
        ("first bit changed", "changed-first"),
        ("last bit changed", "changed-last"),
        ("cut", "cut"),
        ("longer", "longer"),
        ("zeros", "zeros"),
    ):
        yield exchange(comment, "Forged", cookie=kind, outcome=again)
    for comment, address in (
        ("from another address", "192.0.2.2"),
        ("from an address of the other IP version", "2001:db8::1"),
        ("from the same address, mapped into IPv6", "::ffff:192.0.2.1"),
    ):
        yield exchange(comment, "Address", secondAddress=address, outcome=again)
    for comment, other in (
        ("another nonce", request("other")),
        ("another SPI", request("", "other")),
        ("nonce changed by a bit", flipped(request(), -1)),
    ):
        yield exchange(comment, "OtherRequest", secondRequest=other, outcome=again)
    yield exchange(
        "after an hour",
        "Late",
        secondsBetween=3600,
        outcome=again,
        result="acceptable",
    )


def repeats() -> Iterator[Json]:
    """Send the request again with cookies of all sizes."""
    first = request()
    for size in (1, 8, 33, 64):
        cookie = octets("a cookie", size)
        yield case(
            f"cookie of {size} octets",
            "CookieSize" if size in (1, 64) else "Ordinary",
            SPEC,
            requirement=INITIATOR,
            request=first,
            cookie=cookie,
            repeated=with_cookie(first, cookie),
        )
    for size in (0, 65):
        yield case(
            f"cookie of {size} octets",
            "CookieSize",
            SPEC,
            requirement=INITIATOR,
            error="MalformedMessage",
            reaction="give-up",
            request=first,
            cookie=octets("a cookie", size),
            repeated=b"",
        )
