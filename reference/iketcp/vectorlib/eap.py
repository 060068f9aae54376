"""The file ``eap_test.json``: EAP packets, MS-CHAPv2, fragments, whole conversations.

No packet is written by the code that has to read it.

Source: RFC 3748 §4, RFC 2759 §8, RFC 3079 §3.4, RFC 5216 §3.1
"""

from collections.abc import Iterator, Sequence
from typing import Any

from iketcp.vectorlib.assembly import case, flipped, group, octets, vector_file
from iketcp.vectorlib.eap_notes import HEADER, NOTES
from iketcp.vectorlib.eap_values import (
    challenge_of,
    master_key,
    msk_of,
    nt_hash,
    nt_response,
    proof,
)
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "eap"
SOURCE = "iketcp/eap"
REQUEST, RESPONSE, SUCCESS, FAILURE = 1, 2, 3, 4
IDENTITY, NOTIFICATION, NAK, TLS, MSCHAPV2 = 1, 2, 3, 13, 26
SERVER = b"gw.example"

# RFC 2759 §9.2
PUBLISHED = ("clientPass", b"User", "5b5d7c7d7b3f2f3e3c2c602132262628")
PUBLISHED_PEER_CHALLENGE = "21402324255e262a28295f2b3a337c7e"


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 3748 §4
    """
    groups = [
        group("EapPacket", SOURCE, [*packets(), *broken_packets()]),
        group("MschapV2", "RFC 2759 §9.2, RFC 3079 §3.5.3", [published()]),
        group("MschapV2", SOURCE, list(passwords())),
        group("MschapV2Message", SOURCE, [*messages(), *broken_messages()]),
        group("EapTlsFragments", SOURCE, [*flights(), *broken_flights()]),
        group("EapConversation", SOURCE, list(conversations())),
    ]
    return vector_file(NAME, "EAP", HEADER, NOTES, groups)


def packet(code: int, identifier: int, kind: int = 0, data: bytes = b"") -> bytes:
    """Write a packet. Source: RFC 3748 §4."""
    body = b"" if code in (SUCCESS, FAILURE) else bytes([kind]) + data
    return bytes([code, identifier]) + (4 + len(body)).to_bytes(2, "big") + body


# --- packets ----------------------------------------------------------------------


def packets() -> Iterator[Json]:
    """Write packets of every kind."""
    for comment, code, identifier, kind, data in (
        ("Request Identity", REQUEST, 0, IDENTITY, b""),
        ("Request Identity with a prompt", REQUEST, 1, IDENTITY, b"Who?"),
        ("Response Identity", RESPONSE, 1, IDENTITY, b"alice@example"),
        ("Request Notification", REQUEST, 255, NOTIFICATION, b"Hello"),
        ("Response Notification", RESPONSE, 255, NOTIFICATION, b""),
        ("Nak, two methods wanted", RESPONSE, 7, NAK, bytes([MSCHAPV2, TLS])),
        ("Nak, nothing wanted", RESPONSE, 7, NAK, b"\0"),
        ("EAP-TLS Start", REQUEST, 128, TLS, b"\x20"),
        ("Success", SUCCESS, 9, None, b""),
        ("Failure", FAILURE, 10, None, b""),
        ("the largest", RESPONSE, 3, IDENTITY, octets("eap largest", 65530)),
    ):
        yield case(
            comment,
            "Ordinary" if len(data) < 1020 else "Size",
            "RFC 3748 §4.2" if kind is None else "RFC 3748 §4.1, §5",
            octets=packet(code, identifier, kind or 0, data),
            code=code,
            identifier=identifier,
            type=kind,
            data=data,
        )


def broken_packets() -> Iterator[Json]:
    """Break packets."""
    for comment, broken in (
        ("nothing", ""),
        ("header cut", "010000"),
        ("Length less than a header", "01000003"),
        ("Request without a Type", "01000004"),
        ("Response without a Type", "02000004"),
        ("Length more than there is", "0200000601"),
        ("octets behind Length", "020000050100"),
        ("Success with data", "0300000500"),
        ("Failure with data", "0400000500"),
        ("Code 0", "0000000501"),
        ("Code 5", "0500000501"),
    ):
        yield case(
            comment,
            "Malformed",
            "RFC 3748 §4.1, §4.2; RFC 7296 §3.16",
            error="MalformedMessage",
            reaction="end-conversation",
            octets=bytes.fromhex(broken),
            code=None,
            identifier=None,
            type=None,
            data=b"",
        )


# --- MS-CHAPv2 --------------------------------------------------------------------


def values(
    comment: str, flags: str, password: str, name: bytes, theirs: bytes, ours: bytes
) -> Json:
    """Compute everything from a password and both challenges."""
    secret = nt_hash(password)
    response = nt_response(secret, ours, theirs, name)
    return case(
        comment,
        flags,
        "RFC 2759 §8.1, §8.2, §8.3, §8.7; RFC 3079 §3.4",
        password=password.encode(),
        name=name,
        authenticatorChallenge=theirs,
        peerChallenge=ours,
        passwordHash=secret,
        challenge=challenge_of(ours, theirs, name),
        ntResponse=response,
        authenticatorResponse=proof(secret, response, ours, theirs, name),
        masterKey=master_key(secret, response),
        msk=msk_of(secret, response),
    )


def published() -> Json:
    """Take the RFCs' example; the values that are printed there are checked in tests.

    Source: RFC 2759 §9.2, RFC 3079 §3.5.3
    """
    password, name, theirs = PUBLISHED
    ours = bytes.fromhex(PUBLISHED_PEER_CHALLENGE)
    comment = "the example of the RFCs"
    return values(comment, "Published", password, name, bytes.fromhex(theirs), ours)


def passwords() -> Iterator[Json]:
    """Try names and passwords of several kinds."""
    for comment, flags, password, name in (
        ("a name and a passphrase", "Ordinary", "correct horse", b"alice@example"),
        ("a domain before the name", "Domain", "clientPass", b"BIGCO\\User"),
        ("two domains before the name", "Domain", "clientPass", b"A\\BIGCO\\User"),
        ("an empty password", "Size", "", b"bob"),
        ("a password of 256 characters", "Size", "0123456789abcdef" * 16, b"bob"),
        ("an empty name", "Size", "secret", b""),
        ("letters beyond ASCII", "Unicode", "pässwörd", "jörg".encode()),
        ("a character beyond 16 bits", "Unicode", "\U0001f511", b"bob"),
    ):
        theirs = octets(f"eap theirs {comment}", 16)
        yield values(
            comment, flags, password, name, theirs, octets(f"eap ours {comment}", 16)
        )


# --- messages of EAP-MSCHAPv2 -------------------------------------------------------


def message(op_code: int, mschapv2_id: int, rest: bytes) -> bytes:
    """Write Type-Data with the header of MS-CHAPv2. Source: RFC 2759 §3."""
    size = 4 + len(rest)
    return bytes([op_code, mschapv2_id]) + size.to_bytes(2, "big") + rest


def challenge_message(mschapv2_id: int, challenge: bytes, name: bytes) -> bytes:
    """Write a Challenge. Source: RFC 2759 §3."""
    return message(1, mschapv2_id, bytes([16]) + challenge + name)


def response_message(
    mschapv2_id: int, challenge: bytes, response: bytes, name: bytes
) -> bytes:
    """Write a Response. Source: RFC 2759 §4."""
    value = bytes([49]) + challenge + bytes(8) + response + bytes(1)
    return message(2, mschapv2_id, value + name)


def messages() -> Iterator[Json]:
    """Write messages of every kind."""
    challenge, response = octets("eap challenge", 16), octets("eap response", 24)
    for comment, is_request, data, fields in (
        (
            "Challenge",
            True,
            challenge_message(5, challenge, SERVER),
            {"opCode": 1, "challenge": challenge, "name": SERVER},
        ),
        (
            "Challenge without a name",
            True,
            challenge_message(5, challenge, b""),
            {"opCode": 1, "challenge": challenge},
        ),
        (
            "Response",
            False,
            response_message(5, challenge, response, b"bob"),
            {
                "opCode": 2,
                "challenge": challenge,
                "ntResponse": response,
                "name": b"bob",
            },
        ),
        (
            "Success Request",
            True,
            message(3, 5, b"S=" + b"0A" * 20 + b" M=Welcome"),
            {"opCode": 3, "message": b"S=" + b"0A" * 20 + b" M=Welcome"},
        ),
        (
            "Failure Request",
            True,
            message(4, 5, b"E=691 R=0 C=00 V=3 M=No"),
            {"opCode": 4, "message": b"E=691 R=0 C=00 V=3 M=No"},
        ),
        ("Success Response", False, b"\3", {"opCode": 3}),
        ("Failure Response", False, b"\4", {"opCode": 4}),
    ):
        mschapv2_id = None if len(data) == 1 else 5
        yield message_case(comment, is_request, data, mschapv2_id, **fields)


def message_case(
    comment: str,
    is_request: bool,
    data: bytes,
    mschapv2_id: int | None,
    **fields: Any,
) -> Json:
    """Make a case of one message; without fields it is malformed."""
    blank: Json = {"opCode": None, "challenge": b"", "ntResponse": b"", "name": b""}
    return case(
        comment,
        "Ordinary" if fields else "Malformed",
        "RFC 2759 §3, §4, §5, §6",
        error=None if fields else "MalformedMessage",
        reaction=None if fields else "end-conversation",
        isRequest=is_request,
        typeData=data,
        mschapv2Id=mschapv2_id,
        **{**blank, "message": b"", **fields},
    )


def broken_messages() -> Iterator[Json]:
    """Break messages."""
    challenge = octets("eap challenge", 16)
    good = challenge_message(5, challenge, SERVER)
    answer = response_message(5, challenge, bytes(24), b"bob")
    for comment, is_request, data in (
        ("Request without anything", True, b""),
        ("MS-Length more than there is", True, flipped(good, 3, 0x80)),
        ("MS-Length less than there is", True, good + b"\0"),
        ("challenge of 15 octets", True, message(1, 5, b"\x0f" + bytes(15))),
        ("challenge cut", True, message(1, 5, b"\x10" + bytes(15))),
        ("Response in a Request", True, answer),
        ("Change-Password in a Request", True, message(7, 5, b"")),
        ("Response without anything", False, b""),
        ("Challenge in a Response", False, good),
        ("response of 48 octets", False, message(2, 5, b"\x30" + bytes(49))),
        ("response cut", False, message(2, 5, b"\x31" + bytes(48))),
        ("name of 257 octets", False, message(2, 5, b"\x31" + bytes(49 + 257))),
        ("Success Response with data", False, b"\3\0"),
    ):
        yield message_case(comment, is_request, data, None)


# --- fragments of EAP-TLS -----------------------------------------------------------


def fragment(
    data: bytes, total: int | None = None, *, more: bool = False, start: bool = False
) -> bytes:
    """Write Type-Data of EAP-TLS. Source: RFC 5216 §3.1."""
    flags = (0 if total is None else 0x80) | (0x40 if more else 0)
    length = b"" if total is None else total.to_bytes(4, "big")
    return bytes([flags | (0x20 if start else 0)]) + length + data


def flights() -> Iterator[Json]:
    """Cut flights, and send others that are cut as we would not."""
    flight = octets("eap flight", 2500)
    pieces = [flight[:1024], flight[1024:2048], flight[2048:]]
    first = fragment(pieces[0], 2500, more=True)
    middle, last = fragment(pieces[1], more=True), fragment(pieces[2])
    lengths = [fragment(p, 2500, more=p != pieces[2]) for p in pieces]
    bare = [fragment(p, more=p != pieces[2]) for p in pieces]
    whole = flight[:1024]
    for comment, flags, fragments, expected in (
        ("one fragment", "Ordinary", [fragment(whole)], whole),
        ("one fragment with a length", "Freedom", [fragment(whole, 1024)], whole),
        ("three fragments", "Ordinary", [first, middle, last], flight),
        ("a length in each", "Freedom", lengths, flight),
        ("a length in none", "Freedom", bare, flight),
        ("reserved flags are set", "Freedom", [b"\x1f" + whole], whole),
        ("acknowledgement", "Ordinary", [b"\0"], b""),
    ):
        yield case(
            comment,
            flags,
            "RFC 5216 §2.1.5, §3.1",
            result="acceptable" if comment == "a length in none" else "",
            fragments=fragments,
            flight=expected,
        )


def broken_flights() -> Iterator[Json]:
    """Send what cannot be put together."""
    data = octets("eap flight", 100)
    full = [fragment(bytes(33000), more=True), fragment(bytes(33000))]
    for comment, error, fragments in (
        ("nothing", "MalformedMessage", [b""]),
        ("length cut", "MalformedMessage", [bytes.fromhex("80000001")]),
        ("more than announced", "EapFailed", [fragment(data, 99)]),
        ("less than announced", "EapFailed", [fragment(data, 101)]),
        (
            "another length later",
            "EapFailed",
            [fragment(data, 300, more=True), fragment(data, 200)],
        ),
        ("an empty one with more to come", "EapFailed", [fragment(b"", more=True)]),
        (
            "4 GiB announced",
            "EapFailed",
            [fragment(data, 0xFFFFFFFF, more=True)],
        ),
        ("more than 64 KiB, unannounced", "EapFailed", full),
    ):
        yield case(
            comment,
            "Malformed" if error == "MalformedMessage" else "Reassembly",
            "RFC 5216 §2.1.5, §3.1",
            error=error,
            reaction="end-conversation",
            fragments=fragments,
            flight=b"",
        )


# --- conversations ------------------------------------------------------------------


def conversations() -> Iterator[Json]:
    """Let a user with a password in, or not."""
    yield conversation("the password is right", "Ordinary", "correct horse")
    yield conversation("the password is wrong", "WrongPassword", "Correct horse")
    name = b"mallory"
    yield conversation("the user is unknown", "WrongPassword", "correct horse", name)
    name = b"BIGCO\\alice"
    yield conversation("a domain before the name", "Domain", "correct horse", name)
    yield conversation(
        "the identity is asked for", "Identity", "correct horse", is_identity_asked=True
    )
    yield conversation("EAP-TLS is refused", "Nak", "correct horse", is_tls_first=True)


def conversation(
    comment: str,
    flags: str,
    password: str,
    name: bytes = b"alice",
    *,
    is_identity_asked: bool = False,
    is_tls_first: bool = False,
) -> Json:
    """Write all messages of one conversation, and its end."""
    draws = {
        "peer.eap.mschapv2.peer_challenge": octets(f"eap {comment} ours", 16),
        "authenticator.eap.identifier": octets(f"eap {comment} id", 1),
        "authenticator.eap.mschapv2.challenge": octets(f"eap {comment} theirs", 16),
    }
    ours, first, theirs = draws.values()
    user = b"alice"
    is_known = name.split(b"\\")[-1] == user
    is_right = is_known and password == "correct horse"
    response = nt_response(nt_hash(password), ours, theirs, name)
    begin: list[tuple[int, bytes, int, bytes]] = []
    if is_identity_asked:
        begin.append((IDENTITY, b"", IDENTITY, name))
    if is_tls_first:
        begin.append((TLS, b"\x20", NAK, bytes([MSCHAPV2])))
    number = (first[0] + len(begin) + 1) % 256
    verdict = success(number, password, response, ours, theirs, name)
    if not is_right:
        digits = theirs.hex().upper()
        verdict = message(4, number, f"E=691 R=0 C={digits} V=3 M=Refused".encode())
    answer = response_message(number, ours, response, name)
    rounds = [
        *begin,
        (MSCHAPV2, challenge_message(number, theirs, SERVER), MSCHAPV2, answer),
        (MSCHAPV2, verdict, MSCHAPV2, b"\3" if is_right else b"\4"),
    ]
    return case(
        comment,
        flags,
        "RFC 3748 §2; RFC 2759 §4, §5, §6",
        error=None if is_right else "EapFailed",
        reaction=None if is_right else "AUTHENTICATION_FAILED",
        password=password.encode(),
        name=name,
        users=[{"name": user, "passwordHash": nt_hash("correct horse")}],
        serverName=SERVER,
        isIdentityAsked=is_identity_asked,
        isTlsFirst=is_tls_first,
        entropy=draws,
        messages=dialogue(first[0], rounds, SUCCESS if is_right else FAILURE),
        identity=user if is_right else b"",
        msk=msk_of(nt_hash(password), response) if is_right else b"",
    )


def success(
    number: int,
    password: str,
    response: bytes,
    ours: bytes,
    theirs: bytes,
    name: bytes,
) -> bytes:
    """Write a Success Request with the authenticator's proof. RFC 2759 §5."""
    text = proof(nt_hash(password), response, ours, theirs, name)
    return message(3, number, f"{text} M=Welcome".encode())


def dialogue(
    first: int, rounds: Sequence[tuple[int, bytes, int, bytes]], end: int
) -> list[bytes]:
    """Put Requests and Responses into packets, one after the other."""
    found = []
    for number, (asked, question, answered, answer) in enumerate(rounds, first + 1):
        identifier = number % 256
        found.append(packet(REQUEST, identifier, asked, question))
        found.append(packet(RESPONSE, identifier, answered, answer))
    return [*found, packet(end, (first + len(rounds)) % 256)]
