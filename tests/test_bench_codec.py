"""The benchmark of codecs: that it does the work it counts."""

from __future__ import annotations

import json
from pathlib import Path

from iketcp.bench import codec
from iketcp.bench.codec import Case, Work, measure_all, speed
from iketcp.crypto.ciphers import SUPPORTED_IN_ESP
from iketcp.ike.message import decode_message, encode_message
from test_cli import run


def test_preparation_does_not_count() -> None:
    """Two seconds of work for each million octets, one of them before the first."""
    now = 0.0
    made: list[int] = []

    def prepare() -> int:
        nonlocal now
        now += 1000.0
        return len(made)

    def do(number: int) -> None:
        nonlocal now
        assert number == len(made)
        made.append(number)
        now += 2.0

    assert speed(Work(do, 1_000_000, prepare), 9.0, lambda: now) == 0.5
    assert len(made) == 1 + 5


def test_every_message_is_found() -> None:
    """Both ways of decoding find the frames and the IKE message between them."""
    cases = {case.name: case.works for case in codec.stream_cases()}
    assert list(cases) == [f"{size} octets" for size in codec.SIZES]
    for size, works in zip(codec.SIZES, cases.values(), strict=True):
        count = 2 * (codec.STREAM_OCTETS // size) + 1
        assert works["decode MB/s"].do(None) == works["one by one"].do(None) == count
        assert 2 * works["frame"].octets < works["one by one"].octets


def test_the_message_is_one_that_is_understood() -> None:
    header, payloads = codec.ike_sa_init()
    message = decode_message(encode_message(header, payloads))
    assert list(message.payloads) == payloads
    for case in codec.ike_cases():
        for work in case.works.values():
            work.do(work.prepare())


def test_every_packet_is_sealed_and_opened() -> None:
    """None is refused as a replay, however often the work is done."""
    here = codec.child_sa(codec.USUAL, codec.SPI, codec.OTHER_SPI)
    there = codec.child_sa(codec.USUAL, codec.OTHER_SPI, codec.SPI)
    packets = codec.inner_packets(1400)
    for _ in range(3):
        (sealed,) = here.seal_runs(packets)
        assert there.open_batch(sealed).packets == packets
    assert there.counters.packets_in == 3 * codec.BATCH


def test_every_suite_has_a_row() -> None:
    cases = list(codec.esp_cases())
    names = [case.name for case in cases]
    assert names[0] == "AES_GCM_16-256, 1400 octets"
    assert len(set(names)) == len(names)
    kinds = {(spec.encr, spec.integ) for spec in SUPPORTED_IN_ESP}
    assert len(cases) == len(kinds) + len(codec.SIZES) - 1


def test_rows_have_a_figure_a_round() -> None:
    work = Work(lambda _: sum(range(100)), 1000)
    cases = [Case(name, {"seal MB/s": work, "open": work}) for name in ("a", "b")]
    said: list[str] = []
    (chart,) = measure_all({"ESP": cases}, 2, 0.001, said.append)
    assert (chart.title, chart.unit, chart.compared_with) == ("ESP", "seal MB/s", "a")
    assert [len(row.figures) for row in chart.rows] == [2, 2]
    assert all(len(row.further["open"]) == 2 for row in chart.rows)
    assert all(figure > 0 for row in chart.rows for figure in row.figures)
    assert said == ["round 1 of 2", "round 2 of 2"]


def test_the_command_measures_all(tmp_path: Path) -> None:
    file = tmp_path / "codec.json"
    options = ["--rounds", "1", "--seconds", "0.001", "--json", str(file)]
    assert "ESP, 64 packets together" in run("bench", "codec", *options).stdout
    found = json.loads(file.read_text())
    assert [chart["title"] for chart in found["charts"]] == list(codec.all_groups())
