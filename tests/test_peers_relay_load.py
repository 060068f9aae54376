"""Many idle connections cost a relay little: 100 KiB each at most, thread included.

As many as the usual limit on descriptors lets a test have; the program has more.
"""

from relay_load import measure


def test_idle_connections_cost_little() -> None:
    load = measure(300, is_tls=False, idle_seconds=0.0)
    assert load.octets_each < 100 << 10
