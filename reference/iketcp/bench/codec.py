"""How fast octets become messages, and messages octets: no socket, no device.

Counted is the processor time of this thread alone, so that other programs disturb it
little. An octet counts once: of the stream those of frames, of IKE those of messages,
of ESP those of inner packets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from iketcp.bench.options import ROUNDS, JsonFile, Rounds
from iketcp.bench.report import Chart, Row, deliver
from iketcp.child_sa import ChildSaParameters
from iketcp.crypto.ciphers import SUPPORTED_IN_ESP
from iketcp.crypto.suite import Suite
from iketcp.environment import ScriptedEntropy
from iketcp.esp.child_sa import ChildSa
from iketcp.ike.header import Header
from iketcp.ike.keywords import parse_ike_proposal
from iketcp.ike.message import decode_message, encode_message
from iketcp.ike.payloads import KePayload, NoncePayload, NotifyPayload, Payload
from iketcp.ike.payloads import SaPayload as Sa
from iketcp.offload.rows import PacketRows
from iketcp.registry import (
    EncryptionAlgorithm,
    ExchangeType,
    IpProtocol,
    KeyExchangeMethod,
    NotifyType,
)
from iketcp.selectors import any_ipv4
from iketcp.stream import StreamDecoder, frame_esp_batch, frame_ike

SIZES = (1400, 100, 9000)
"""Octets of a message or of an inner packet, the usual one first."""

PIECE = 1 << 16
"""Octets of what one read of a connection brings."""

STREAM_OCTETS = 1 << 20
BATCH = 64
"""Packets that are sealed or opened together, as they come from a device."""

USUAL = Suite(EncryptionAlgorithm.ENCR_AES_GCM_16, 256)
SPI, OTHER_SPI = b"\xc0\xff\xee\x01", b"\xc0\xff\xee\x02"


@dataclass(frozen=True, slots=True)
class Work:
    """Something to be done again and again.

    Parameters
    ----------
    do : Callable
        Takes what ``prepare`` returned.
    octets : int
        That it deals with each time.
    prepare : Callable
        Called before each time; its own time does not count.
    """

    do: Callable[[Any], object]
    octets: int
    prepare: Callable[[], Any] = lambda: None


@dataclass(frozen=True, slots=True)
class Case:
    """A row of a chart: what is done, by the heading of its column."""

    name: str
    works: Mapping[str, Work]


def speed(
    work: Work, seconds: float, clock: Callable[[], float] = time.thread_time
) -> float:
    """Return the rate in MB (a million octets) for each second of processor time.

    Parameters
    ----------
    seconds : float
        How long to work.
    clock : Callable
        Seconds of work so far.
    """
    work.do(work.prepare())  # what is made on first use is made now
    count, taken = 0, 0.0
    while taken < seconds or not taken:
        given = work.prepare()
        begin = clock()
        work.do(given)
        taken += clock() - begin
        count += 1
    return count * work.octets / taken / 1e6


# --- the stream -----------------------------------------------------------------------


def esp_like(size: int, count: int) -> list[bytes]:
    """Make what looks like ESP packets of one SA, numbered from 1."""
    numbers = range(1, count + 1)
    return [SPI + number.to_bytes(4, "big") + bytes(size - 8) for number in numbers]


def stream_cases() -> Iterator[Case]:
    """Frames of each size, with an IKE message among them. RFC 9329 §3."""
    ike = frame_ike(encode_message(*ike_sa_init()))
    for size in SIZES:
        packets = esp_like(size, STREAM_OCTETS // size)
        frames = frame_esp_batch(packets)
        stream = frames + ike + frames
        pieces = [stream[at : at + PIECE] for at in range(0, len(stream), PIECE)]
        works = {
            "decode MB/s": Work(partial(_feed_runs, pieces), len(stream)),
            "one by one": Work(partial(_feed, pieces), len(stream)),
            "frame": Work(partial(_frame, packets), len(frames)),
        }
        yield Case(f"{size} octets", works)


def _frame(packets: Sequence[bytes], _: object) -> None:
    frame_esp_batch(packets)


def _feed_runs(pieces: Sequence[bytes], _: object) -> int:
    """Return how many messages there were, as below."""
    decoder = StreamDecoder(expects_prefix=False)
    runs = (run for piece in pieces for _, run in decoder.feed_runs(piece))
    return sum(map(len, runs))


def _feed(pieces: Sequence[bytes], _: object) -> int:
    decoder = StreamDecoder(expects_prefix=False)
    return sum(len(decoder.feed(piece)) for piece in pieces)


# --- IKE messages ---------------------------------------------------------------------


def ike_sa_init(
    method: int = KeyExchangeMethod.CURVE25519, size: int = 32
) -> tuple[Header, list[Payload]]:
    """Return header and payloads of a usual request. RFC 7296 §1.2."""
    header = Header(
        bytes(7) + b"\1", bytes(8), ExchangeType.IKE_SA_INIT, 0, False, True
    )
    proposal = parse_ike_proposal("aes256gcm16-aes128gcm16-prfsha256-x25519")
    payloads: list[Payload] = [
        Sa((proposal,)),
        KePayload(method, bytes(size)),
        NoncePayload(bytes(32)),
        NotifyPayload(NotifyType.NAT_DETECTION_SOURCE_IP, bytes(20)),
        NotifyPayload(NotifyType.NAT_DETECTION_DESTINATION_IP, bytes(20)),
        NotifyPayload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED),
        NotifyPayload(NotifyType.SIGNATURE_HASH_ALGORITHMS, bytes(8)),
    ]
    return header, payloads


def ike_cases() -> Iterator[Case]:
    """One message with a small and one with a large public value. RFC 7296 §3."""
    methods = {
        KeyExchangeMethod.CURVE25519: 32,
        KeyExchangeMethod.ML_KEM_768: 1184,
    }
    for method, size in methods.items():
        header, payloads = ike_sa_init(method, size)
        octets = encode_message(header, payloads)
        works = {
            "parse MB/s": Work(decode_message, len(octets), partial(bytes, octets)),
            "build": Work(partial(_build, header, payloads), len(octets)),
        }
        yield Case(f"IKE_SA_INIT, {method.name}, {len(octets)} octets", works)


def _build(header: Header, payloads: Sequence[Payload], _: object) -> None:
    encode_message(header, payloads)


# --- ESP ------------------------------------------------------------------------------


def child_sa(suite: Suite, spi_in: bytes, spi_out: bytes) -> ChildSa:
    """Make one side of a Child SA, whose keys are the same for both directions."""
    entropy = ScriptedEntropy("iketcp.bench.codec")
    encryption = entropy.draw("encryption", suite.cipher.key_size)
    integrity = entropy.draw("integrity", suite.cipher.integrity_key_size)
    keys = (encryption, integrity, encryption, integrity)
    everything = (any_ipv4(),)
    parameters = ChildSaParameters(
        "bench", spi_in, spi_out, suite, *keys, everything, everything
    )
    return ChildSa(parameters, entropy)


def inner_packets(size: int) -> PacketRows:
    """Make IPv4 packets of one UDP flow, as the device gives them."""
    head = b"\x45\0" + size.to_bytes(2, "big") + bytes(4)
    head += bytes([64, IpProtocol.UDP, 0, 0]) + b"\x0a\1\0\1" + b"\x0a\2\0\1"
    return PacketRows.of([head + bytes(size - len(head))] * BATCH)


def esp_cases() -> Iterator[Case]:
    """The usual suite at every size, then every suite at one. RFC 4303 §3.

    Of AES with the longest key: its length changes little.
    """
    for size in SIZES:
        yield _esp_case(USUAL, size)
    for spec in SUPPORTED_IN_ESP:
        suite = Suite(spec.encr, spec.key_bits, integ=spec.integ)
        if suite != USUAL and spec.key_bits in (256, None):
            yield _esp_case(suite, SIZES[1])


def _esp_case(suite: Suite, size: int) -> Case:
    """Seal with one side and open with the other, each packet once."""
    here, there = child_sa(suite, SPI, OTHER_SPI), child_sa(suite, OTHER_SPI, SPI)
    packets = inner_packets(size)
    octets = BATCH * size

    def open_all(runs: Sequence[Sequence[bytes]]) -> None:
        for run in runs:
            there.open_batch(run)

    works = {
        "seal MB/s": Work(lambda _: here.seal_runs(packets), octets),
        "open": Work(open_all, octets, lambda: here.seal_runs(packets)),
    }
    return Case(f"{suite.describe()}, {size} octets", works)


# --- all of it ------------------------------------------------------------------------


def measure_all(
    groups: Mapping[str, Sequence[Case]],
    rounds: int,
    seconds: float,
    say: Callable[[str], None] = lambda text: None,
) -> list[Chart]:
    """Measure every case, round by round; a chart for each group.

    The first row of a group counts as 1.
    """
    charts = [
        Chart(title, next(iter(cases[0].works)), _rows(cases), cases[0].name)
        for title, cases in groups.items()
    ]
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for chart, cases in zip(charts, groups.values(), strict=True):
            for row, case in zip(chart.rows, cases, strict=True):
                for heading, work in case.works.items():
                    is_first = heading == chart.unit
                    figures = row.figures if is_first else row.further[heading]
                    figures.append(speed(work, seconds))
    return charts


def _rows(cases: Sequence[Case]) -> list[Row]:
    return [
        Row(case.name, further={heading: [] for heading in list(case.works)[1:]})
        for case in cases
    ]


def all_groups() -> dict[str, list[Case]]:
    """Every case, by the title of its chart."""
    return {
        "Stream of frames": list(stream_cases()),
        "IKE messages": list(ike_cases()),
        f"ESP, {BATCH} packets together": list(esp_cases()),
    }


def command(
    rounds: Rounds = ROUNDS,
    seconds: Annotated[
        float, typer.Option(min=0.001, help="Processor time for each figure.")
    ] = 0.1,
    json_file: JsonFile = None,
) -> None:
    """Frames, IKE messages and ESP packets, made and read."""
    charts = measure_all(
        all_groups(), rounds, seconds, lambda text: typer.echo(text, err=True)
    )
    deliver("codec", charts, json_file, {"rounds": rounds, "seconds": seconds})


__all__ = [
    "Case",
    "Work",
    "all_groups",
    "child_sa",
    "command",
    "esp_cases",
    "esp_like",
    "ike_cases",
    "ike_sa_init",
    "inner_packets",
    "measure_all",
    "speed",
    "stream_cases",
]
