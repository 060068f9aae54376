"""What the demo put on the wire, looked at with tools that are not ours.

``iketcp demo --pcap`` runs once. Tshark puts its TCP streams together, scapy writes the
messages down as UDP on port 4500, and tshark decrypts them with the demo's key files.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from captures import (
    DAMAGE,
    IKE_FIELDS,
    MARKER,
    Fields,
    damage_in,
    fields_of,
    follow_tcp,
    ike_view,
    require_tshark,
    write_packets,
)
from iketcp.stream import MessageKind, StreamDecoder
from namespaces import require_or_skip, tun_obstacle

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
WEST, EAST = "192.0.2.1", "192.0.2.2"
INSIDE = {("10.9.0.2", "10.1.0.1"), ("2001:db8:9::2", "2001:db8:1::1")}
TRANSFERRED = 64 << 20
DEMO_SECONDS = 90

# The exchanges of the demo: exchange type, Message ID and payload types each way.
EXCHANGES = [
    (34, 0, [33, 34, 40, 41, 41, 41, 41], [33, 34, 40, 41, 41, 41, 41]),
    (35, 1, [46, 35, 41, 36, 39, 47, 33, 44, 45], [46, 36, 39, 47, 33, 44, 45]),
    (37, 2, [46], [46]),  # on the new connection
    (36, 3, [46, 41, 33, 40, 34, 44, 45], [46, 33, 40, 34, 44, 45]),
    (37, 4, [46, 42], [46, 42]),  # the old Child SA
    (37, 5, [46, 42], [46]),  # the IKE SA
]

ESP_SHOWN = 40
"""ESP packets of each SPI that are decrypted here; the first hold the pings."""


@dataclass(frozen=True, slots=True)
class Demo:
    """The files of one run."""

    capture: Path
    keys: Path
    as_udp: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the demo as a user does; its capture is too large to be kept."""
    require_tshark()
    require_or_skip(not tun_obstacle(), tun_obstacle())
    folder = tmp_path_factory.mktemp("demo")
    capture = folder / "demo.pcapng"
    done = subprocess.run(
        [sys.executable, "-m", "iketcp", "demo", "--pcap", str(capture)],
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT / "reference")},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    as_udp = folder / "demo.udp4500.pcapng"
    yield Demo(capture, folder / "demo.pcapng.keys", as_udp)
    capture.unlink()
    as_udp.unlink()


def messages_of(
    stream: list[tuple[int, bytes]],
) -> Iterator[tuple[str, MessageKind, bytes]]:
    """Split both directions of a TCP connection; only west, node 0, has a prefix."""
    decoders = {0: StreamDecoder(True), 1: StreamDecoder(False)}
    for node, octets in stream:
        for kind, message in decoders[node].feed(octets):
            yield (WEST, EAST)[node], kind, message
    assert decoders[0].has_prefix
    assert [each.failure for each in decoders.values()] == [None, None]


def inside(fields: Fields, ip: str = "ip") -> tuple[str, str]:
    """The innermost addresses, lower end of the tunnel first."""
    ends = fields[f"{ip}.src"][-1], fields[f"{ip}.dst"][-1]
    return ends if ends in INSIDE else ends[::-1]


def check_exchanges(found: list[Fields]) -> None:
    """Requests are west's, each is answered, and all are decrypted."""
    assert damage_in(found) == []
    views = [(fields["ip.src"][0], *ike_view(fields)) for fields in found]
    wanted = []
    for exchange, message_id, request, response in EXCHANGES:
        wanted.append((WEST, exchange, message_id, False, request))
        wanted.append((EAST, exchange, message_id, True, response))
    assert views == wanted


def check_pings(found: list[Fields]) -> None:
    """Three echo requests by each version of IP, each with its reply."""
    assert damage_in(found) == []
    kinds = Counter()
    for fields in found:
        if "icmp.type" in fields:
            assert inside(fields) in INSIDE
            kinds["icmp", fields["icmp.type"][0]] += 1
        else:
            assert inside(fields, "ipv6") in INSIDE
            kinds["icmpv6", fields["icmpv6.type"][0]] += 1
    assert kinds == {
        ("icmp", "8"): 3,
        ("icmp", "0"): 3,
        ("icmpv6", "128"): 3,
        ("icmpv6", "129"): 3,
    }


FIELDS = (
    *IKE_FIELDS,
    *DAMAGE,
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "icmp.type",
    "icmpv6.type",
    "tcp.dstport",
    "tcp.srcport",
    "esp.icv_good",
)


def test_streams_of_the_demo_decrypt(demo: Demo, tmp_path: Path) -> None:
    """RFC 9329 §3, §4, §6.1: two connections, one session, nothing of ours to read it.

    The first connection is cut in mid-transfer, so its last message may be incomplete;
    what is decrypted of it and of the second one is the session without a gap.
    """
    packets, carried, seen = [], 0, Counter[bytes]()
    for number in (0, 1):
        for sender, kind, octets in messages_of(follow_tcp(demo.capture, number)):
            marker = MARKER
            if kind is MessageKind.ESP:
                marker, spi = b"", octets[:4]
                carried += len(octets)
                seen[spi] += 1
                if seen[spi] > ESP_SHOWN:
                    continue
            other = EAST if sender == WEST else WEST
            header = IP(src=sender, dst=other) / UDP(sport=4500, dport=4500)
            packets.append(header / Raw(marker + octets))
    write_packets(tmp_path / "udp.pcap", packets)
    found = fields_of(demo.keys, tmp_path / "udp.pcap", *FIELDS)
    check_exchanges([each for each in found if "isakmp.exchangetype" in each])
    check_pings(
        [each for each in found if "icmp.type" in each or "icmpv6.type" in each]
    )
    esp = [each for each in found if "isakmp.exchangetype" not in each]
    assert all(each["esp.icv_good"] == ["1"] for each in esp)
    # Two Child SAs, two directions each; three transfers went through them.
    assert len(seen) == 4
    assert len(esp) == 4 * ESP_SHOWN
    assert carried > TRANSFERRED
    ports = {
        port
        for each in esp
        for port in each.get("tcp.dstport", []) + each.get("tcp.srcport", [])
    }
    assert "9329" in ports


def test_udp_capture_of_the_demo_decrypts(demo: Demo) -> None:
    """What the demo tells its user to open needs no setting beyond its folder."""
    shown = "isakmp || icmp || icmpv6"
    found = fields_of(demo.keys, demo.as_udp, *FIELDS, display=shown, preferences=())
    check_exchanges([each for each in found if "isakmp.exchangetype" in each])
    check_pings([each for each in found if "isakmp.exchangetype" not in each])


def test_keys_of_the_demo_are_private(demo: Demo) -> None:
    """Whoever reads the key files reads the traffic."""
    for path in (demo.keys, *demo.keys.glob("*_table"), demo.keys / "esp_sa"):
        assert path.stat().st_mode & 0o077 == 0
