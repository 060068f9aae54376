"""How large an inner packet may be [9329-3-limit]."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_support import ALL_SUITES, GCM, ipv4, keys
from iketcp.crypto.suite import Suite
from iketcp.environment import ScriptedEntropy
from iketcp.errors import ConfigurationError
from iketcp.esp.mtu import inner_mtu
from iketcp.esp.packet import packet_size
from iketcp.esp.protection import OutboundSa

OUTER = {4: 20, 6: 40}


@pytest.mark.parametrize("suite", ALL_SUITES, ids=Suite.describe)
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("path_mtu", [1280, 1499, 1500, 9000])
def test_largest_packet_fits_and_one_octet_more_does_not(
    suite: Suite, version: int, path_mtu: int
) -> None:
    """RFC 9329 §3: outer IP header, UDP header and a whole ESP packet."""
    key, integrity_key = keys(suite.cipher, "k")
    sa = OutboundSa(b"SPI!", suite, key, integrity_key, ScriptedEntropy("iv"))
    largest = inner_mtu(path_mtu, version, suite)
    overhead = OUTER[version] + 8
    assert overhead + len(sa.seal(ipv4(bytes(largest - 20)))) <= path_mtu
    assert overhead + len(sa.seal(ipv4(bytes(largest - 19)))) > path_mtu


@given(
    path_mtu=st.integers(250, 65535),
    version=st.sampled_from([4, 6]),
    suite=st.sampled_from(ALL_SUITES),
)
def test_inverse_of_packet_size(path_mtu: int, version: int, suite: Suite) -> None:
    """RFC 9329 §3, for every path."""
    largest = inner_mtu(path_mtu, version, suite)
    room = path_mtu - OUTER[version] - 8
    assert packet_size(largest, suite.cipher) <= room
    assert packet_size(largest + 1, suite.cipher) > room


def test_known_values() -> None:
    """Ethernet: 1500 - 20 - 8 - 8 - 8 - 16 - 2, then down to the alignment."""
    assert inner_mtu(1500, 4, GCM) == 1438
    assert inner_mtu(1500, 6, GCM) == 1418


@pytest.mark.parametrize("path_mtu", [0, 60, 127])
def test_path_too_narrow(path_mtu: int) -> None:
    """No IPv4 link carries less than 68 octets."""
    with pytest.raises(ConfigurationError, match="no room"):
        inner_mtu(path_mtu, 4, GCM)
