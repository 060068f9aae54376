"""Scenarios of inner packets, and of ports: what goes where, and what does not matter.

Source: RFC 9329 §2, RFC 9329 §5, RFC 9329 §6.8, RFC 9329 §9.3, RFC 9329 §9.5
"""

from collections.abc import Iterator

from iketcp.vectorlib.mapping_exchanges import rekey_child
from iketcp.vectorlib.mapping_parts import PREFIX, inner
from iketcp.vectorlib.mapping_scenarios_moves import alone, up
from iketcp.vectorlib.mapping_script import Script

CE = 3
"""Congestion experienced. Source: RFC 6040 §2."""


def ports() -> Iterator[Script]:
    """Any port will do, at either end."""
    s = alone(
        "port 8443, and a TCP Originator on port 1",
        "NewAddress",
        "9329-2-ports",
        spec="RFC 9329 §2, §6.1",
    )
    (a,) = s.sessions
    s.open(1, port=8443, from_port=1)
    s.receive(1, PREFIX, a.request(), sent=[(1, a.answer())], on=1)
    s.ping(1)
    yield s


def nowhere() -> Iterator[Script]:
    """Without a connection nothing goes any other way."""
    s = up(
        "without a connection packets are dropped, and requests wait",
        "MustNot",
        "9329-5-all 9329-6.1-keep-state",
        spec="RFC 9329 §5, §6.1",
        result="acceptable",
        error="NoConnection",
        reaction="drop",
    )
    (a,) = s.sessions
    s.lost(1)
    s.ping(None)
    s.wish("rekey-child")
    s.wait(3600)
    s.ping(None)
    s.knock(2)
    made = rekey_child(s, is_ours=True)
    esp = a.child.esp()
    s.receive(2, esp, delivered=[esp.inner], sent=[(2, made.request)], on=2)
    yield s


def marked(packet: bytes) -> bytes:
    """Set a DSCP, the CE mark and the DF bit, and mend the header checksum."""
    head = bytearray(packet[:20])
    head[1], head[6] = 46 << 2 | CE, 0x40
    head[10:12] = bytes(2)
    total = sum(int.from_bytes(head[at : at + 2], "big") for at in range(0, 20, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    head[10:12] = (total ^ 0xFFFF).to_bytes(2, "big")
    return bytes(head) + packet[20:]


def marks() -> Iterator[Script]:
    """What an IP header says inside stays inside, both ways."""
    s = up(
        "DSCP, the CE mark and DF of an inner packet pass through",
        "Ordinary",
        "9329-9.5-ecn 9329-6.8-dscp 9329-6.8-df",
        spec="RFC 9329 §6.8, §9.3, §9.5",
    )
    (a,) = s.sessions
    esp = a.child.packet(marked(inner("10.0.1.1", "10.0.2.1", b"to us")))
    s.receive(1, esp, delivered=[esp.inner])
    out = marked(inner("10.0.2.1", "10.0.1.1", b"to them"))
    event = {"event": "packet", "packet": out}
    s.step(event, sent=[(1, a.child.sends(out))])
    yield s
