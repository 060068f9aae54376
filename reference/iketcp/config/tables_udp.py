"""The table about plain UDP: ports, repetition, keepalives, fragments.

Source: RFC 7296 §2.1, RFC 7296 §2.4, RFC 7296 §2.23, RFC 7383 §2.5.1
"""

from iketcp.config.model import Role
from iketcp.config.schema import Key, Table
from iketcp.config.values import duration, integer, words_or
from iketcp.datagram import ENCAPSULATION_PORT, IKE_PORT
from iketcp.endpoint.tables import DatagramPolicy
from iketcp.ike.retransmission import RetransmissionPolicy

_INITIATOR: tuple[Role, ...] = ("initiator",)

_OUR_PORT = words_or({"any": 0}, integer(1, 65535))
_THEIR_PORT = integer(1, 65535)
_DATAGRAMS = DatagramPolicy()
_REPETITION = RetransmissionPolicy()

UDP = Table(
    "udp",
    'What plain UDP has of its own; it means something with `protocol = "udp"` in '
    "`[transport]`. [transports.md](transports.md) says what is different there.",
    (
        Key(
            "ike_port",
            _OUR_PORT,
            'Our port of IKE alone, where IKE_SA_INIT goes. "any" takes a free one.',
            default=IKE_PORT,
        ),
        Key(
            "encapsulation_port",
            _OUR_PORT,
            'Our port of IKE and ESP together. "any" takes a free one.',
            default=ENCAPSULATION_PORT,
        ),
        Key(
            "remote_ike_port",
            _THEIR_PORT,
            "The responder's port of IKE alone.",
            default=IKE_PORT,
            roles=_INITIATOR,
        ),
        Key(
            "remote_encapsulation_port",
            _THEIR_PORT,
            "The responder's port of IKE and ESP together.",
            default=ENCAPSULATION_PORT,
            roles=_INITIATOR,
        ),
        Key(
            "repeat_first",
            duration(),
            "A request without an answer is sent again after this pause, less a "
            "random quarter at most; every further pause doubles.",
            default=f"{_REPETITION.first_seconds:g}s",
        ),
        Key(
            "repeat_max",
            duration(),
            "Longest pause before a request is sent again.",
            default=f"{_REPETITION.longest_seconds:g}s",
        ),
        Key(
            "repeat_total",
            duration(),
            "How long an answer is awaited in all; then the IKE SA ends. It stands "
            "for `request_timeout` of `[ike]`, and should be several minutes.",
            default=f"{_REPETITION.total_seconds / 60:g}m",
        ),
        Key(
            "keepalive",
            duration(1.0),
            "From behind a NAT something is sent at least so often.",
            default=f"{_DATAGRAMS.keepalive_seconds:g}s",
        ),
        Key(
            "fragment_size",
            integer(512, 65000),
            "Octets of the largest IKE message that goes whole, where both ends "
            "support fragments; a larger one goes in fragments of at most this size.",
            default=_DATAGRAMS.fragment_size,
        ),
    ),
)
