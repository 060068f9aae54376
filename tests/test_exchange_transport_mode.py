"""Transport mode: asked for, agreed to or not, rekeyed, and with NATs on the way."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest

from iketcp.effects import ConnectionId
from iketcp.ike.exchanges.create_child_sa import CreateChild
from iketcp.ike.header import Header
from iketcp.ike.nat_detection import Path
from iketcp.ike.payloads import NotifyPayload, Payload, TsPayload
from iketcp.ike.policy import ChildPolicy
from iketcp.registry import NotifyType
from iketcp.selectors import TrafficSelector
from pair import EAST, WEST, Pair, child_policy, ike_policy, ipv4_packet

IP1, IPN1, IPN2, IP2 = "10.1.1.1", "203.0.113.1", "198.51.100.2", "10.2.2.2"
"""Client, its NAT, the server's NAT, server, as RFC 7296 §2.23.1 names them."""

ANY = "0.0.0.0/0"


class NatPair(Pair):
    """West sees other addresses than east does.

    Parameters
    ----------
    client, outer_client, outer_server, server : str
        The client's address and what becomes of it; the same of the server's.
    """

    def __init__(
        self,
        west: Sequence[ChildPolicy],
        east: Sequence[ChildPolicy],
        client: str = IP1,
        outer_client: str = IPN1,
        outer_server: str = IPN2,
        server: str = IP2,
    ) -> None:
        super().__init__(
            ike_policy(WEST, children=tuple(west)),
            ike_policy(EAST, children=tuple(east)),
        )
        self.hosts = [
            ip_address(a) for a in (client, outer_client, outer_server, server)
        ]

    def connect(self, port: int = 40000, address: str | None = None) -> ConnectionId:
        """Open a connection through the NATs."""
        self._next_id += 1
        id = ConnectionId(self._next_id)
        self.open.add(id)
        client, outer_client, outer_server, server = self.hosts
        there = Path(client, port, outer_server, 4500)
        back = Path(server, 4500, outer_client, port)
        self.run(EAST, self.east.endpoint.connection_opened(id, back, False, self.now))
        self.run(WEST, self.west.endpoint.connection_opened(id, there, True, self.now))
        return id

    def exchange_packets(self) -> None:
        """Send a packet each way and look at what arrives."""
        client, outer_client, outer_server, server = map(str, self.hosts)
        self.send(WEST, ipv4_packet(client, outer_server, b"there"))
        self.send(EAST, ipv4_packet(server, outer_client, b"back"))
        self.settle()
        there, back = self.east.delivered[-1], self.west.delivered[-1]
        assert addresses(there) == (outer_client, server)
        assert addresses(back) == (outer_server, client)
        assert (there[28:], back[28:]) == (b"there"[4:], b"back"[4:])


def addresses(packet: bytes) -> tuple[str, str]:
    """Source and destination of an IPv4 packet."""
    return str(ip_address(packet[12:16])), str(ip_address(packet[16:20]))


def transport(local: str = ANY, remote: str = ANY, **changes: object) -> ChildPolicy:
    """Policy of a Child SA in transport mode."""
    return child_policy(local=local, remote=remote, is_transport=True, **changes)


def modes(pair: Pair) -> list[bool]:
    """Whether each Child SA of west, then of east, is in transport mode."""
    return [
        child.parameters.transport is not None
        for name in (WEST, EAST)
        for child in pair.ike(name).children.values()
    ]


def selectors(pair: Pair, name: str) -> tuple[str, str]:
    """Local and remote selectors of the one Child SA of a side."""
    (child,) = pair.ike(name).children.values()
    local, remote = child.parameters.local_ts, child.parameters.remote_ts
    (ours,), (theirs,) = local, remote
    return str(ours).replace("/32", ""), str(theirs).replace("/32", "")


def test_two_hosts_without_a_nat() -> None:
    """RFC 7296 §1.3.1: USE_TRANSPORT_MODE there and back, and the addresses."""
    pair = NatPair([transport()], [transport()], IP1, IP1, IP2, IP2)
    pair.up()
    assert modes(pair) == [True, True]
    assert selectors(pair, WEST) == (IP1, IP2)
    assert selectors(pair, EAST) == (IP2, IP1)
    for name in (WEST, EAST):
        said = pair.said(name)[-1]
        assert "N(USE_TRANSPORT_MODE), SA(" in said
        (installed,) = pair.side(name).traces("child-sa-installed")
        assert installed["mode"] == "transport"
    pair.exchange_packets()


@pytest.mark.parametrize(
    "hosts",
    [
        (IP1, IPN1, IP2, IP2),
        (IP1, IP1, IPN2, IP2),
        (IP1, IPN1, IPN2, IP2),
    ],
    ids=["client behind a NAT", "server behind a NAT", "both"],
)
def test_addresses_are_those_that_each_end_sees(hosts: tuple[str, ...]) -> None:
    """RFC 7296 §2.23.1: and stay so through rekeys begun by either side."""
    client, outer_client, outer_server, server = hosts
    pair = NatPair([transport()], [transport()], *hosts)
    pair.up()
    for rekeying in (None, WEST, EAST, WEST):
        if rekeying is not None:
            pair.rekey_child(rekeying)
            pair.settle()
        pair.check_agreement()
        assert modes(pair) == [True, True]
        assert selectors(pair, WEST) == (client, outer_server)
        assert selectors(pair, EAST) == (server, outer_client)
        pair.exchange_packets()
        if rekeying is EAST:  # the NATs are known to the IKE SA that follows, too
            pair.rekey_ike(EAST)
            pair.settle()


def test_protocol_and_ports_are_narrowed() -> None:
    """RFC 7296 §2.23.1: addresses are given, the rest is narrowed as ever."""
    pair = NatPair(
        [transport("0.0.0.0/0[udp]", "0.0.0.0/0[udp/1000-2000]")],
        [transport("0.0.0.0/0[udp/1701]", "0.0.0.0/0")],
    )
    pair.up()
    assert selectors(pair, WEST) == (f"{IP1}[udp]", f"{IPN2}[udp/1701]")
    assert selectors(pair, EAST) == (f"{IP2}[udp/1701]", f"{IPN1}[udp]")


def test_a_responder_for_tunnels_only_answers_in_tunnel_mode() -> None:
    """RFC 7296 §1.3.1: then an initiator that wants nothing else deletes the SA."""
    pair = NatPair([transport()], [child_policy(local=ANY, remote=ANY)])
    pair.up()
    assert "USE_TRANSPORT_MODE" not in pair.said(EAST)[1]
    assert "TSr(" in pair.said(EAST)[1]
    assert "D(IKE)" in pair.said(WEST)[-1]
    pair.check_closed()


def test_a_policy_for_transport_mode_makes_no_tunnel() -> None:
    """RFC 7296 §2.21.3: whoever does not ask for transport mode gets no Child SA."""
    pair = NatPair([child_policy(local=ANY, remote=ANY)], [transport()])
    pair.up()
    assert "N(TS_UNACCEPTABLE)" in pair.said(EAST)[1]


def test_the_policy_for_transport_mode_goes_first() -> None:
    """RFC 7296 §2.23.1: the one for tunnels is there for those who want a tunnel."""
    wide = child_policy("wide", local=ANY, remote=ANY)
    pair = NatPair([transport()], [wide, transport(name="hosts")])
    pair.up()
    assert modes(pair) == [True, True]
    (child,) = pair.ike(EAST).children.values()
    assert child.policy.name == "hosts"
    pair.begin(WEST, CreateChild(child_policy("more", local=IP1, remote=IPN2)))
    pair.settle()
    assert modes(pair) == [True, False, True, False]


def test_selectors_that_do_not_take_the_hosts_end_the_attempt() -> None:
    """RFC 7296 §2.23.1: exactly one address, which is that of the IKE SA."""
    pair = NatPair([transport(local="192.0.2.0/24")], [transport()])
    pair.up()
    (closed,) = pair.west.traces("ike-sa-closed")
    assert closed["reason"] == (
        f"transport mode between {IP1} and {IPN2} is outside the selectors"
    )
    assert not pair.west.endpoint.tables.ike_sas


def test_tfc_padding_is_left_out() -> None:
    """RFC 4303 §2.7: nothing would tell where the payload ends."""
    pair = NatPair([transport(tfc_pad_to=500)], [transport(tfc_pad_to=500)])
    pair.up()
    for name in (WEST, EAST):
        (child,) = pair.ike(name).children.values()
        assert child.parameters.tfc_pad_to == 0


Change = list[Payload]


def without_mode(payloads: Sequence[Payload]) -> Change:
    """Take N(USE_TRANSPORT_MODE) out."""
    return [
        p
        for p in payloads
        if not isinstance(p, NotifyPayload)
        or p.notify_type != NotifyType.USE_TRANSPORT_MODE
    ]


def with_selectors(payloads: Sequence[Payload], text: str) -> Change:
    """Put other selectors of the peer's side in."""
    wrong = (TrafficSelector.parse(text),)
    return [
        replace(p, selectors=wrong)
        if isinstance(p, TsPayload) and not p.is_initiator
        else p
        for p in payloads
    ]


@pytest.mark.parametrize(
    "text", ["10.9.9.9", "10.9.9.0/24", "2001:db8::9"], ids=["other", "many", "IPv6"]
)
def test_an_answer_for_other_hosts_is_refused(text: str) -> None:
    """RFC 7296 §2.23.1: without a NAT the addresses have to be the same."""
    pair = NatPair([transport()], [transport()], IP1, IP1, IP2, IP2)

    def change(header: Header, payloads: Sequence[Payload]) -> Change | None:
        return with_selectors(payloads, text) if header.message_id == 1 else None

    pair.rewrite(EAST, change)
    pair.up()
    (failed,) = pair.west.traces("child-sa-failed")
    assert failed["reason"] == "the answer's selectors are not the two hosts"
    pair.check_closed()


@pytest.mark.parametrize("text", ["10.9.9.9", "10.9.9.0/24"], ids=["other", "many"])
def test_a_request_for_other_hosts_is_refused(text: str) -> None:
    """RFC 7296 §2.23.1: nobody gets transport mode to a third host."""
    pair = NatPair([transport()], [transport()], IP1, IP1, IP2, IP2)

    def change(header: Header, payloads: Sequence[Payload]) -> Change | None:
        return with_selectors(payloads, text) if header.message_id == 1 else None

    pair.rewrite(WEST, change)
    pair.up()
    assert "N(TS_UNACCEPTABLE)" in pair.said(EAST)[1]


def test_an_answer_in_transport_mode_that_nobody_asked_for() -> None:
    """RFC 7296 §1.3.1: refused, and the peer is told by a DELETE."""
    pair = NatPair(
        [child_policy(local=ANY, remote=ANY)], [child_policy(local=ANY, remote=ANY)]
    )
    mode = NotifyPayload(NotifyType.USE_TRANSPORT_MODE)

    def change(header: Header, payloads: Sequence[Payload]) -> Change | None:
        return [mode, *payloads] if header.message_id == 1 else None

    pair.rewrite(EAST, change)
    pair.up()
    (failed,) = pair.west.traces("child-sa-failed")
    assert failed["reason"] == "the answer is in another mode than we asked for"
    pair.check_closed()


def test_a_rekey_keeps_its_mode() -> None:
    """RFC 7296 §1.3.3: a rekey in another mode is none; who asks for it starts over."""
    pair = NatPair([transport()], [transport()], IP1, IP1, IP2, IP2)
    pair.up()

    def change(header: Header, payloads: Sequence[Payload]) -> Change | None:
        return without_mode(payloads)

    pair.rewrite(WEST, change)
    pair.rekey_child(WEST)
    pair.settle()
    assert any("N(TS_UNACCEPTABLE)" in said for said in pair.said(EAST))
    assert modes(pair) == [True, True]
