"""The file ``cookie_test.json`` against scapy, and against a responder of its own."""

import hashlib
import socket

from scapy.contrib.ikev2 import IKEv2, IKEv2_KE, IKEv2_Nonce, IKEv2_Notify

from iketcp.vectorlib import check_cookie
from vector_support import document, grouped, octets, unnoticed


def test_requests_are_whole() -> None:
    """RFC 7296 §1.2: scapy finds SA, KE and nonce, and the header's Length is true."""
    for _, test in grouped("cookie", "Cookie"):
        for request in octets(test, "firstRequest", "secondRequest"):
            parsed = IKEv2(request)
            assert (parsed.exch_type, parsed.id, parsed.length) == (34, 0, len(request))
            assert parsed.next_payload == 33
            assert len(parsed[IKEv2_KE].ke) == 32
            assert len(parsed[IKEv2_Nonce].nonce) == 32


def test_outcomes_fit_another_responder() -> None:
    """RFC 7296 §2.6, RFC 9329 §6.3: a cookie over nonce, address and SPI, no port."""
    for _, test in grouped("cookie", "Cookie"):
        digests = []
        for which in ("first", "second"):
            request = bytes.fromhex(test[f"{which}Request"])
            address = test[f"{which}Address"]
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            text = IKEv2(request)[IKEv2_Nonce].nonce + request[:8]
            packed = socket.inet_pton(family, address)
            digests.append(hashlib.sha256(b"secret" + text + packed).digest())
        is_good = digests[0] == digests[1] and test["cookie"] == "echoed"
        is_good = is_good and test["secondsBetween"] < 120
        assert test["outcome"] == ("accept" if is_good else "cookie"), test["tcId"]
        assert (test["error"] is None) == is_good


def test_ports_differ_somewhere() -> None:
    """RFC 9329 §6.3: the port changes in tests that are accepted [9329-6.3-port]."""
    found = [
        test["tcId"]
        for _, test in grouped("cookie", "Cookie")
        if test["firstPort"] != test["secondPort"] and test["result"] == "valid"
    ]
    assert len(found) >= 4


def test_cookie_comes_first() -> None:
    """RFC 7296 §2.6: scapy finds the cookie first, and the rest as it was."""
    for _, test in grouped("cookie", "CookieRepeat"):
        request, cookie, repeated = octets(test, "request", "cookie", "repeated")
        if test["result"] == "invalid":
            assert not 1 <= len(cookie) <= 64
            continue
        parsed = IKEv2(repeated)
        notify = parsed.payload
        assert parsed.next_payload == 41
        assert parsed.length == len(repeated)
        assert isinstance(notify, IKEv2_Notify)
        assert (notify.next_payload, notify.type) == (request[16], 16390)
        assert bytes(notify.notify) == cookie
        assert bytes(notify.payload) == request[28:]
        assert repeated[:16] + repeated[17:24] == request[:16] + request[17:24]


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_cookie.problems(document("cookie")) == []
    assert unnoticed("cookie", "Cookie", "outcome") == []
    assert unnoticed("cookie", "CookieRepeat", "repeated") == []
