"""Scenarios of the TCP Responder: beginners who come at the wrong time or badly.

Source: RFC 9329 §6.1, RFC 9329 §6.4, RFC 7296 §1.2, RFC 7296 §3.1
"""

from collections.abc import Iterator

from iketcp.vectorlib.mapping_exchanges import (
    INVALID_KE,
    Beginner,
    delete_ike,
    peer_rekeys_ike,
    rekey_ike,
)
from iketcp.vectorlib.mapping_parts import INITIATOR, Piece, clear_message
from iketcp.vectorlib.mapping_scenarios_endings import begin
from iketcp.vectorlib.mapping_scenarios_moves import alone, up
from iketcp.vectorlib.mapping_script import Script


def no_beginnings() -> Iterator[Script]:
    """Messages without a responder's SPI that are no IKE_SA_INIT request."""
    b = Beginner()
    for comment, spi, flags, exchange, message_id in (
        ("INFORMATIONAL", b.spi, INITIATOR, 37, 0),
        ("Message ID 1", b.spi, INITIATOR, 34, 1),
        ("no Initiator flag", b.spi, 0, 34, 0),
        ("no SPI at all", bytes(8), INITIATOR, 34, 0),
    ):
        s = alone(
            f"no beginning of a session: {comment}",
            "FirstExchange",
            "9329-6.1-corrupt",
            spec="RFC 9329 §6.1; RFC 7296 §3.1",
            error="NoSuchSa",
            reaction="drop",
        )
        s.knock(1)
        payloads = _payloads(b.request())
        piece = clear_message(spi, bytes(8), flags, payloads, exchange, message_id)
        s.receive(1, piece, dropped="1 unknown-ike-sa" if any(spi) else "1 malformed")
        begin(s, 1, b)
        yield s


def _payloads(piece: Piece) -> list[tuple[int, bytes]]:
    (content,) = piece.content
    return [(one["type"], bytes.fromhex(one["body"])) for one in content["payloads"]]


def intruders() -> Iterator[Script]:
    """Beginners get no answer on the connection of a session."""
    refuse = {"error": "OtherSession", "reaction": "drop"}
    s = up(
        "IKE_SA_INIT repeated on the connection of another session",
        "Retransmission TwoSessions",
        "9329-6.1-share 9329-6.1-reply-path",
        **refuse,
    )
    b = Beginner()
    s.knock(2)
    begin(s, 2, b)
    s.receive(1, b.request())
    s.ping(1)
    s.hear(1)
    yield s
    s = up(
        "a later major version on the connection of a session",
        "TwoSessions",
        "9329-6.1-share",
        **refuse,
    )
    s.receive(1, b.request(version=0x30), dropped="1 malformed")
    s.ping(1)
    s.hear(1)
    yield s


def strangers() -> Iterator[Script]:
    """IKE SAs that wait for IKE_AUTH are counted, though their connection is gone."""
    s = alone(
        "a third IKE SA from one address, where two may wait for IKE_AUTH",
        "FirstExchange HalfOpen",
        "9329-6.1-idle",
        policy={"halfOpenAddressLimit": 2},
        result="acceptable",
        error="TooMany",
        reaction="drop",
    )
    for id in (1, 2):
        s.knock(id)
        begin(s, id, Beginner(f"stranger {id}"))
        s.lost(id)
    s.knock(3)
    s.receive(3, Beginner().request(), dropped="1 half-open")
    s.wait(9)
    s.wait(1, closed=[3])
    s.wait(19)
    del s.held[1:]
    s.wait(1)
    s.knock(4)
    begin(s, 4, Beginner())
    yield s


def uninvited() -> Iterator[Script]:
    """A rekey opens a connection to the IKE SA that it makes, and to no other."""
    s = up(
        "IKE_SA_INIT between rekey and DELETE",
        "Rekey TwoSessions",
        "9329-6.1-rekey-share 9329-6.1-share",
        error="OtherSession",
        reaction="drop",
    )
    (old,) = s.sessions
    made = peer_rekeys_ike(s)
    s.receive(1, Beginner().request(), dropped="1 connection-in-use")
    s.receive(1, made.new.request(), sent=[(1, made.new.answer())])
    s.held[0].ike.remove(old.spis)
    s.receive(1, old.request(delete_ike()), sent=[(1, old.answer())])
    s.receive(1, Beginner().request(), dropped="1 connection-in-use")
    s.hear(1)
    yield s
    s = alone(
        "INVALID_KE_PAYLOAD, and no corrected request",
        "FirstExchange HalfOpen",
        "9329-6.4-stay 9329-6.1-idle",
        spec="RFC 9329 §6.4; RFC 7296 §1.2",
        result="acceptable",
        error="Deadline",
        reaction="close-connection",
    )
    b = Beginner()
    s.knock(1)
    told = [(1, b.refusal(INVALID_KE, b"\0\x1f"))]
    s.receive(1, b.request(other_method=True), sent=told)
    s.wait(9)
    s.wait(1, closed=[1])
    yield s


def queued() -> Iterator[Script]:
    """What waits for its turn goes on under the new IKE SA."""
    s = up(
        "a request that waits while the IKE SA is rekeyed",
        "Rekey",
        "9329-6.1-rekey-share 9329-5-all",
    )
    (old,) = s.sessions
    made = rekey_ike(s, is_ours=True)
    s.wish("rekey-ike-sa", sent=[(1, made.request)])
    s.wish("liveness")
    s.held[0].ike.append(made.new.spis)
    delete, ask = old.asks(delete_ike()), made.new.asks()
    s.receive(1, made.response, sent=[(1, delete), (1, ask)])
    s.held[0].ike.remove(old.spis)
    s.receive(1, old.response())
    s.receive(1, made.new.response())
    yield s
    s = up(
        "a request that the move itself sets going is sent once",
        "NewConnection Repeat",
        "9329-6.2-no-retransmit 9329-6.1-valid-ike",
        spec="RFC 9329 §6.1, §6.2",
    )
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    s.wish("liveness")
    answer = a.response()
    s.knock(2)
    s.receive(2, answer, sent=[(2, a.asks())], on=2)
    s.receive(2, a.response())
    yield s
