"""Runs mapping scenarios against our endpoint, step by step.

The sessions of a scenario are installed in a new endpoint, each event is given to it,
and what comes of it is put into the words of the file and compared.

Source: RFC 9329 §6.1, RFC 9329 §6.2
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from iketcp.child_sa import ChildSaParameters
from iketcp.crypto.suite import Suite
from iketcp.effects import (
    CloseConnection,
    ConnectionId,
    DeliverInner,
    Effect,
    OpenConnection,
    Transmit,
)
from iketcp.endpoint import Endpoint
from iketcp.endpoint.resume import ChildSaState, IkeSaState, install_session
from iketcp.environment import ScriptedEntropy
from iketcp.ike.exchanges.informational import CheckLiveness
from iketcp.ike.identity import Identity
from iketcp.ike.keys import IkeKeys
from iketcp.ike.nat_detection import Path
from iketcp.ike.policy import ChildPolicy, IkePolicy, Lifetime
from iketcp.ike.proposals import Proposal, Transform
from iketcp.mapping import MappingPolicy
from iketcp.registry import ProtocolId
from iketcp.selectors import TrafficSelector
from iketcp.vectorlib.envelope import Json

CHILD = "net"
MOST_WAKES = 1000
"""So often an endpoint may be woken in one step."""

_NOWHERE = Path(ip_address("192.0.2.2"), 4500, ip_address("192.0.2.1"), 4500)

_REASONS = {
    "unparseable message": "unparseable",
    "unknown ESP SPI": "unknown-spi",
    "unknown IKE SPI": "unknown-ike-sa",
    "ESP of another session's": "other-session",
    "IKE message of another session's": "other-session",
    "IKE_SA_INIT on a connection in use": "connection-in-use",
    "IntegrityError": "integrity",
    "ESP integrity": "integrity",
    "MessageIdError": "outside-window",
    "MalformedMessageError": "malformed",
    "InvalidMajorVersionError": "malformed",
    "ESP of a removed Child SA": "removed-child-sa",
    "no connection": "no-connection",
    "InvalidPublicValueError": "public-value",
    "DropError": "puzzle",
    "ESP of a Child SA not yet agreed": "awaited-child-sa",
    "not wanted any more": "not-wanted",
    "octets before the next message": "skipped-octets",
    "FragmentError": "fragment",
    "FragmentLimitError": "too-many-fragments",
    "too many half-open IKE SAs": "half-open",
    "too many connections without a valid message": "half-open",
    "too many connections without a valid message from this address": "half-open",
}
"""The file's words for what our endpoint counts."""

_UNCOUNTED = {"connection closed for its octets"}
_PACKET_REASONS = ("replay", "selector")


class ScriptedDraws:
    """Gives the draws of a scenario, each label's in order, and no others.

    A label that ends in ``.jitter`` only moves a moment; it needs no script.
    """

    def __init__(self, draws: Iterable[Json]) -> None:
        self._left: dict[str, list[bytes]] = {}
        for draw in draws:
            octets = bytes.fromhex(draw["octets"])
            self._left.setdefault(draw["label"], []).append(octets)
        self._jitter = ScriptedEntropy("mapping scenarios")

    def draw(self, label: str, size: int) -> bytes:
        """Draw the next octets under a label.

        Raises
        ------
        LookupError
            The scenario names no more of them, or of another size.
        """
        if label.endswith(".jitter"):
            return self._jitter.draw(label, size)
        left = self._left.get(label)
        if not left or len(left[0]) != size:
            raise LookupError(f"no draw of {size} octets for {label}")
        return left.pop(0)

    @property
    def unused(self) -> list[str]:
        """Labels of draws that nobody asked for."""
        return [label for label, left in self._left.items() if left]


class Run:
    """One scenario on one endpoint.

    Parameters
    ----------
    group, test : Json
        The scenario with its group.
    """

    def __init__(self, group: Json, test: Json) -> None:
        self._is_originator: bool = group["isTcpOriginator"]
        self.draws = ScriptedDraws(test["draws"])
        limits = mapping_policy(test["policy"])
        policy = ike_policy(group, test)
        self.endpoint = Endpoint(policy, limits, self.draws)
        self.now = 0.0
        self._suites = suites_of(group)
        for session in test["sessions"]:
            self._install(session)
        self._dropped = dropped_by(self.endpoint)

    def _install(self, session: Json) -> None:
        ike, esp = self._suites
        install_session(
            self.endpoint,
            ike_state(session["ikeSa"], ike),
            [child_state(session["childSa"], esp)],
            self._is_originator,
            _NOWHERE,
            self.now,
        )

    def step(self, step: Json) -> Json:
        """Let one event happen, and describe what is seen of it."""
        effects: list[Effect] = []
        if step["event"] == "time":
            effects = self._pass(step["seconds"])
        else:
            self._settle(self._happen(step), effects)
        dropped = dropped_by(self.endpoint)
        new, self._dropped = dropped - self._dropped, dropped
        delays = [e.delay_seconds for e in effects if isinstance(e, OpenConnection)]
        return {
            "sent": _sent(effects),
            "closed": sorted(
                e.connection for e in effects if isinstance(e, CloseConnection)
            ),
            "reconnect": delays,
            "delivered": [
                packet.hex()
                for e in effects
                if isinstance(e, DeliverInner)
                for packet in e.packets
            ],
            "dropped": sorted(new.items()),
            "open": sorted(self.endpoint.tables.streams),
            "sessions": sessions_of(self.endpoint),
        }

    def _settle(self, effects: Iterable[Effect], seen: list[Effect]) -> None:
        """Carry out what is to be closed: the endpoint hears of it."""
        for effect in effects:
            seen.append(effect)
            if isinstance(effect, CloseConnection):
                lost = self.endpoint.connection_lost(
                    effect.connection, "closed by us", self.now
                )
                self._settle(lost, seen)

    def _happen(self, step: Json) -> list[Effect]:
        endpoint, now = self.endpoint, self.now
        id = ConnectionId(step.get("connection", 0))
        match step["event"]:
            case "open":
                path = path_of(step)
                return endpoint.connection_opened(id, path, self._is_originator, now)
            case "receive":
                octets = bytes.fromhex(step["octets"])
                return endpoint.octets_received(id, octets, now)
            case "lost":
                return endpoint.connection_lost(id, "lost", now)
            case "failed":
                return endpoint.connection_failed(now)
            case "packet":
                return endpoint.inner_packets([bytes.fromhex(step["packet"])])
        return self._wish(step["wish"])

    def _pass(self, seconds: int) -> list[Effect]:
        """Let time pass; the endpoint is woken when it asked to be, and only then.

        Raises
        ------
        LookupError
            It asks to be woken again and again.
        """
        effects: list[Effect] = []
        end = self.now + seconds
        for _ in range(MOST_WAKES):
            due = self.endpoint.next_deadline(self.now)
            if due is None or due > end:
                self.now = end
                return effects
            self.now = max(due, self.now)
            self._settle(self.endpoint.time_passed(self.now), effects)
        raise LookupError("the endpoint never sleeps")

    def _wish(self, wish: str) -> list[Effect]:
        endpoint, now = self.endpoint, self.now
        match wish:
            case "begin":
                return endpoint.initiate()
            case "rekey-child":
                return endpoint.rekey_child(CHILD, now)
            case "rekey-ike-sa":
                return endpoint.rekey_ike(now)
            case "delete":
                return endpoint.delete_all(now)
        for session in endpoint.tables.sessions():
            if session.ike is not None:
                session.ike.want(CheckLiveness())
        return endpoint.time_passed(now)


def sessions_of(endpoint: Endpoint) -> list[Json]:
    """Describe the sessions of an endpoint, in the form in which they are compared."""
    tables = endpoint.tables
    return [
        {
            "current": session.current,
            "ikeSas": sorted(
                [sa.spi_i.hex(), sa.spi_r.hex()] for sa in session.ike_sas
            ),
            "childSas": sorted(
                spi.hex()
                for spi, live in tables.children.items()
                if live.session is session
            ),
        }
        for session in tables.sessions()
    ]


def dropped_by(endpoint: Endpoint) -> Counter[str]:
    """Count what an endpoint has dropped so far, in the file's words."""
    counted: Counter[str] = Counter()
    for reason, count in endpoint.counters.dropped.items():
        if reason not in _UNCOUNTED:
            counted[_REASONS.get(reason, reason)] += count
    for live in endpoint.tables.children.values():
        for reason in _PACKET_REASONS:
            counted[reason] += live.esp.counters.dropped_in[reason]
    return counted


def _sent(effects: Iterable[Effect]) -> list[list[object]]:
    """Put what goes out on one connection in a row into one piece."""
    pieces: list[list[object]] = []
    for effect in effects:
        if not isinstance(effect, Transmit):
            continue
        if pieces and pieces[-1][0] == effect.connection:
            pieces[-1][1] = f"{pieces[-1][1]}{effect.octets.hex()}"
        else:
            pieces.append([effect.connection, effect.octets.hex()])
    return pieces


def wanted(expect: Json, seen: Json) -> Json:
    """Put what a step asks for into the form in which it is seen.

    A pause within its limits counts as equal, whatever it is.
    """
    sent: list[list[object]] = []
    for one in expect["sent"]:
        if sent and sent[-1][0] == one["connection"]:
            sent[-1][1] = f"{sent[-1][1]}{one['octets']}"
        else:
            sent.append([one["connection"], one["octets"]])
    pause, delays = expect["reconnect"], seen["reconnect"]
    want: object = [] if pause is None else [pause]
    is_within = (
        pause is not None
        and len(delays) == 1
        and pause["least"] <= delays[0] <= pause["most"]
    )
    return {
        "sent": sent,
        "closed": sorted(expect["closed"]),
        "reconnect": delays if is_within else want,
        "delivered": expect["delivered"],
        "dropped": sorted((one["reason"], one["count"]) for one in expect["dropped"]),
        "open": expect["open"],
        "sessions": [
            {
                "current": one["current"],
                "ikeSas": sorted([sa["spiI"], sa["spiR"]] for sa in one["ikeSas"]),
                "childSas": one["childSas"],
            }
            for one in expect["sessions"]
        ],
    }


def differences(group: Json, test: Json) -> Iterator[str]:
    """Run one scenario; the first step that differs is the last one run."""
    run = Run(group, test)
    for number, step in enumerate(test["steps"], 1):
        where = f"tcId {test['tcId']}, step {number}"
        try:
            seen = run.step(step)
        except LookupError as error:
            yield f"{where}: {error}"
            return
        want = wanted(step["expect"], seen)
        found = [
            f"{where}: {name}: {seen[name]} instead of {want[name]}"
            for name in want
            if seen[name] != want[name]
        ]
        if found:
            yield from found
            return
    for label in run.draws.unused:
        yield f"tcId {test['tcId']}: nobody draws {label}"


def problems(document: Json) -> list[str]:
    """Run every scenario of a file and say what differs; empty if nothing."""
    return [
        problem
        for group in document["testGroups"]
        if group["type"] == "ConnectionMapping"
        for test in group["tests"]
        for problem in differences(group, test)
    ]


# --- from the file's words to ours ----------------------------------------------------


def path_of(step: Json) -> Path:
    """Read both ends of a connection."""
    here, there = step["local"], step["remote"]
    return Path(
        ip_address(here["address"]),
        here["port"],
        ip_address(there["address"]),
        there["port"],
    )


def mapping_policy(policy: Json) -> MappingPolicy:
    """Read the limits of connections."""
    return MappingPolicy(
        first_message_seconds=policy["firstMessageSeconds"],
        extraneous_seconds=policy["extraneousSeconds"],
        linger_seconds=policy["lingerSeconds"],
        cookie_seconds=policy["cookieSeconds"],
        unknown_spi_limit=policy["unknownSpiLimit"],
        corrupt_limit=policy["corruptLimit"],
        half_open_limit=policy["halfOpenLimit"],
        half_open_address_limit=policy["halfOpenAddressLimit"],
        reconnect_seconds=policy["reconnectSeconds"],
        reconnect_limit_seconds=policy["reconnectLimitSeconds"],
        resync_limit=policy["resyncLimit"],
        resync_octets=policy["resyncOctets"],
    )


def _proposal(transforms: Iterable[Json], protocol: int) -> Proposal:
    found = (Transform(t["type"], t["id"], t["keyBits"]) for t in transforms)
    return Proposal(1, protocol, b"", tuple(found))


def ike_policy(group: Json, test: Json) -> IkePolicy:
    """Read what may be agreed; nobody authenticates here, so the names are idle."""
    policy = test["policy"]
    child = ChildPolicy(
        name=CHILD,
        proposals=(_proposal(group["espTransforms"], ProtocolId.ESP),),
        local_ts=(TrafficSelector.parse("10.0.2.0/24"),),
        remote_ts=(TrafficSelector.parse("10.0.1.0/24"),),
        lifetime=Lifetime(seconds=None),
    )
    return IkePolicy(
        proposals=(_proposal(group["ikeTransforms"], ProtocolId.IKE),),
        local_identity=Identity.parse("here.example"),
        remote_identity=None,
        secrets={},
        children=(child,),
        lifetime=Lifetime(seconds=None),
        request_timeout_seconds=policy["requestTimeoutSeconds"],
        liveness_seconds=policy["livenessSeconds"],
        is_cookie_required=policy["isCookieRequired"],
        puzzle_threshold=policy["puzzleThreshold"],
        puzzle_difficulty=policy["puzzleDifficulty"],
        is_fragmentation_supported=False,
        half_open_seconds=policy["halfOpenSeconds"],
    )


def suites_of(group: Json) -> tuple[Suite, Suite]:
    """Read the suites of IKE SAs and of Child SAs."""
    ids = {t["type"]: t["id"] for t in group["ikeTransforms"]}
    cipher = group["cipher"]
    encr, bits = cipher["encr"], cipher["keyBits"]
    return Suite(encr, bits, prf=ids[2], ke=ids[4]), Suite(encr, bits)


def ike_state(ike: Json, suite: Suite) -> IkeSaState:
    """Read an IKE SA."""
    sk_d, sk_ei, sk_er, sk_pi, sk_pr = (
        bytes.fromhex(ike[name]) for name in ("skD", "skEi", "skEr", "skPi", "skPr")
    )
    return IkeSaState(
        is_original_initiator=ike["isOriginalInitiator"],
        spi_i=bytes.fromhex(ike["spiI"]),
        spi_r=bytes.fromhex(ike["spiR"]),
        suite=suite,
        keys=IkeKeys(sk_d, b"", b"", sk_ei, sk_er, sk_pi, sk_pr),
        next_message_id=ike["nextMessageId"],
        expected_message_id=ike["expectedMessageId"],
        last_response=bytes.fromhex(ike["lastResponse"]),
        last_iv=ike["lastIv"],
        is_fragmentation_agreed=ike["isFragmentationAgreed"],
    )


def child_state(child: Json, suite: Suite) -> ChildSaState:
    """Read a Child SA."""
    parameters = ChildSaParameters(
        name=CHILD,
        spi_in=bytes.fromhex(child["spiIn"]),
        spi_out=bytes.fromhex(child["spiOut"]),
        suite=suite,
        encryption_key_in=bytes.fromhex(child["encryptionKeyIn"]),
        integrity_key_in=b"",
        encryption_key_out=bytes.fromhex(child["encryptionKeyOut"]),
        integrity_key_out=b"",
        local_ts=tuple(map(_selector, child["localTs"])),
        remote_ts=tuple(map(_selector, child["remoteTs"])),
        replay_window=child["replayWindow"],
    )
    return ChildSaState(parameters, child["lastSent"], child["highestReceived"])


def _selector(ts: Json) -> TrafficSelector:
    return TrafficSelector(
        ts["ipProtocol"],
        ts["startPort"],
        ts["endPort"],
        ip_address(ts["startAddress"]),
        ip_address(ts["endAddress"]),
    )
