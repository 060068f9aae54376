"""How large an inner packet may be.

A stream has no packet size, but what crosses the tunnel should not be larger than what
UDP encapsulation would carry on the same path: that keeps a tunnel's behaviour the same
on either transport. So the inner MTU is what is left of the path MTU after an outer IP
header, a UDP header and the ESP overhead; nothing has to be left for the Length field.

Source: RFC 9329 §3
"""

from iketcp.crypto.suite import Suite
from iketcp.errors import ConfigurationError
from iketcp.esp.packet import alignment, packet_size

_OUTER_HEADER_SIZES = {4: 20, 6: 40}
_UDP_HEADER_SIZE = 8
_MIN_INNER_MTU = 68


def inner_mtu(path_mtu: int, outer_version: int, suite: Suite) -> int:
    """Return the largest inner packet whose ESP packet fits the path.

    TFC padding is not counted: it makes small packets larger, never the largest.

    Parameters
    ----------
    path_mtu : int
        Largest outer IP packet, in octets.
    outer_version : int
        IP version outside, 4 or 6.
    suite : Suite
        The Child SA's suite.

    Raises
    ------
    ConfigurationError
        Fewer than the 68 octets that every IPv4 link must carry are left.

    Source: RFC 9329 §3 [9329-3-limit]
    """
    spec = suite.cipher
    room = path_mtu - _OUTER_HEADER_SIZES[outer_version] - _UDP_HEADER_SIZE
    multiple = alignment(spec)
    # an ESP packet of an empty payload ends `multiple` octets of trailer later
    blocks = (room - packet_size(0, spec)) // multiple + 1
    largest = blocks * multiple - 2
    if largest < _MIN_INNER_MTU:
        raise ConfigurationError(
            f"a path MTU of {path_mtu} octets leaves no room for a tunnel with "
            f"{suite.describe()}"
        )
    return largest
