"""The sessions of ``exchange_transcripts_test.json`` as capture files, with their keys.

TCP connections are written as segments by our own capture writer, and our own tool puts
the messages into UDP, as ``iketcp capture`` does for every version of Wireshark; what
went over UDP stays there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from iketcp.capture.pcapng import RAW_IP, PcapngWriter
from iketcp.capture.rewrap import rewrap
from iketcp.crypto.suite import Suite
from iketcp.keylog import IKE_TABLE, ike_line
from iketcp.vectorlib.envelope import Json
from transcript_support import chain, sessions, transmitted
from vector_support import octets

FIRST_TIME = 1_700_000_000 * 10**9
"""Nanoseconds since 1970 of the first packet."""


def payload_types(ike: Json) -> list[int]:
    """Types of the payloads of a message, outside and, after SK or SKF, inside."""
    inside = chain(ike["firstPayload"], bytes.fromhex(ike["payloads"]))
    return [kind for kind, _ in inside]


def sent_messages(kind: str) -> list[tuple[Json, Json]]:
    """Every message of the sessions of one type of group, beside its session."""
    return [
        (test, step)
        for test in sessions(kind)
        for step in transmitted(test, "ike", "fragment", "esp")
    ]


def age(test: Json, index: int | None) -> int:
    """How often the keys of an IKE SA have changed since.

    An IKE SA stands in the file once more for each IKE_INTERMEDIATE; in the clear, 0.
    """
    if index is None:
        return 0
    spis = [(sa["spiI"], sa["spiR"]) for sa in test["ikeSas"]]
    return spis[index + 1 :].count(spis[index])


def write_keys(folder: Path, wanted_age: int = 0) -> None:
    """Write the keys of all IKE SAs, under the name that Wireshark looks for.

    Parameters
    ----------
    wanted_age : int
        How old the keys shall be, where an IKE SA has had so many: a table of
        Wireshark's has room for one line to an IKE SA.
    """
    generations: dict[tuple[str, str], list[Json]] = {}
    for test in sessions():
        for sa in test["ikeSas"]:
            generations.setdefault((sa["spiI"], sa["spiR"]), []).append(sa)
    lines = []
    for keys in generations.values():
        sa = keys[max(len(keys) - 1 - wanted_age, 0)]
        cipher = sa["cipher"]
        suite = Suite(cipher["encr"], cipher["keyBits"], integ=cipher["integ"])
        names = ("spiI", "spiR", "skEi", "skEr", "skAi", "skAr")
        lines.append(ike_line(*octets(sa, *names), suite))
    (folder / IKE_TABLE).write_text("".join(lines))


def header(source: str, target: str) -> Packet:
    """An IP header of either version."""
    return (IPv6 if ":" in source else IP)(src=source, dst=target)


def segments(test: Json, number: int) -> Iterator[Packet]:
    """The TCP connections of a session; ports tell sessions from each other."""
    ends: dict[int, dict[str, tuple[str, int]]] = {}
    at: dict[tuple[int, str], int] = {}
    for step in test["steps"]:
        if step["step"] == "connect":
            id = step["connection"]
            port = step["west"]["port"] + 10 * number
            ends[id] = {
                "west": (step["west"]["address"], port),
                "east": (step["east"]["address"], step["east"]["port"]),
            }
            at |= {(id, "west"): 1001, (id, "east"): 5001}
            for sender, flags, seq, ack in (
                ("west", "S", 1000, 0),
                ("east", "SA", 5000, 1001),
                ("west", "A", 1001, 5001),
            ):
                yield segment(ends[id], sender, flags=flags, seq=seq, ack=ack)
        elif step["step"] == "transmit":
            id, sender = step["connection"], step["sender"]
            other = "east" if sender == "west" else "west"
            data = bytes.fromhex(step["stream"])
            numbers = {"seq": at[id, sender], "ack": at[id, other]}
            yield segment(ends[id], sender, flags="PA", **numbers) / Raw(data)
            at[id, sender] += len(data)


def segment(
    ends: dict[str, tuple[str, int]], sender: str, **fields: int | str
) -> Packet:
    """A TCP segment from one end of a connection to the other."""
    source, sport = ends[sender]
    target, dport = ends["east" if sender == "west" else "west"]
    return header(source, target) / TCP(sport=sport, dport=dport, **fields)


def datagrams(test: Json) -> Iterator[Packet]:
    """What a session sent over UDP."""
    for step in test["steps"]:
        if step["step"] == "datagram":
            source, target = step["source"], step["target"]
            ports = UDP(sport=source["port"], dport=target["port"])
            head = header(source["address"], target["address"])
            yield head / ports / Raw(bytes.fromhex(step["octets"]))


def write_packets(path: Path, packets: Iterator[Packet]) -> None:
    """Write packets, a millisecond apart."""
    with path.open("wb") as stream:
        writer = PcapngWriter(stream)
        interface = writer.add_interface("sessions", link_type=RAW_IP)
        for number, packet in enumerate(packets):
            writer.add_packet(interface, FIRST_TIME + number * 10**6, bytes(packet))


def write_streams(folder: Path) -> Path:
    """Write the sessions over TCP as UDP; returns the file."""
    packets = (
        packet
        for number, test in enumerate(sessions("Transcript"))
        for packet in segments(test, number)
    )
    write_packets(folder / "tcp.pcapng", packets)
    rewrap(folder / "tcp.pcapng", folder / "streams.pcapng")
    return folder / "streams.pcapng"


def write_datagrams(folder: Path) -> Path:
    """Write the sessions over UDP; returns the file."""
    found = (p for test in sessions("DatagramTranscript") for p in datagrams(test))
    write_packets(folder / "datagrams.pcapng", found)
    return folder / "datagrams.pcapng"
