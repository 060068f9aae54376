"""The tables about connections, the tunnel device and what surrounds them.

A default stands here as the user would write it and goes through the same parser as
the user's values. Those of the mapping's limits are :class:`MappingPolicy`'s.

Source: RFC 9329 §6.1, RFC 9329 §9
"""

from iketcp.config.model import Role
from iketcp.config.schema import Key, Table
from iketcp.config.values import (
    address,
    boolean,
    choice,
    duration,
    integer,
    interface,
    list_of,
    network,
    path,
    size,
    text,
    words_or,
)
from iketcp.mapping import MappingPolicy

_INITIATOR: tuple[Role, ...] = ("initiator",)
_RESPONDER: tuple[Role, ...] = ("responder",)

_COUNT = integer(1, 1_000_000)
_LIMITS = MappingPolicy()


def _written(seconds: float) -> str:
    """Write a duration as the user would."""
    return f"{seconds:g}s"


TRANSPORT = Table(
    "transport",
    "How peers reach each other; most of it is about TCP connections: how they are "
    "made, kept and given up.",
    (
        Key(
            "protocol",
            choice("tcp", "udp"),
            "What IKE and ESP go over; both ends must use the same. Over UDP of this "
            "table only `dscp`, `path_mtu`, `reconnect_first` and `reconnect_max` "
            "mean anything, and `[udp]` has the rest.",
            default="tcp",
        ),
        Key(
            "connect_timeout",
            duration(),
            "Longest wait for a connection to come up.",
            default="10s",
            roles=_INITIATOR,
        ),
        Key(
            "reconnect_first",
            duration(),
            "A lost connection is made again at once; after a failure, this is the "
            "wait before the next attempt, and every further wait doubles.",
            default=_written(_LIMITS.reconnect_seconds),
            roles=_INITIATOR,
        ),
        Key(
            "reconnect_max",
            duration(),
            "Longest wait between attempts.",
            default=_written(_LIMITS.reconnect_limit_seconds),
            roles=_INITIATOR,
        ),
        Key(
            "user_timeout",
            duration(0.0),
            "A connection on which the peer's TCP takes nothing for so long is given "
            "up; the SAs stay, and the initiator connects again. This is how a change "
            "of address is noticed, by the next packet or liveness check. 0: as the "
            "system has it, which may be a quarter of an hour.",
            default="20s",
        ),
        Key(
            "send_queue",
            size(),
            "Octets that may wait for a slow peer. When they are more, inner packets "
            "are dropped and counted; IKE messages are not.",
            default="256KiB",
        ),
        Key(
            "dscp",
            integer(0, 63),
            "Differentiated Services code point of the connection.",
            default=0,
        ),
        Key(
            "path_mtu",
            integer(576, 65535),
            "Largest outer IP packet in octets. The tunnel's MTU is what UDP "
            "encapsulation would carry within it.",
            default=1500,
        ),
        Key(
            "extraneous_idle",
            duration(0.0),
            "A connection that a newer one has replaced is closed after being idle "
            "for so long; 0: never.",
            default=_written(_LIMITS.extraneous_seconds),
            roles=_RESPONDER,
        ),
        Key(
            "linger",
            duration(0.0),
            "How long after DELETE the initiator has time to close the connection.",
            default=_written(_LIMITS.linger_seconds),
            roles=_RESPONDER,
        ),
        Key(
            "cookie_wait",
            duration(),
            "How long after a request for a cookie the initiator has time to repeat "
            "its request on the connection.",
            default=_written(_LIMITS.cookie_seconds),
            roles=_RESPONDER,
        ),
        Key(
            "unknown_spi_limit",
            _COUNT,
            "ESP packets with unknown SPIs in a row that are borne; one more closes "
            "the connection.",
            default=_LIMITS.unknown_spi_limit,
        ),
        Key(
            "corrupt_limit",
            _COUNT,
            "Messages in a row that are neither IKE nor ESP and close the connection; "
            "one that fails its integrity check closes it at once.",
            default=_LIMITS.corrupt_limit,
        ),
        Key(
            "resync",
            words_or({"off": 0}, integer(1, 1000)),
            "How often a connection may search for the next message of its SAs after "
            "its framing was lost, instead of closing at once. It helps only where "
            "somebody changes octets on the way, and lets him make us search.",
            default="off",
        ),
        Key(
            "prefix_deadline",
            duration(),
            "The stream prefix and a first valid message must have come by then.",
            default=_written(_LIMITS.first_message_seconds),
            roles=_RESPONDER,
        ),
        Key(
            "half_open_limit_per_address",
            _COUNT,
            "Connections of one address that have not sent a valid message so far.",
            default=_LIMITS.half_open_address_limit,
            roles=_RESPONDER,
        ),
        Key(
            "half_open_limit",
            _COUNT,
            "Connections in all that have not sent a valid message so far.",
            default=_LIMITS.half_open_limit,
            roles=_RESPONDER,
        ),
        Key(
            "proxy_protocol_from",
            list_of(address(), "IP addresses"),
            "Addresses of balancers, or of other relays of TCP, that send a header of "
            "the PROXY protocol (either version) first. Of these it is required, and "
            "believed; from others it is not understood.",
            default=[],
            roles=_RESPONDER,
        ),
    ),
)

TUN = Table(
    "tun",
    "The tunnel device.",
    (
        Key(
            "mode",
            choice("device", "memory"),
            '"memory" makes no device: for tests and demonstrations.',
            default="device",
        ),
        Key(
            "dataplane",
            choice("user", "kernel"),
            'Who seals and opens packets: "kernel" leaves that to Linux, where it has '
            "ESP in TCP; [kernel.md](kernel.md) says which one does, and what does "
            "not go with it.",
            default="user",
        ),
        Key(
            "name",
            text(
                "(?!\\.{1,2}$)[A-Za-z0-9_.-]{1,15}",
                "a device name of at most 15 letters, digits and _.-",
            ),
            "Name of the device.",
            default="iketcp0",
        ),
        Key(
            "mtu",
            words_or({"auto": None}, integer(576, 65535)),
            'MTU of the device. "auto" follows from `path_mtu` and the suite. A larger '
            "number is faster, and works over TCP alone: UDP encapsulation could not "
            "carry such packets. Best the same on both sides.",
            default="auto",
        ),
        Key(
            "offloads",
            boolean(),
            "Move TCP segments to and from the device in pieces of up to 64 KiB, which "
            "is faster, if its MTU is below 4096. The peer sees no difference. The "
            "kernel does so by itself.",
            default=True,
        ),
        Key(
            "addresses",
            list_of(interface(), "addresses with prefix lengths"),
            "Addresses put on the device, besides those that the peer assigns.",
            default=[],
        ),
        Key(
            "routes",
            words_or(
                {"auto": None, "none": ()}, list_of(network(), "networks", most=4096)
            ),
            'Networks routed into the tunnel; "auto" takes the remote traffic '
            "selectors of each Child SA that comes up and, as a responder, the "
            "pool. A responder routes everything only if told so here.",
            default="auto",
        ),
        Key(
            "resolv_conf",
            path(),
            "File that receives the assigned DNS servers, such as "
            "`/etc/resolv.conf`; what was there is put back on exit. Unset: the "
            "servers are logged only.",
            roles=_INITIATOR,
        ),
    ),
)

HOOKS = Table(
    "hooks",
    "Programs that are run when a Child SA comes up or goes away; "
    "[hooks.md](hooks.md) says what they are told.",
    (
        Key("up", path(), "Run when a Child SA has come up; not when it is rekeyed."),
        Key("down", path(), "Run when a Child SA is gone and none took its place."),
        Key(
            "timeout",
            duration(),
            "A program that runs longer is ended. They run one after another.",
            default="10s",
        ),
    ),
)

CONTROL = Table(
    "control",
    "The Unix socket where a running peer answers `iketcp status`.",
    (
        Key(
            "socket",
            words_or({"auto": "auto", "none": None}, path()),
            '"auto" is `iketcp-ROLE.sock` under `/run` where that can be written, '
            "else under `$XDG_RUNTIME_DIR`.",
            default="auto",
        ),
    ),
)

LOG = Table(
    "log",
    "One line per event; never a key or a secret.",
    (
        Key(
            "level",
            choice("debug", "info", "warning", "error"),
            "The least serious events that are logged.",
            default="info",
        ),
        Key("file", path(), "File to append to. Unset: standard error."),
        Key(
            "format",
            choice("text", "json"),
            '"json" writes one object per line.',
            default="text",
        ),
    ),
)
