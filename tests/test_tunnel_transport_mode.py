"""Transport mode between two machines: their own addresses, and no way around it."""

from __future__ import annotations

import signal
import socket
from typing import Any

import pytest
from pyroute2 import IPRoute

from peer_support import PATIENCE_SECONDS
from test_tunnel_namespaces import OUTER, Stage, device_to, ended, on_stage, photograph

WEST = {4: "192.0.2.1", 6: "2001:db8::1"}
SELECTORS = '["0.0.0.0/0[udp/1701]", "::/0[udp/1701]"]'
ANY_UDP = '["0.0.0.0/0[udp]", "::/0[udp]"]'

COMMON = """\
[local]
identity = "{local}"
psk_file = "psk"
{remote}
[[child]]
name = "hosts"
mode = "transport"
local_ts = {local_ts}
remote_ts = {remote_ts}
[control]
socket = "none"
"""


def configurations(version: int) -> dict[str, str]:
    """Configuration by role: datagrams to port 1701 of the responder."""
    remote = f'[remote]\nidentity = "@gw.example"\naddress = "{OUTER[version]}"'
    return {
        "responder": COMMON.format(
            local="@gw.example", remote="", local_ts=SELECTORS, remote_ts=ANY_UDP
        ),
        "initiator": COMMON.format(
            local="@laptop.example",
            remote=remote,
            local_ts=ANY_UDP,
            remote_ts=SELECTORS,
        ),
    }


def bound(version: int, address: str, port: int) -> socket.socket:
    """A UDP socket on an address of this machine."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    ours = socket.socket(family, socket.SOCK_DGRAM)
    ours.bind((address, port))
    ours.settimeout(PATIENCE_SECONDS)
    return ours


def tunnelled() -> int:
    """Packets that came out of the tunnel device."""
    with IPRoute(groups=0) as netlink:
        stats = netlink.link("get", ifname="iketcp0")[0].get("stats64")
        count: int = stats["rx_packets"]
        return count


def rules() -> list[Any]:
    """Rules for packets, but for those that every machine has."""
    with IPRoute(groups=0) as netlink:
        found = [*netlink.get_rules(family=socket.AF_INET)]
        found += netlink.get_rules(family=socket.AF_INET6)
        return [each.get("priority") for each in found if each.get("dst")]


@pytest.mark.parametrize("version", [4, 6])
@on_stage
def test_datagrams_between_the_two_hosts(built: Stage, version: int) -> None:
    """RFC 4303 §3.1.1: what is selected goes through ESP, the rest as ever."""
    before = photograph()
    texts = configurations(version)
    responder = built.start("responder", texts["responder"])
    initiator = built.start("initiator", texts["initiator"])
    assert sorted(rules()) == [4499, 4500]
    with (
        built.in_the_east(lambda: bound(version, OUTER[version], 1701)) as theirs,
        bound(version, WEST[version], 0) as ours,
    ):
        for number in range(3):
            ours.sendto(b"there %d" % number, (OUTER[version], 1701))
            octets, sender = theirs.recvfrom(2048)
            assert octets == b"there %d" % number
            assert sender[0] == WEST[version]
            theirs.sendto(b"back", sender)
            octets, sender = ours.recvfrom(2048)
            assert (octets, sender[:2]) == (b"back", (OUTER[version], 1701))
    assert (tunnelled(), built.in_the_east(tunnelled)) == (3, 3)

    # another port is not selected, and leaves as it always did
    with (
        built.in_the_east(lambda: bound(version, OUTER[version], 1702)) as theirs,
        bound(version, WEST[version], 0) as ours,
    ):
        ours.sendto(b"in the clear", (OUTER[version], 1702))
        assert theirs.recv(2048) == b"in the clear"
    assert (tunnelled(), built.in_the_east(tunnelled)) == (3, 3)
    assert device_to(OUTER[version]) == "wire0"

    ended(initiator, signal.SIGINT)
    ended(responder, signal.SIGINT)
    assert rules() == []
    assert photograph() == before
