"""Child SAs and paths for the tests of the kernel's IPsec, and its answers."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

from esp_support import GCM, parameters
from iketcp.child_sa import ChildSaParameters
from iketcp.crypto.suite import Suite
from iketcp.endpoint.carried import CarriedChild
from iketcp.errors import EnvironmentProblem
from iketcp.ike.nat_detection import Path
from iketcp.selectors import TrafficSelector
from iketcp.xfrm.layout import ATTRIBUTE_HEADER, MESSAGE_HEADER, attributes_of

IF_ID = 0x1234


def path(
    local: str = "192.0.2.7",
    local_port: int = 40000,
    remote: str = "198.51.100.1",
    remote_port: int = 4500,
) -> Path:
    """A TCP connection."""
    return Path(ip_address(local), local_port, ip_address(remote), remote_port)


PATH = path()


def child(
    number: int = 1,
    where: Path | None = PATH,
    *,
    suite: Suite = GCM,
    local: tuple[str, ...] = ("10.1.0.0/24",),
    remote: tuple[str, ...] = ("10.2.0.0/24",),
    peer: str = "@gw.example",
    is_sending: bool = True,
) -> CarriedChild:
    """A Child SA with SPIs of its own."""
    made: ChildSaParameters = replace(
        parameters(suite),
        spi_in=bytes([0xA0, 0, 0, number]),
        spi_out=bytes([0xB0, 0, 0, number]),
        local_ts=tuple(map(TrafficSelector.parse, local)),
        remote_ts=tuple(map(TrafficSelector.parse, remote)),
    )
    return CarriedChild(made, where, peer, is_sending)


def refusal(act: Callable[[], object]) -> EnvironmentProblem | None:
    """What this kernel says to something that another may do."""
    try:
        act()
    except EnvironmentProblem as problem:
        return problem
    return None


def attributes(body: bytes, size: int) -> dict[int, bytes]:
    """Attributes behind a structure of so many octets."""
    return dict(attributes_of(body[size:]))


def answer(kind: int, number: int, body: bytes) -> bytes:
    """A message as the kernel sends it."""
    size = MESSAGE_HEADER.size + len(body)
    return MESSAGE_HEADER.pack(size, kind, 0, number, 0) + body


def error(number: int, code: int, words: str = "") -> bytes:
    """The kernel's verdict on a request; 0 is yes."""
    body = (-code).to_bytes(4, "little", signed=True) + bytes(MESSAGE_HEADER.size)
    if words:
        text = words.encode() + b"\0"
        size = ATTRIBUTE_HEADER.size + len(text)
        body += ATTRIBUTE_HEADER.pack(size, 1) + text + bytes(-size % 4)
    return answer(2, number, body)
