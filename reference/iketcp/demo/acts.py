"""What happens in the demonstration, and what proves that it did.

Each act drives the director and carries out one or more steps of the programme. A step
ends only when the evidence is there: both traces, the hashes, the counters of the
Child SAs, the devices in the namespaces.
"""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from iketcp.demo.children import Child
from iketcp.demo.director import Director
from iketcp.demo.programme import Programme, StepFailed
from iketcp.demo.scenery import (
    EAST,
    INNER,
    SITES,
    TUNNEL_DEVICE,
    TUNNEL_MTU,
    WEST,
)
from iketcp.demo.transfer import TRANSFER_SECONDS, Result, Transfer

PINGS = 3
LOAD_SECONDS = 1.5
"""How long the transfers during the cut and the rekey are meant to take."""

SMALLEST_LOAD = 8 << 20
LARGEST_LOAD = 8
"""Times the measured transfer; what is sent repeats itself then."""

CUT_AT = 0.3
REKEY_AT = 0.3
"""Share of a transfer that has arrived when its trouble begins."""

GOODBYE_SECONDS = 8.0


@dataclass(slots=True)
class Performance:
    """What the acts share."""

    director: Director
    programme: Programme
    transfer: Callable[[int], Transfer]
    """Makes a transfer of so many octets."""
    octets: int
    """Size of the measured transfer."""
    load: int = 0
    """Size of the others, once the rate is known."""


def handshake(play: Performance) -> None:
    """Start both sites and follow them until the tunnel is up.

    Raises
    ------
    StepFailed
        Something of it does not happen.
    """
    director, evidence = play.director, play.director.evidence
    with play.programme.step("stream") as step:
        director.start_sites()
        director.command(WEST, "prepare", octets=play.octets)
        director.wait(evidence.connection, "no connection with a stream prefix")
        opened = evidence.connection() or {}
        step.evidence = f"{opened['local']} to {opened['remote']}"
        if director.wrapping.is_tls:
            step.evidence += f", {_protection(play)}"
    with play.programme.step("init") as step:
        director.wait(
            lambda: evidence.exchange(WEST, "IKE_SA_INIT") and evidence.agreed_keys(),
            "no IKE_SA_INIT after which both sides have the same keys",
        )
        step.evidence = (evidence.agreed_keys() or {})["suite"]
    with play.programme.step("auth") as step:
        director.wait(
            lambda: (
                evidence.exchange(WEST, "IKE_AUTH")
                and evidence.established()
                and evidence.child()
            ),
            "no IKE_AUTH after which both sides have the same IKE SA and Child SA",
        )
        child, sa = evidence.child() or {}, evidence.established() or {}
        step.evidence = (
            f"IKE SA {sa['spi_i'][:8]}…, SPIs {child['spi_in']} and {child['spi_out']}"
        )
    with play.programme.step("device") as step:
        director.wait(lambda: _are_devices_up(director), _missing_device())
        step.evidence = f"MTU {TUNNEL_MTU}, {', '.join(INNER[WEST])} assigned"


def _protection(play: Performance, mark: dict[str, int] | None = None) -> str:
    """Return how a connection is protected, in which both sides have to agree."""
    director, evidence = play.director, play.director.evidence
    director.wait(lambda: evidence.protections(mark), "no TLS on both sides")
    found = evidence.protections(mark)
    if len(found) > 1:
        raise StepFailed(f"the sides see different protection: {', '.join(found)}")
    return found.pop()


def _missing_device() -> str:
    return f"no device {TUNNEL_DEVICE} with its addresses in each namespace"


def _are_devices_up(director: Director) -> bool:
    return all(
        TUNNEL_DEVICE in found
        and found[TUNNEL_DEVICE]["mtu"] == TUNNEL_MTU
        and set(INNER[site]) <= set(found[TUNNEL_DEVICE]["addresses"])
        for site, found in ((site, director.devices(site)) for site in SITES)
    )


def ping(play: Performance) -> None:
    """Ping the eastern site from the western, inside, by IPv4 and IPv6.

    Raises
    ------
    StepFailed
        An answer is missing, or it did not come through the tunnel.
    """
    director = play.director
    with play.programme.step("ping") as step:
        before = _packets(director)
        times = []
        for target in INNER[EAST]:
            after = director.command(WEST, "ping", target=target, count=PINGS)
            for at in range(PINGS):
                pong = director.wait_report(WEST, "pong", after + at)
                times.append(_told(director, pong))
        carried = _packets(director) - before
        if carried < 2 * len(times):
            raise StepFailed(f"only {carried} packets went through the tunnel")
        mean = sum(times) / len(times) * 1000
        step.evidence = f"{len(times)} of {len(times)} answered, mean {mean:.2f} ms"


def _told(director: Director, pong: Any) -> float:
    target, sequence = pong["target"], pong["sequence"]
    if pong["seconds"] is None:
        raise StepFailed(f"{target} does not answer ping {sequence}")
    seconds = float(pong["seconds"])
    director.say(
        f"ping {target}: {pong['octets']} octets, seq {sequence}, "
        f"{seconds * 1000:.2f} ms",
        WEST,
    )
    return seconds


def _packets(director: Director) -> int:
    """Packets that both directions of west's Child SAs have carried so far."""
    return sum(
        child["packets_in"] + child["packets_out"]
        for child in director.counters(WEST).values()
    )


def measure(play: Performance) -> None:
    """Send the big transfer and measure it.

    Raises
    ------
    StepFailed
        It does not arrive, or not as it was sent.
    """
    director = play.director
    with play.programme.step("transfer") as step:
        director.wait_report(WEST, "prepared", seconds=TRANSFER_SECONDS)
        before = _packets(director)
        with play.transfer(play.octets) as transfer:
            transfer.start()
            result = transfer.finish()
        carried = _packets(director) - before
        if carried < play.octets // TUNNEL_MTU:
            raise StepFailed(f"only {carried} packets went through the tunnel")
        rate = result.octets * 8 / result.seconds
        step.evidence = (
            f"{_mebi(result.octets)} at {rate / 1e6:.0f} Mbit/s, {result.short_hash}"
        )
    wanted = int(rate / 8 * LOAD_SECONDS)
    least, most = min(SMALLEST_LOAD, play.octets), LARGEST_LOAD * play.octets
    play.load = max(least, min(wanted, most))


def cut(play: Performance) -> None:
    """Break the TCP connection in mid-transfer and watch the tunnel come back.

    Raises
    ------
    StepFailed
        It does not come back, not over the same SAs, or the transfer is damaged.
    """
    director, evidence = play.director, play.director.evidence
    with play.transfer(play.load) as transfer:
        with play.programme.step("cut") as step:
            transfer.start()
            transfer.wait_share(CUT_AT)
            mark, arrived = evidence.mark(), transfer.arrived
            director.say("cuts the TCP connection (RST)", WEST, "yellow")
            director.ask(WEST, "cut")
            director.wait(
                lambda: evidence.are_closed(mark),
                "the connection did not end on both sides",
            )
            step.evidence = f"after {_mebi(arrived)} of {_mebi(transfer.octets)}"
        with play.programme.step("back") as step:
            director.wait(
                lambda: (
                    evidence.connection(mark)
                    and evidence.exchange(WEST, "EMPTY", mark)
                    and evidence.has_returned(mark)
                ),
                "no new connection with prefix, empty INFORMATIONAL and moved mapping",
            )
            result = transfer.finish()
            gap = _check_return(play, mark, result)
            step.evidence = f"{gap * 1000:.0f} ms later, same SPIs, same hash"
            if director.wrapping.is_tls:
                step.evidence += f", {_resumption(play, mark)}"


def _check_return(play: Performance, mark: dict[str, int], result: Result) -> float:
    """Return the seconds from the end of the connection to the answer on the next."""
    evidence = play.director.evidence
    for kind in ("ike-keys", "ike-sa-established", "child-sa-installed"):
        if any(evidence.of(site, kind, mark) for site in SITES):
            raise StepFailed(f"the SAs are not the same ones: {kind}")
    ended = float(evidence.of(WEST, "connection-closed", mark)[0]["time"])
    if result.ended < ended:
        raise StepFailed("the transfer was over before the connection was cut")
    exchange = evidence.exchange(WEST, "EMPTY", mark)
    return float(exchange.response["time"]) - ended if exchange else 0.0


def _resumption(play: Performance, mark: dict[str, int]) -> str:
    """Want the session of TLS to be resumed. RFC 9329 App. B.3."""
    protection = _protection(play, mark)
    if not protection.endswith(" resumed"):
        raise StepFailed(f"the session of TLS is not resumed: {protection}")
    return "TLS resumed"


def rekey(play: Performance) -> None:
    """Rekey the Child SA while a transfer runs through it.

    Raises
    ------
    StepFailed
        There is no new Child SA, the old one stays, nothing goes through the new one,
        or the transfer is damaged.
    """
    director, evidence = play.director, play.director.evidence
    with play.programme.step("rekey") as step, play.transfer(play.load) as transfer:
        old = evidence.child() or {}
        transfer.start()
        transfer.wait_share(REKEY_AT)
        mark = evidence.mark()
        director.ask(WEST, "rekey-child", name="net")
        director.wait(
            lambda: (
                evidence.exchange(WEST, "CREATE_CHILD_SA", mark)
                and evidence.child("child-sa-rekeyed", mark)
                and evidence.is_removed(old, mark)
            ),
            "no CREATE_CHILD_SA by which both sides replaced the Child SA",
        )
        result = transfer.finish()
        new = evidence.child("child-sa-rekeyed", mark) or {}
        if result.ended < float(new["time"]):
            raise StepFailed("the transfer was over before the Child SA was rekeyed")
        _check_new_child(director, old, new)
        step.evidence = f"SPI {old['spi_in']} became {new['spi_in']}, same hash"


def _check_new_child(director: Director, old: Any, new: Any) -> None:
    counters = director.counters(WEST)
    if old["spi_in"] in counters:
        raise StepFailed("the old Child SA is still there")
    if not counters.get(new["spi_in"], {}).get("packets_out"):
        raise StepFailed("no packet went through the new Child SA")


def goodbye(play: Performance) -> None:
    """End the IKE SA with DELETE and both peers after it.

    Raises
    ------
    StepFailed
        One side does not close, does not end in order, or leaves its device.
    """
    director, evidence = play.director, play.director.evidence
    with play.programme.step("delete") as step:
        mark = evidence.mark()
        peers = dict(director.peers)
        director.peers.clear()  # from here on they may end
        peers[WEST].signal(signal.SIGINT)
        director.wait(
            lambda: (
                evidence.exchange(WEST, "DELETE", mark)
                and all(evidence.of(s, "ike-sa-closed", mark) for s in SITES)
            ),
            "no DELETE after which both sides closed the IKE SA",
        )
        _see_off(director, WEST, peers[WEST])
        peers[EAST].signal(signal.SIGINT)
        _see_off(director, EAST, peers[EAST])
        for site in SITES:
            if TUNNEL_DEVICE in director.devices(site):
                raise StepFailed(f"{TUNNEL_DEVICE} is still there in the {site}")
        step.evidence = "both peers ended with 0, devices are gone"


def _see_off(director: Director, site: str, peer: Child) -> None:
    """Wait for a peer's end, which has to be one in order."""
    director.wait(
        lambda: peer.status is not None, f"{site}'s peer does not end", GOODBYE_SECONDS
    )
    if peer.status != 0:
        raise StepFailed(f"{site}'s peer ended with status {peer.status}")


def _mebi(octets: int) -> str:
    return f"{octets / (1 << 20):.0f} MiB"


ACTS = (
    ("The peers find each other", handshake),
    ("The tunnel carries packets", ping),
    ("A transfer through the tunnel", measure),
    ("The TCP connection breaks in mid-transfer", cut),
    ("The Child SA is rekeyed under load", rekey),
    ("The end", goodbye),
)
"""Chapters of the story, in order."""
