"""The benchmark of threads: that they do the work it counts."""

from __future__ import annotations

from iketcp.bench import threads
from iketcp.offload.coalescing import coalesce
from iketcp.offload.rows import PacketRows
from iketcp.offload.segmentation import split_all


def test_the_segments_are_what_a_device_gives() -> None:
    """They are cut together, are right, and can be joined again."""
    runs, broken = split_all(threads.large_segments())
    assert broken == 0
    (run,) = runs
    assert isinstance(run, PacketRows)
    assert (len(run), run.size) == (threads.READS * threads.SEGMENTS, 1400)
    assert len(coalesce(run)) < 2 * threads.READS


def test_a_batch_goes_all_the_way() -> None:
    carry = threads.path_of_a_batch()
    assert carry() == carry() == threads.READS * threads.SEGMENTS * threads.MSS


def test_one_thread_and_two_have_a_figure_a_round() -> None:
    chart = threads.measure(2, 0.001)
    assert [len(row.figures) for row in chart.rows] == [2, 2]
    assert all(figure > 0 for row in chart.rows for figure in row.figures)
    assert chart.compared_with == "one thread"
