"""A recorded session as others see it: in a capture file, through tshark.

A :class:`Recording` plays a session between the two endpoints of a :class:`pair.Pair`
and keeps every message in the order in which it was sent. It is written down as UDP on
port 4500 with scapy, not with our own capture code, so that what reads it owes nothing
to what wrote it. Key files come from :class:`iketcp.peers.sinks.KeyLog`.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw
from scapy.utils import PcapWriter

from iketcp.child_sa import ChildSaParameters
from iketcp.effects import ChildSaInstalled, ConnectionId, IkeKeysDerived
from iketcp.ike.keywords import parse_esp_proposal, parse_ike_proposal
from iketcp.ike.policy import ChildPolicy, IkePolicy, Lifetime, PoolPolicy
from iketcp.peers.sinks import KeyLog
from iketcp.selectors import TrafficSelector
from iketcp.stream import MessageKind, StreamDecoder
from namespaces import require_or_skip
from pair import EAST, WEST, Pair, ike_policy

MARKER = bytes(4)
RAW_IP = 101
OUTER_IPV4 = ("192.0.2.1", "192.0.2.2")
OUTER_IPV6 = ("2001:db8::1", "2001:db8::2")
WEST_INNER = ("10.9.0.2", "2001:db8:9::2")
EAST_INNER = ("10.1.0.1", "2001:db8:1::1")
FIRST_TIME = 1_700_000_000
"""Seconds since 1970 of the first packet of a capture."""


# --- a session ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that crossed the wire, without Length and without marker."""

    sender: str
    connection: ConnectionId
    kind: MessageKind
    octets: bytes


# Payload types, RFC 7296 §3.2, and exchange types, RFC 7296 §3.1.
SA, KE, IDI, IDR, AUTH, NONCE, N, D = 33, 34, 35, 36, 39, 40, 41, 42
TSI, TSR, SK, CP = 44, 45, 46, 47
IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = 34, 35, 36, 37
REQUEST, RESPONSE = False, True

SESSION: list[tuple[str, int, int, bool, list[int]]] = [
    (WEST, IKE_SA_INIT, 0, REQUEST, [SA, KE, NONCE, N, N, N, N]),
    (EAST, IKE_SA_INIT, 0, RESPONSE, [SA, KE, NONCE, N, N, N, N]),
    (WEST, IKE_AUTH, 1, REQUEST, [SK, IDI, N, IDR, AUTH, CP, SA, TSI, TSR]),
    (EAST, IKE_AUTH, 1, RESPONSE, [SK, IDR, AUTH, CP, SA, TSI, TSR]),
    # west rekeys the Child SA, with perfect forward secrecy
    (WEST, CREATE_CHILD_SA, 2, REQUEST, [SK, N, SA, NONCE, KE, TSI, TSR]),
    (EAST, CREATE_CHILD_SA, 2, RESPONSE, [SK, SA, NONCE, KE, TSI, TSR]),
    (WEST, INFORMATIONAL, 3, REQUEST, [SK, D]),
    (EAST, INFORMATIONAL, 3, RESPONSE, [SK, D]),
    # west rekeys the IKE SA
    (WEST, CREATE_CHILD_SA, 4, REQUEST, [SK, SA, NONCE, KE]),
    (EAST, CREATE_CHILD_SA, 4, RESPONSE, [SK, SA, NONCE, KE]),
    (WEST, INFORMATIONAL, 5, REQUEST, [SK, D]),
    (EAST, INFORMATIONAL, 5, RESPONSE, [SK]),
    # east rekeys the Child SA, under the new IKE SA
    (EAST, CREATE_CHILD_SA, 0, REQUEST, [SK, N, SA, NONCE, KE, TSI, TSR]),
    (WEST, CREATE_CHILD_SA, 0, RESPONSE, [SK, SA, NONCE, KE, TSI, TSR]),
    (EAST, INFORMATIONAL, 1, REQUEST, [SK, D]),
    (WEST, INFORMATIONAL, 1, RESPONSE, [SK, D]),
    # west on a new connection, and at the end
    (WEST, INFORMATIONAL, 0, REQUEST, [SK]),
    (EAST, INFORMATIONAL, 0, RESPONSE, [SK]),
    (WEST, INFORMATIONAL, 1, REQUEST, [SK, D]),
    (EAST, INFORMATIONAL, 1, RESPONSE, [SK]),
]
"""The IKE messages of :meth:`Recording.play`, as any tool has to see them: sender,
exchange type, Message ID, request or response, payload types outside and inside."""


def policies(ike: str, esp: str, tfc_pad_to: int = 0) -> tuple[IkePolicy, IkePolicy]:
    """West asks for an address of each family; east has a pool of them."""

    def child(local: Sequence[str], remote: Sequence[str]) -> ChildPolicy:
        return ChildPolicy(
            name="net",
            proposals=(parse_esp_proposal(esp),),
            local_ts=tuple(map(TrafficSelector.parse, local)),
            remote_ts=tuple(map(TrafficSelector.parse, remote)),
            lifetime=Lifetime(seconds=None),
            tfc_pad_to=tfc_pad_to,
            is_narrowed_to_assigned_address=True,
        )

    pool = ("10.9.0.0/24", "2001:db8:9::/64")
    networks = ("10.1.0.0/24", "2001:db8:1::/64")
    west = ike_policy(
        WEST, ike, children=(child(pool, networks),), request_families=(4, 6)
    )
    east = ike_policy(
        EAST,
        ike,
        children=(child(networks, pool),),
        pool=PoolPolicy(pool, ("10.1.0.53", "2001:db8:1::53")),
    )
    return west, east


def inner_packets(text: str, is_back: bool = False) -> list[bytes]:
    """A UDP datagram between the inner addresses, by IPv4 and by IPv6."""
    (west4, west6), (east4, east6) = WEST_INNER, EAST_INNER
    ports, payload = {"sport": 40001, "dport": 40002}, text.encode()
    if is_back:
        west4, west6, east4, east6 = east4, east6, west4, west6
    return [
        bytes(IP(src=west4, dst=east4) / UDP(**ports) / Raw(payload)),
        bytes(IPv6(src=west6, dst=east6) / UDP(**ports) / Raw(payload)),
    ]


class Recording:
    """A pair of endpoints, and everything that they sent each other.

    ``inner`` holds what went in at either tunnel device, in order, with its side.
    """

    def __init__(
        self,
        ike: str = "aes256gcm16-prfsha256-x25519",
        esp: str = "aes256gcm16-x25519-noesn",
        addresses: tuple[str, str] = OUTER_IPV4,
        tfc_pad_to: int = 0,
        east_ike: str | None = None,
        is_cookie_required: bool = False,
    ) -> None:
        west, east = policies(ike, esp, tfc_pad_to)
        east = replace(
            east,
            proposals=(parse_ike_proposal(east_ike or ike),),
            is_cookie_required=is_cookie_required,
        )
        self.pair = Pair(west, east, addresses=addresses, seed=f"{ike} {esp}")
        self.addresses = addresses
        self.inner: list[tuple[str, bytes]] = []

    def exchange_packets(self, text: str) -> None:
        """Send a datagram of each family there and another back."""
        for name in (WEST, EAST):
            receiver = self.pair.side(self.pair.other(name))
            for packet in inner_packets(f"{text} from {name}", is_back=name == EAST):
                self.pair.send(name, packet)
                self.pair.settle()
                assert receiver.delivered[-1:] == [packet]
                self.inner.append((name, packet))

    def play(self) -> "Recording":
        """Go through a session's whole life, packets before and after each change.

        Handshake; rekey of the Child SA, then of the IKE SA, then a Child SA rekeyed
        under the new IKE SA; the connection lost and made again; DELETE.
        """
        pair = self.pair
        id = pair.up()
        self.exchange_packets("first")
        pair.run(WEST, pair.west.endpoint.rekey_child("net", pair.now))
        pair.settle()
        self.exchange_packets("child rekeyed")
        pair.run(WEST, pair.west.endpoint.rekey_ike(pair.now))
        pair.settle()
        pair.run(EAST, pair.east.endpoint.rekey_child("net", pair.now))
        pair.settle()
        self.exchange_packets("all rekeyed")
        pair.break_connection(id)
        pair.connect()
        pair.settle()
        self.exchange_packets("reconnected")
        pair.run(WEST, pair.west.endpoint.delete_all(pair.now))
        pair.settle()
        assert not pair.west.endpoint.has_sessions
        assert not pair.east.endpoint.has_sessions
        return self

    def messages(self) -> list[Sent]:
        """Take the messages out of the streams, each stream by a decoder of its own."""
        decoders: dict[tuple[str, ConnectionId], StreamDecoder] = {}
        found = []
        for sender, id, octets in self.pair.sent:
            key = (sender, id)
            decoder = decoders.setdefault(key, StreamDecoder(sender == WEST))
            found += [Sent(sender, id, *each) for each in decoder.feed(octets)]
        assert all(not each.failure and not each.pending for each in decoders.values())
        return found

    def write_keys(self, folder: Path) -> None:
        """Write the key files, as west's ``--insecure-keylog`` does."""
        log = KeyLog(folder)
        for effect in self.pair.west.effects:
            if isinstance(effect, IkeKeysDerived):
                log.ike_keys(effect)
            elif isinstance(effect, ChildSaInstalled):
                path = effect.path
                local, remote = str(path.local_address), str(path.remote_address)
                log.child_keys(effect.parameters, local, remote)

    def children(self, name: str = WEST) -> list[ChildSaParameters]:
        """Every Child SA that one side installed, in order."""
        effects = self.pair.side(name).effects
        return [e.parameters for e in effects if isinstance(e, ChildSaInstalled)]

    def ike_keys(self, name: str = WEST) -> list[IkeKeysDerived]:
        """Every IKE SA that one side has had, in order."""
        effects = self.pair.side(name).effects
        return [e for e in effects if isinstance(e, IkeKeysDerived)]

    def outer(self, sender: str) -> Packet:
        """The outer IP header of what that side sends, of either version."""
        west, east = self.addresses
        source, destination = (west, east) if sender == WEST else (east, west)
        return (IPv6 if ":" in west else IP)(src=source, dst=destination)


# --- capture files ------------------------------------------------------------------


def udp_wrapped(recording: Recording, sent: Sent) -> Packet:
    """The message as UDP encapsulation carries it: marker before IKE, ESP bare."""
    marker = MARKER if sent.kind is MessageKind.IKE else b""
    ports = UDP(sport=4500, dport=4500)
    return recording.outer(sent.sender) / ports / Raw(marker + sent.octets)


def write_packets(path: Path, packets: Iterable[Packet]) -> None:
    """Write a capture of IP packets, a hundredth of a second apart."""
    with PcapWriter(str(path), linktype=RAW_IP) as writer:
        writer.write_header(None)
        for number, packet in enumerate(packets):
            time = {"sec": FIRST_TIME + number // 100, "usec": number % 100 * 10_000}
            writer.write_packet(bytes(packet), **time)


def write_udp_capture(recording: Recording, path: Path) -> list[Sent]:
    """Write every message as UDP on port 4500; return them, a packet each."""
    messages = recording.messages()
    write_packets(path, [udp_wrapped(recording, sent) for sent in messages])
    return messages


def tcp_segments(recording: Recording) -> list[Packet]:
    """The connections as they are: handshake, then one segment for each write."""
    numbers: dict[tuple[str, ConnectionId], int] = {}
    packets = []
    for sender, id, octets in recording.pair.sent:
        other = recording.pair.other(sender)
        port = 40000 + id
        if (sender, id) not in numbers:
            numbers |= {(WEST, id): 1001, (EAST, id): 5001}
            syn = TCP(sport=port, dport=4500, flags="S", seq=1000)
            ack = TCP(sport=4500, dport=port, flags="SA", seq=5000, ack=1001)
            last = TCP(sport=port, dport=4500, flags="A", seq=1001, ack=5001)
            for side, head in ((WEST, syn), (EAST, ack), (WEST, last)):
                packets.append(recording.outer(side) / head)
        head = TCP(
            sport=port if sender == WEST else 4500,
            dport=4500 if sender == WEST else port,
            flags="PA",
            seq=numbers[sender, id],
            ack=numbers[other, id],
        )
        packets.append(recording.outer(sender) / head / Raw(octets))
        numbers[sender, id] += len(octets)
    return packets


# --- tshark -------------------------------------------------------------------------


PREFERENCES = ("esp.enable_encryption_decode", "esp.enable_authentication_check")

Fields = dict[str, list[str]]


def require_tshark() -> None:
    """Skip, or fail in CI, where there is no tshark."""
    require_or_skip(shutil.which("tshark") is not None, "tshark is not installed")


def run_tshark(
    profile: Path,
    capture: Path,
    *options: str,
    tolerated: str | None = None,
    preferences: Sequence[str] = PREFERENCES,
) -> str:
    """Run tshark with a profile of its own and nothing of the user's.

    Parameters
    ----------
    profile : Path
        Holds the key files under the names that Wireshark gives them.
    tolerated : str or None
        Part of complaints that are no failure. All others are: a key file that tshark
        cannot read it complains of and then ignores.
    preferences : Sequence of str
        Those to switch on, whatever the profile says.
    """
    require_tshark()
    home = {"HOME": str(profile), "XDG_CONFIG_HOME": str(profile)}
    command = ["tshark", "-n", "-r", str(capture)]
    for preference in preferences:
        command += ["-o", f"{preference}:TRUE"]
    done = subprocess.run(
        [*command, *options],
        check=False,
        env=os.environ | home | {"WIRESHARK_CONFIG_DIR": str(profile)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    complaints = [
        line
        for line in done.stderr.splitlines()
        if line.strip()
        and not line.startswith("Running as")
        and not (tolerated and tolerated in line)
    ]
    assert not complaints, "\n".join(complaints)
    assert done.returncode == 0
    return done.stdout


def fields_of(
    profile: Path,
    capture: Path,
    *fields: str,
    display: str = "",
    tolerated: str | None = None,
    preferences: Sequence[str] = PREFERENCES,
) -> list[Fields]:
    """Values of the fields asked for, packet by packet; absent ones are left out.

    A field that occurs several times in a packet has its values in order, those of
    outer headers before those of inner ones. ``display`` is a display filter.
    """
    options = [option for field in fields for option in ("-e", field)]
    if display:
        options += ["-Y", display]
    output = run_tshark(
        profile,
        capture,
        *("-T", "json", *options),
        tolerated=tolerated,
        preferences=preferences,
    )
    packets: list[dict[str, Any]] = json.loads(output)
    return [packet["_source"].get("layers", {}) for packet in packets]


SEVERITY_WARN = 6291456
"""Where Wireshark's expert severities stop being remarks."""

DAMAGE = ("_ws.malformed", "_ws.expert.severity", "_ws.expert.message")


def damage_in(packets: Iterable[Fields]) -> list[str]:
    """What tshark finds wrong, by packet number; ask it for ``DAMAGE``."""
    found = []
    for number, packet in enumerate(packets, 1):
        if "_ws.malformed" in packet:
            found.append(f"packet {number} is malformed")
        severities = packet.get("_ws.expert.severity", [])
        messages = packet.get("_ws.expert.message", [])
        for severity, message in zip(severities, messages, strict=True):
            if int(severity) >= SEVERITY_WARN:
                found.append(f"packet {number}: {message}")
    return found


def follow_tcp(capture: Path, number: int) -> list[tuple[int, bytes]]:
    """Tshark's own reassembly of a TCP connection, numbered from 0.

    Returns each run of octets with its sender: 0 for the one who connected, else 1.
    """
    follow = f"follow,tcp,raw,{number}"
    text = run_tshark(capture.parent, capture, "-q", "-z", follow)
    assert "missing in capture file" not in text
    return [
        (int(line.startswith("\t")), bytes.fromhex(line))
        for line in text.splitlines()
        if line.startswith(tuple("\t0123456789abcdef"))
    ]


IKE_FIELDS = (
    "isakmp.exchangetype",
    "isakmp.messageid",
    "isakmp.flags",
    "isakmp.typepayload",
)

_SUBSTRUCTURES = {2, 3}  # proposals and transforms, which tshark lists as payloads too


def ike_view(packet: Fields) -> tuple[int, int, bool, list[int]]:
    """Exchange, Message ID, whether a response, payload types; as tshark sees them."""
    types = [int(each) for each in packet["isakmp.typepayload"]]
    return (
        int(packet["isakmp.exchangetype"][0]),
        int(packet["isakmp.messageid"][0], 16),
        bool(int(packet["isakmp.flags"][0], 16) & 0x20),
        [each for each in types if each not in _SUBSTRUCTURES],
    )
