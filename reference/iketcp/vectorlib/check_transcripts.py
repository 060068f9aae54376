"""Runs ``exchange_transcripts_test.json`` against our endpoint, as each side in turn.

The endpoint is configured as the file says and draws what the file gives; the other
side is nothing but the recorded octets. What the endpoint sends, delivers and closes
must be what the file says, in that order, and nothing else.

Source: RFC 7296 §1.2, RFC 9329 §6.1
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from iketcp.effects import (
    ChildSaInstalled,
    CloseConnection,
    ConnectionId,
    DeliverInner,
    Effect,
    IkeKeysDerived,
    SendDatagrams,
    Transmit,
)
from iketcp.endpoint import Endpoint
from iketcp.errors import IketcpError
from iketcp.vectorlib.check_ike_keys import IKE_KEYS
from iketcp.vectorlib.datagram_wiring import datagram_endpoint_of, way, ways
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.transcript_configuration import policy_of, selector
from iketcp.vectorlib.walk import each
from iketcp.vectorlib.wiring import (
    SIDES,
    WEST,
    RecordingEntropy,
    act,
    endpoint_of,
    other,
    path_of,
)

Done = tuple[str, object, str]
"""What an endpoint did: ``transmit``, ``datagram``, ``deliver`` or ``close``; where;
octets."""


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for kind, rehearse in REHEARSALS.items():
        for group, test in each(document, kind):
            for side in SIDES:
                differences = rehearse(group, test, side).differences()
                at = f"tcId {test['tcId']}, {side}"
                found += [f"{at}: {text}" for text in differences]
    return found


class Rehearsal:
    """One side of a session over TCP, played by our endpoint."""

    is_fragmented = False
    """Large IKE messages may go in fragments."""

    def __init__(self, group: Json, test: Json, side: str) -> None:
        self.group, self.date = group, datetime.fromisoformat(group["date"])
        ours, theirs = test[side], test[other(side)]
        self.test, self.side, self.now = test, side, 0.0
        self.entropy = RecordingEntropy(
            "not in the file",
            {name: bytes.fromhex(drawn) for name, drawn in ours["entropy"].items()},
        )
        secret = bytes.fromhex(test["preSharedKey"])
        self.policy = policy_of(ours, theirs, secret, self.is_fragmented)
        self.endpoint = self.new_endpoint()
        self.done: deque[Done] = deque()
        self.ike_keys: list[Json] = []
        self.children: list[Json] = []

    def new_endpoint(self) -> Endpoint:
        """Make an endpoint that knows its configuration, and nothing else."""
        return endpoint_of(self.policy, self.entropy, self.date)

    def differences(self) -> list[str]:
        """Play the session; the first step that differs ends it."""
        for number, step in enumerate(self.test["steps"], 1):
            try:
                self.take(self.input(step))
                wanted = self.wanted(step)
            except (IketcpError, LookupError, ValueError) as error:
                return [f"step {number}: {error!r}"]
            if wanted is None:
                continue
            if not self.done:
                return [f"step {number}: nothing instead of {wanted}"]
            got = self.done.popleft()
            if got != wanted:
                return [f"step {number}: {got} instead of {wanted}"]
        found = [f"at the end: {extra}" for extra in self.done]
        if self.entropy.draws != self.entropy_asked():
            found.append("other draws than those of the file")
        return found + self._key_differences()

    def entropy_asked(self) -> dict[str, bytes]:
        """Return the draws that the file gives this side."""
        entropy = self.test[self.side]["entropy"]
        return {name: bytes.fromhex(drawn) for name, drawn in entropy.items()}

    def input(self, step: Json) -> list[Effect]:
        """Let a step happen to our side; returns what comes of it."""
        endpoint, is_ours = self.endpoint, step.get("side") == self.side
        match step["step"]:
            case "connect":
                id, path = ConnectionId(step["connection"]), path_of(step, self.side)
                is_west = self.side == WEST
                return endpoint.connection_opened(id, path, is_west, self.now)
            case "wish" if is_ours:
                return act(endpoint, step["wish"], step["child"], self.now)
            case "packet" if is_ours:
                return endpoint.inner_packets([bytes.fromhex(step["packet"])])
            case "transmit" if step["sender"] != self.side and step["arrives"]:
                id = ConnectionId(step["connection"])
                octets = bytes.fromhex(step["stream"])
                return endpoint.octets_received(id, octets, self.now)
            case "break" | "close":
                id = ConnectionId(step["connection"])
                return endpoint.connection_lost(id, step["step"], self.now)
            case "crash" if is_ours:
                self.endpoint = self.new_endpoint()
            case "time":
                self.now += step["seconds"]
                return endpoint.time_passed(self.now)
        return []

    def take(self, effects: Iterable[Effect]) -> None:
        """Note what comes of it."""
        for effect in effects:
            match effect:
                case Transmit():
                    octets = effect.octets.hex()
                    self.done.append(("transmit", effect.connection, octets))
                case DeliverInner():
                    for packet in effect.packets:
                        self.done.append(("deliver", None, packet.hex()))
                case CloseConnection():
                    self.done.append(("close", effect.connection, ""))
                case IkeKeysDerived():
                    self.ike_keys.append(_ike_keys(effect))
                case ChildSaInstalled():
                    self.children.append(_child(effect))

    def wanted(self, step: Json) -> Done | None:
        """Return what our side must have done by this step, if anything."""
        match step["step"]:
            case "transmit" if step["sender"] == self.side:
                return "transmit", step["connection"], step["stream"]
            case "deliver" if step["side"] == self.side:
                return "deliver", None, step["packet"]
            case "close" if step["side"] == self.side:
                return "close", step["connection"], ""
        return None

    def _key_differences(self) -> list[str]:
        """Compare the SAs that came up with those of the file."""
        names = ("spiI", "spiR", *IKE_KEYS)
        wanted = [{name: sa[name] for name in names} for sa in self.test["ikeSas"]]
        children = [self._child_wanted(child) for child in self.test["childSas"]]
        found = []
        # where two are made at once, each side has its own first
        if _sorted(self.ike_keys) != _sorted(wanted):
            found.append(f"IKE SAs {self.ike_keys} instead of {wanted}")
        if _sorted(self.children) != _sorted(children):
            found.append(f"Child SAs {self.children} instead of {children}")
        return found

    def _child_wanted(self, child: Json) -> Json:
        ours, theirs = "Responder", "Initiator"
        seen = child["seenByResponder"] or child
        if child["exchangeInitiator"] == self.side:
            ours, theirs, seen = theirs, ours, child
        return {
            "name": child["name"],
            "in": child[f"to{ours}"],
            "out": child[f"to{theirs}"],
            "esn": child["esn"],
            "local": seen[f"{ours.lower()}Ts"],
            "remote": seen[f"{theirs.lower()}Ts"],
        }


class DatagramRehearsal(Rehearsal):
    """One side of a session over UDP, played by our endpoint."""

    is_fragmented = True

    def new_endpoint(self) -> Endpoint:
        """Make an endpoint that knows its configuration, and nothing else."""
        return datagram_endpoint_of(
            self.side,
            self.policy,
            self.entropy,
            self.group["fragmentSize"],
            self.date,
        )

    def input(self, step: Json) -> list[Effect]:
        """Let a step happen to our side; returns what comes of it."""
        match step["step"]:
            case "path" if self.side == WEST:
                return self.endpoint.begin_over_udp(*ways(step), self.now)
            case "datagram" if step["sender"] != self.side and step["arrives"]:
                path = way(step["target"], step["source"])
                octets = [bytes.fromhex(step["octets"])]
                return self.endpoint.datagrams_received(path, octets, self.now)
        return super().input(step)

    def take(self, effects: Iterable[Effect]) -> None:
        """Note what comes of it."""
        for effect in effects:
            if isinstance(effect, SendDatagrams):
                for octets in effect.datagrams:
                    self.done.append(("datagram", effect.path, octets.hex()))
            else:
                super().take([effect])

    def wanted(self, step: Json) -> Done | None:
        """Return what our side must have done by this step, if anything."""
        if step["step"] == "datagram" and step["sender"] == self.side:
            return "datagram", way(step["source"], step["target"]), step["octets"]
        return super().wanted(step)


REHEARSALS: Mapping[str, Callable[[Json, Json, str], Rehearsal]] = {
    "Transcript": Rehearsal,
    "DatagramTranscript": DatagramRehearsal,
}
"""What plays one side of a test, by the type of its group."""


def _sorted(sas: list[Json]) -> list[Json]:
    return sorted(sas, key=str)


def _ike_keys(derived: IkeKeysDerived) -> Json:
    keys = {
        name: getattr(derived.keys, attribute).hex()
        for name, attribute in IKE_KEYS.items()
    }
    return {"spiI": derived.spi_i.hex(), "spiR": derived.spi_r.hex(), **keys}


def _child(installed: ChildSaInstalled) -> Json:
    found = installed.parameters
    return {
        "name": found.name,
        "in": {
            "spi": found.spi_in.hex(),
            "encryptionKey": found.encryption_key_in.hex(),
            "integrityKey": found.integrity_key_in.hex(),
        },
        "out": {
            "spi": found.spi_out.hex(),
            "encryptionKey": found.encryption_key_out.hex(),
            "integrityKey": found.integrity_key_out.hex(),
        },
        "esn": found.suite.esn,
        "local": [selector(ts) for ts in found.local_ts],
        "remote": [selector(ts) for ts in found.remote_ts],
    }
