"""Transport mode: headers off and on again, by NATs in between, and by scapy's ESP."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Packet, Raw

from esp_support import GCM, SPI_IN, SPI_OUT, mirrored, parameters
from iketcp.child_sa import TransportAddresses
from iketcp.environment import ScriptedEntropy
from iketcp.errors import MalformedPacketError
from iketcp.esp.child_sa import ChildSa
from iketcp.esp.transport_mode import put_header_on, take_header_off

WEST, EAST = "192.0.2.1", "192.0.2.2"
WEST6, EAST6 = "2001:db8::1", "2001:db8::2"
INSIDE, OUTSIDE = "10.0.0.7", "203.0.113.9"
"""A client's own address behind a NAT, and the one the NAT gives it."""


def hosts(
    local: str, remote: str, source: str = "", destination: str = ""
) -> TransportAddresses:
    """What one end knows; the peer's view is the same unless said otherwise."""
    return TransportAddresses(
        ip_address(local),
        ip_address(remote),
        ip_address(source or remote),
        ip_address(destination or local),
    )


def ends(west: TransportAddresses, east: TransportAddresses) -> tuple[ChildSa, ChildSa]:
    """Both ends of a Child SA in transport mode between two hosts."""
    side = parameters(GCM, [str(west.local)], [str(west.remote)])
    other = replace(
        mirrored(side),
        local_ts=parameters(GCM, [str(east.local)]).local_ts,
        remote_ts=parameters(GCM, [str(east.remote)]).local_ts,
    )
    return (
        ChildSa(replace(side, transport=west), ScriptedEntropy("west")),
        ChildSa(replace(other, transport=east), ScriptedEntropy("east")),
    )


def datagram(source: str, destination: str, ipv6: bool = False) -> Packet:
    """A UDP datagram with a true checksum."""
    layer = IPv6 if ipv6 else IP
    return layer(src=source, dst=destination) / UDP(sport=5, dport=7) / Raw(b"hello")


@pytest.mark.parametrize(("west", "east"), [(WEST, EAST), (WEST6, EAST6)])
def test_a_packet_goes_from_host_to_host(west: str, east: str) -> None:
    """RFC 4303 §3.1.1: the same packet, though its IP header never travelled."""
    packet = bytes(datagram(west, east, ":" in west))
    ours, theirs = ends(hosts(west, east), hosts(east, west))
    (sealed,) = ours.seal_batch([packet])
    (opened,) = theirs.open_batch([sealed]).packets
    # without the IP header the ESP packet is smaller than the packet and its overhead
    assert len(sealed) < len(packet) + 8 + 8 + 16
    again = type(datagram(west, east, ":" in west))(opened)
    assert (again.src, again.dst, again[UDP].load) == (west, east, b"hello")
    expected = again.copy()
    del expected[UDP].chksum
    if IP in expected:
        del expected.chksum
    assert bytes(expected) == opened


def test_behind_a_nat_checksums_are_mended() -> None:
    """RFC 3948 §3.1.2: both ways, each end with addresses that its stack knows."""
    client = hosts(INSIDE, EAST, EAST, OUTSIDE)
    server = hosts(EAST, OUTSIDE, INSIDE, EAST)
    ours, theirs = ends(client, server)
    for sender, receiver, source, destination, seen in (
        (ours, theirs, INSIDE, EAST, (OUTSIDE, EAST)),
        (theirs, ours, EAST, OUTSIDE, (EAST, INSIDE)),
    ):
        for layer in (UDP, TCP):
            packet = IP(src=source, dst=destination) / layer(sport=5, dport=7) / b"data"
            (sealed,) = sender.seal_batch([bytes(packet)])
            (opened,) = receiver.open_batch([sealed]).packets
            again = IP(opened)
            assert (again.src, again.dst) == seen
            right = again.copy()
            del right.chksum, right[layer].chksum
            assert bytes(right) == opened


def association(spi: bytes, key: bytes) -> SecurityAssociation:
    """Scapy's end of one direction, without a tunnel header: transport mode."""
    return SecurityAssociation(
        ESP, spi=int.from_bytes(spi, "big"), crypt_algo="AES-GCM", crypt_key=key
    )


@pytest.mark.parametrize("ipv6", [False, True])
def test_scapy_is_the_other_host(ipv6: bool) -> None:
    """RFC 4303 §3.1.1: an implementation that is not ours opens it, and is opened."""
    west, east = (WEST6, EAST6) if ipv6 else (WEST, EAST)
    ours, _ = ends(hosts(west, east), hosts(east, west))
    packet = datagram(west, east, ipv6)
    outer = (IPv6 if ipv6 else IP)(src=west, dst=east)
    (sealed,) = ours.seal_batch([bytes(packet)])
    theirs = association(SPI_OUT, ours.parameters.encryption_key_out)
    carried = type(outer)(bytes(outer / ESP(sealed)))
    assert bytes(theirs.decrypt(carried)[UDP]) == bytes(packet)[-13:]

    theirs = association(SPI_IN, ours.parameters.encryption_key_in)
    back = theirs.encrypt(datagram(east, west, ipv6), seq_num=1)
    (opened,) = ours.open_batch([bytes(back[ESP])]).packets
    assert bytes(type(outer)(opened)[UDP]) == bytes(datagram(east, west, ipv6)[UDP])


def test_options_stay_behind_and_extension_headers_go_along() -> None:
    """RFC 4303 §3.1.1: what the outer header has no place for."""
    plain = IP(src=WEST, dst=EAST, options=[b"\x01" * 4]) / UDP(sport=5, dport=7)
    assert take_header_off(bytes(plain)) == (17, bytes(plain)[-8:])
    extended = IPv6(src=WEST6, dst=EAST6) / IPv6ExtHdrDestOpt() / UDP() / b"data"
    protocol, payload = take_header_off(bytes(extended))
    assert (protocol, payload) == (60, bytes(extended)[40:])
    addresses = hosts(EAST6, WEST6)
    assert put_header_on(protocol, payload, addresses) == bytes(extended)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        bytes(40),
        bytes(IP(src=WEST, dst=EAST) / UDP())[:-1],
        b"\x41" + bytes(IP(src=WEST, dst=EAST) / UDP())[1:],
        bytes(IP(src=WEST, dst=EAST, flags="MF") / UDP()),
        bytes(IP(src=WEST, dst=EAST, frag=3) / UDP()),
        bytes(IPv6(src=WEST6, dst=EAST6) / IPv6ExtHdrFragment(offset=3) / UDP()),
        bytes(IPv6(src=WEST6, dst=EAST6) / IPv6ExtHdrFragment() / UDP()),
        bytes(
            IPv6(src=WEST6, dst=EAST6) / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(m=1)
        ),
    ],
)
def test_what_is_not_taken(packet: bytes) -> None:
    """RFC 4303 §3.3.4: fragments, and what makes no sense; counted, not raised."""
    with pytest.raises(MalformedPacketError):
        take_header_off(packet)
    ours, _ = ends(hosts(WEST, EAST), hosts(EAST, WEST))
    assert ours.seal_batch([packet]) == []
    assert ours.counters.dropped_out["malformed"] == 1


@pytest.mark.parametrize(
    ("addresses", "size"),
    [(hosts(WEST, EAST), 65516), (hosts(WEST6, EAST6), 65536)],
    ids=["IPv4", "IPv6"],
)
def test_a_payload_too_long_for_a_packet(
    addresses: TransportAddresses, size: int
) -> None:
    """RFC 4303 §3.4.4.1: an authentic peer can still be wrong."""
    assert len(put_header_on(99, bytes(size - 1), addresses)) == size - 1 + (
        20 if addresses.local.version == 4 else 40
    )
    with pytest.raises(MalformedPacketError):
        put_header_on(99, bytes(size), addresses)


def test_what_the_selectors_do_not_take_is_dropped() -> None:
    """RFC 4301 §5.2: the rebuilt packet is checked, protocol and ports included."""
    ours, theirs = ends(hosts(WEST, EAST), hosts(EAST, WEST))
    narrow = parameters(GCM, [f"{EAST}[udp/9]"], [f"{WEST}[udp]"])
    theirs = ChildSa(
        replace(
            theirs.parameters, local_ts=narrow.local_ts, remote_ts=narrow.remote_ts
        ),
        ScriptedEntropy("narrow"),
    )
    fits = IP(src=WEST, dst=EAST) / UDP(sport=1, dport=9)
    sealed = ours.seal_batch([bytes(datagram(WEST, EAST)), bytes(fits)])
    (opened,) = theirs.open_batch(sealed).packets
    assert IP(opened)[UDP].dport == 9
    assert theirs.counters.dropped_in["selector"] == 1


def test_a_dummy_is_a_dummy() -> None:
    """RFC 4303 §2.6: in transport mode, too."""
    ours, theirs = ends(hosts(WEST, EAST), hosts(EAST, WEST))
    opened = theirs.open_batch([ours.seal_dummy()])
    assert (opened.packets, opened.is_authentic) == ([], True)


@given(st.integers(0, 255), st.binary(max_size=80), st.booleans())
def test_any_payload_gets_a_header_or_is_malformed(
    protocol: int, payload: bytes, ipv6: bool
) -> None:
    """Whatever an authentic peer sends, there is a packet or one kind of error."""
    addresses = (
        hosts(WEST6, EAST6, WEST6) if ipv6 else hosts(INSIDE, EAST, EAST, OUTSIDE)
    )
    try:
        packet = put_header_on(protocol, payload, addresses)
    except MalformedPacketError:
        return
    assert len(packet) == len(payload) + (40 if ipv6 else 20)
