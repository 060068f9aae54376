"""The queue of the tunnel device: whose turn it is, and what is lost when full."""

import random
from collections import defaultdict

from iketcp.offload.fair_queue import MAX_FLOWS, QUANTUM, FairQueue


def drain(queue: FairQueue) -> list[bytes]:
    return list(iter(queue.take, None))


def bulk(count: int, size: int = QUANTUM) -> list[bytes]:
    """Large packets of one flow, each of another content."""
    return [number.to_bytes(2, "big") + bytes(size - 2) for number in range(count)]


def put(queue: FairQueue, packets: list[bytes], flow: bytes) -> int:
    return sum(queue.put(packet, flow) for packet in packets)


def test_an_empty_queue_has_nothing() -> None:
    queue = FairQueue()
    assert not queue
    assert queue.take() is None
    queue.put(b"packet", b"flow")
    assert queue
    assert queue.take() == b"packet"
    assert queue.take() is None
    assert not queue


def test_one_flow_keeps_its_order() -> None:
    queue, packets = FairQueue(), bulk(20)
    put(queue, packets, b"flow")
    assert queue.octets == 20 * QUANTUM
    assert drain(queue) == packets


def test_a_new_flow_goes_before_what_waits() -> None:
    """It does not wait for more than the turn that has begun."""
    queue, packets = FairQueue(), bulk(8)
    put(queue, packets, b"bulk")
    assert queue.take() == packets[0]
    queue.put(b"echo", b"ping")
    queue.put(b"request", b"ping")
    assert [queue.take() for _ in range(3)] == [b"echo", b"request", packets[1]]


def test_busy_flows_share_by_octets() -> None:
    """Of large packets as many octets go as of small ones, turn by turn."""
    queue = FairQueue()
    put(queue, bulk(4, 4 * QUANTUM), b"large")
    put(queue, bulk(64, QUANTUM // 4), b"small")
    sent = {4 * QUANTUM: 0, QUANTUM // 4: 0}
    while packet := queue.take():
        sent[len(packet)] += len(packet)
        assert abs(sent[4 * QUANTUM] - sent[QUANTUM // 4]) <= 5 * QUANTUM
    assert set(sent.values()) == {16 * QUANTUM}


def test_a_flow_that_comes_again_at_once_is_no_new_one() -> None:
    """With one packet at a time it does not keep a busy flow from its turn."""
    queue, packets = FairQueue(), bulk(8)
    put(queue, packets, b"bulk")
    assert queue.take() == packets[0]
    again, taken = bytes(QUANTUM // 2), []
    for _ in range(8):
        queue.put(again, b"eager")
        taken.append(queue.take())
    assert taken.count(again) == 6
    assert [each for each in taken if each != again] == packets[1:3]


def test_the_longest_line_loses_its_oldest() -> None:
    """Others lose nothing, and order is kept."""
    queue, packets = FairQueue(limit=10 * QUANTUM), bulk(13)
    queue.put(b"echo", b"ping")
    assert put(queue, packets, b"bulk") == 4
    assert queue.octets <= 10 * QUANTUM
    assert drain(queue) == [b"echo", *packets[4:]]


def test_what_is_larger_than_the_queue_does_not_stay() -> None:
    queue = FairQueue(limit=100)
    assert queue.put(bytes(101), b"flow") == 1
    assert queue.take() is None
    assert queue.put(bytes(100), b"flow") == 0


def test_flows_beyond_the_limit_share_a_line() -> None:
    """However many flows there are, lines are few and nothing is lost."""
    queue = FairQueue()
    for number in range(3 * MAX_FLOWS):
        queue.put(b"%d" % number, b"flow %d" % number)
    assert len(queue._lines) <= MAX_FLOWS + 1
    assert sorted(map(int, drain(queue))) == list(range(3 * MAX_FLOWS))
    assert not queue._lines


def test_any_mixture_keeps_each_flow_in_order() -> None:
    """Whatever comes and goes: the order within a flow, and the sum of octets."""
    chance, queue = random.Random(9329), FairQueue(limit=1 << 30)
    sent: dict[int, list[bytes]] = defaultdict(list)
    seen: dict[int, list[bytes]] = defaultdict(list)
    for number in range(5000):
        if chance.random() < 0.6:
            flow = chance.randrange(MAX_FLOWS // 8)
            packet = b"%d %d " % (flow, number) + bytes(chance.randrange(30000))
            queue.put(packet, b"%d" % flow)
            sent[flow].append(packet)
        elif packet := queue.take() or b"":
            seen[int(packet.split()[0])].append(packet)
    for packet in drain(queue):
        seen[int(packet.split()[0])].append(packet)
    assert seen == sent
    assert queue.octets == 0
