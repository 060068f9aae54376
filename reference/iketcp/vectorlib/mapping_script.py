"""Writing a mapping scenario down: what happens, and what must be seen after it.

A script keeps an account of what should be: which connections are open, and of each
session the current connection, its IKE SAs and its Child SAs. Every step says what
changes, and the whole account is written behind it.

Source: RFC 9329 §6.1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from iketcp.vectorlib.assembly import case, plain
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.mapping_parts import PREFIX, Piece, Session, inner

POLICY: Json = {
    "firstMessageSeconds": 10,
    "extraneousSeconds": 30,
    "lingerSeconds": 5,
    "cookieSeconds": 8,
    "unknownSpiLimit": 16,
    "corruptLimit": 8,
    "halfOpenLimit": 1024,
    "halfOpenAddressLimit": 64,
    "reconnectSeconds": 1,
    "reconnectLimitSeconds": 60,
    "requestTimeoutSeconds": 60,
    "livenessSeconds": None,
    "halfOpenSeconds": 30,
    "isCookieRequired": False,
    "puzzleThreshold": 128,
    "puzzleDifficulty": 8,
    "resyncLimit": 0,
    "resyncOctets": 131072,
}

OURS = {"address": "192.0.2.2", "port": 4500}
THEIRS = "192.0.2.1"
SPEC = "RFC 9329 §6.1"

Sent = tuple[int, Piece] | tuple[int, Piece, bool]
"""Connection, message, and whether no other octets would be right."""

_SAME = -1


@dataclass(slots=True)
class Held:
    """A session as it should be."""

    current: int | None
    ike: list[tuple[bytes, bytes]]
    children: list[bytes]

    def plain(self) -> Json:
        """Write it down."""
        sas = [{"spiI": i.hex(), "spiR": r.hex()} for i, r in sorted(self.ike)]
        children = sorted(spi.hex() for spi in self.children)
        return {"current": self.current, "ikeSas": sas, "childSas": children}


@dataclass(slots=True)
class Script:
    """One scenario.

    ``sessions`` are installed before the first step and have no connection.
    """

    comment: str
    flags: str
    requirement: str
    sessions: Sequence[Session]
    is_originator: bool = False
    spec: str = SPEC
    error: str | None = None
    reaction: str | None = None
    result: str = ""
    policy: Json = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    states: list[Json] = field(default_factory=list)
    draws: list[Json] = field(default_factory=list)
    open_now: list[int] = field(default_factory=list)
    steps: list[Json] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Note how things are at first."""
        for session in self.sessions:
            self.states.append(session.state())
            self.held.append(Held(None, [session.spis], [session.child.spi_in]))

    def draw(self, label: str, data: bytes) -> bytes:
        """Fix the endpoint's next draw for one purpose."""
        self.draws.append({"label": label, "octets": data.hex()})
        return data

    def step(
        self,
        event: Json,
        *,
        sent: Sequence[Sent] = (),
        closed: Sequence[int] = (),
        delivered: Sequence[bytes] = (),
        dropped: str = "",
        reconnect: tuple[float, float] | None = None,
        on: int | None = _SAME,
        which: int = 0,
    ) -> None:
        """Add a step.

        Parameters
        ----------
        dropped : str
            ``"2 replay"``: how many, and why.
        on : int or None
            The connection that session ``which`` is on from now.
        """
        self.open_now = [id for id in self.open_now if id not in closed]
        for held in self.held:
            if held.current in closed:
                held.current = None
        if on != _SAME:
            self.held[which].current = on
        words = dropped.split()
        drops = [
            {"reason": words[at + 1], "count": int(words[at])}
            for at in range(0, len(words), 2)
        ]
        expect = {
            "sent": [_sent(*one) for one in sent],
            "closed": list(closed),
            "reconnect": None
            if reconnect is None
            else {"least": reconnect[0], "most": reconnect[1]},
            "delivered": list(delivered),
            "dropped": drops,
            "open": sorted(self.open_now),
            "sessions": [held.plain() for held in self.held],
        }
        self.steps.append(plain({**event, "expect": expect}))

    # --- what happens -----------------------------------------------------------------

    def open(
        self,
        id: int,
        *,
        address: str = THEIRS,
        local: str = OURS["address"],  # type: ignore[assignment]
        port: int = 4500,
        from_port: int = 0,
        **expect: Any,
    ) -> None:
        """Let a connection open: by us as TCP Originator, else by the peer.

        Parameters
        ----------
        port, from_port : int
            The TCP Responder's port, and the TCP Originator's (0: as usual).
        """
        self.open_now.append(id)
        ours = {"address": local, "port": port}
        theirs = {"address": address, "port": from_port or 40000 + id}
        if self.is_originator:
            ours["port"], theirs["port"] = theirs["port"], ours["port"]
        event = {"event": "open", "connection": id, "local": ours, "remote": theirs}
        self.step(event, **expect)

    def receive(self, id: int, *pieces: Piece, **expect: Any) -> None:
        """Let octets arrive."""
        whole = sum(pieces[1:], start=pieces[0])
        event = {
            "event": "receive",
            "connection": id,
            "octets": whole.octets,
            "content": list(whole.content),
        }
        self.step(event, **expect)

    def lost(self, id: int, **expect: Any) -> None:
        """Let a connection break, or the peer close it."""
        self.open_now.remove(id)
        for held in self.held:
            if held.current == id:
                held.current = None
        self.step({"event": "lost", "connection": id}, **expect)

    def failed(self, **expect: Any) -> None:
        """Let an attempt to connect fail."""
        self.step({"event": "failed"}, **expect)

    def wait(self, seconds: int, **expect: Any) -> None:
        """Let time pass."""
        self.step({"event": "time", "seconds": seconds}, **expect)

    def wish(self, wish: str, **expect: Any) -> None:
        """Let our own side begin an exchange."""
        self.step({"event": "wish", "wish": wish}, **expect)

    # --- habits -----------------------------------------------------------------------

    def ping(self, on: int | None, session: Session | None = None) -> None:
        """Let a packet go out: to ``on``, or nowhere."""
        child = (session or self.sessions[0]).child
        data = inner("10.0.2.1", f"{child.network}.1", b"to them")
        event = {"event": "packet", "packet": data}
        if on is None:
            self.step(event, dropped="1 no-connection")
        else:
            self.step(event, sent=[(on, child.sends(data))])

    def hear(self, id: int, session: Session | None = None, which: int = 0) -> None:
        """Let a fresh ESP packet arrive, and take its session to that connection."""
        esp = (session or self.sessions[which]).child.esp()
        self.receive(id, esp, delivered=[esp.inner], on=id, which=which)

    def up(self, id: int = 1, which: int = 0, **where: Any) -> None:
        """Let a connection open, its prefix come, and the session come to it."""
        if self.is_originator:
            session = self.sessions[0]
            ask = session.asks()
            self.open(id, sent=[(id, PREFIX), (id, ask)], on=id, **where)
            self.receive(id, session.response())
            return
        self.open(id, **where)
        esp = self.sessions[which].child.esp()
        self.receive(id, PREFIX, esp, delivered=[esp.inner], on=id, which=which)

    def knock(self, id: int, **where: Any) -> None:
        """Let a connection open and its prefix come, and no more."""
        self.open(id, **where)
        self.receive(id, PREFIX)

    def case(self) -> Json:
        """Write the scenario down."""
        return case(
            self.comment,
            self.flags,
            self.spec,
            requirement=" ".join(dict.fromkeys(self.requirement.split())),
            result=self.result,
            error=self.error,
            reaction=self.reaction,
            policy={**POLICY, **self.policy},
            draws=self.draws,
            sessions=self.states,
            steps=self.steps,
        )


def _sent(id: int, piece: Piece, is_exact: bool = False) -> Json:
    (content,) = piece.content
    return {
        "connection": id,
        "octets": piece.octets,
        "isExact": is_exact,
        "content": content,
    }
