"""Scenarios in which an answer is lost with the connection it was sent on.

Source: RFC 7296 §2.8, RFC 9329 §6.1, RFC 9329 §6.2
"""

from collections.abc import Iterator

from iketcp.vectorlib.mapping_exchanges import delete_ike, peer_rekeys_ike
from iketcp.vectorlib.mapping_parts import PREFIX
from iketcp.vectorlib.mapping_scenarios_originator import AT_ONCE, up
from iketcp.vectorlib.mapping_script import Script


def rekey_answers() -> Iterator[Script]:
    """The peer asked for a new IKE SA, and does not know yet that it has one."""
    s = up(
        "the answer to an IKE rekey is lost: news comes on the old IKE SA",
        "Reconnect Rekey Repeat",
        "9329-6.1-resume-msg 9329-6.2-responder 9329-6.1-rekey-share",
        spec="RFC 9329 §6.1, §6.2; RFC 7296 §2.8",
    )
    (old,) = s.sessions
    made = peer_rekeys_ike(s)
    s.lost(1, reconnect=AT_ONCE)
    s.open(2, sent=[(2, PREFIX), (2, old.asks())], on=2)
    s.receive(2, made.request, sent=[(2, made.response, True)])
    s.receive(2, old.response())
    s.held[0].ike.remove(old.spis)
    s.receive(2, old.request(delete_ike()), sent=[(2, old.answer())])
    s.ping(2)
    s.wish("liveness", sent=[(2, made.new.asks())])
    s.receive(2, made.new.response())
    yield s
