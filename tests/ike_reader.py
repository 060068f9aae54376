"""A second reader of IKE messages, written from RFC 7296 §3 and nothing else.

It shares no code with the package, gives the tree that ``ike_message_test.json`` has,
and refuses what is malformed. Where the RFC leaves something open it is lenient.
"""

from collections.abc import Callable, Iterator
from typing import Any

Tree = dict[str, Any]

SK, SKF = 46, 53


class Refused(Exception):
    """A message that is to be refused; the first argument is the class of error."""


def need(condition: bool, what: str) -> None:
    """Refuse the message unless a condition holds."""
    if not condition:
        raise Refused("MalformedMessage", what)


def u(octets: bytes) -> int:
    """Read a number in network order."""
    return int.from_bytes(octets, "big")


def take(octets: bytes, *sizes: int) -> tuple[bytes, ...]:
    """Cut fields off the front; what is left comes last."""
    fields = []
    for size in sizes:
        need(len(octets) >= size, f"{size} octets in {len(octets)}")
        fields.append(octets[:size])
        octets = octets[size:]
    return (*fields, octets)


def read(octets: bytes, is_protected: bool) -> Tree:
    """Read a message (§3.1)."""
    header, rest = take(octets, 28)
    major, minor = divmod(header[17], 16)
    if major > 2:
        raise Refused("InvalidMajorVersion", major)
    need(major == 2, "version")
    need(u(header[24:28]) == len(octets), "Length")
    need(u(header[:8]) != 0, "SPIi")
    tree = {
        "spiI": header[:8].hex(),
        "spiR": header[8:16].hex(),
        "nextPayload": header[16],
        "majorVersion": major,
        "minorVersion": minor,
        "exchangeType": header[18],
        "response": header[19] >> 5 & 1 == 1,
        "initiator": header[19] >> 3 & 1 == 1,
        "messageId": u(header[20:24]),
        "length": u(header[24:28]),
    }
    return {"header": tree, "payloads": list(chain(header[16], rest, is_protected))}


def chain(kind: int, octets: bytes, is_protected: bool) -> Iterator[Tree]:
    """Follow the Next Payload fields (§3.2)."""
    while kind:
        head, _ = take(octets, 4)
        size = u(head[2:])
        need(4 <= size <= len(octets), "Payload Length")
        body, octets = octets[4:size], octets[size:]
        if kind in (SK, SKF):
            need(not is_protected, "SK inside SK")
            need(octets == b"", "SK is last")
            yield {"type": kind, "firstInnerType": head[0], "body": body.hex()}
            return
        if kind in BODIES:
            yield {"type": kind} | BODIES[kind](body)
        elif head[1] >= 0x80:
            raise Refused("UnsupportedCriticalPayload", kind)
        else:
            yield {"type": kind, "body": body.hex()}
        kind = head[0]
    need(octets == b"", "octets behind the payloads")


def sa(body: bytes) -> Tree:
    """Read proposals (§3.3.1)."""
    need(body != b"", "no proposal")
    proposals: list[Tree] = []
    while body:
        head, _ = take(body, 8)
        size = u(head[2:4])
        need(8 <= size <= len(body), "Proposal Length")
        inside, body = body[8:size], body[size:]
        protocol, spi_size, count = head[5:8]
        need(protocol != 1 or spi_size in (0, 8), "SPI Size of IKE")
        need(protocol not in (2, 3) or spi_size == 4, "SPI Size of AH or ESP")
        spi, inside = take(inside, spi_size)
        found = list(transforms(inside))
        need(len(found) == count > 0, "Num Transforms")
        proposals.append(
            {
                "proposalNum": head[4],
                "protocolId": protocol,
                "spi": spi.hex(),
                "transforms": found,
            }
        )
    numbers: list[int] = [proposal["proposalNum"] for proposal in proposals]
    if len(numbers) == 1:
        need(numbers[0] > 0, "Proposal Num")
    else:
        need(numbers == list(range(1, len(numbers) + 1)), "Proposal Nums")
    return {"proposals": proposals}


def transforms(octets: bytes) -> Iterator[Tree]:
    """Read transforms (§3.3.2)."""
    while octets:
        head, _ = take(octets, 8)
        size = u(head[2:4])
        need(8 <= size <= len(octets), "Transform Length")
        inside, octets = octets[8:size], octets[size:]
        bits, other = None, []
        for kind, form, value in attributes(inside):
            if (kind, form) == (14, "TV"):
                bits = u(value)
            else:
                each = {"attributeType": kind, "format": form, "value": value.hex()}
                other.append(each)
        yield {
            "transformType": head[4],
            "transformId": u(head[6:8]),
            "keyLength": bits,
            "otherAttributes": other,
        }


def attributes(octets: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Read Transform Attributes (§3.3.5)."""
    while octets:
        head, second, octets = take(octets, 2, 2)
        kind, is_fixed = u(head) & 0x7FFF, u(head) >> 15
        if is_fixed:
            yield kind, "TV", second
        else:
            value, octets = take(octets, u(second))
            yield kind, "TLV", value


def ke(body: bytes) -> Tree:
    """Read a public value (§3.4)."""
    method, _, value = take(body, 2, 2)
    return {"method": u(method), "publicValue": value.hex()}


def identity(body: bytes) -> Tree:
    """Read an identity (§3.5)."""
    kind, reserved, data = take(body, 1, 3)
    return {"idType": kind[0], "reserved": reserved.hex(), "data": data.hex()}


def encoded(name: str) -> Callable[[bytes], Tree]:
    """Read what CERT and CERTREQ have in common (§3.6, §3.7)."""

    def read_body(body: bytes) -> Tree:
        encoding, data = take(body, 1)
        return {"encoding": encoding[0], name: data.hex()}

    return read_body


def auth(body: bytes) -> Tree:
    """Read a proof (§3.8)."""
    method, _, data = take(body, 1, 3)
    return {"method": method[0], "data": data.hex()}


def nonce(body: bytes) -> Tree:
    """Read a nonce (§3.9)."""
    need(16 <= len(body) <= 256, "size of a nonce")
    return {"nonce": body.hex()}


def notify(body: bytes) -> Tree:
    """Read a notification (§3.10)."""
    protocol, size, kind, rest = take(body, 1, 1, 2)
    spi, data = take(rest, size[0])
    if spi:
        need(protocol[0] != 1, "an SPI with IKE")
        need(protocol[0] not in (2, 3) or len(spi) == 4, "SPI Size")
    return {
        "protocolId": protocol[0] if spi else 0,
        "notifyType": u(kind),
        "spi": spi.hex(),
        "data": data.hex(),
    }


def delete(body: bytes) -> Tree:
    """Read SPIs to delete (§3.11)."""
    protocol, size, count, rest = take(body, 1, 1, 2)
    need(protocol[0] in (1, 2, 3), "Protocol ID")
    need(size[0] == (0 if protocol[0] == 1 else 4), "SPI Size")
    need(protocol[0] != 1 or u(count) == 0, "SPIs of IKE")
    need(len(rest) == size[0] * u(count), "Num of SPIs")
    spis = [rest[at : at + 4].hex() for at in range(0, len(rest), 4)]
    return {"protocolId": protocol[0], "spis": spis}


def ts(body: bytes) -> Tree:
    """Read Traffic Selectors (§3.13)."""
    count, _, rest = take(body, 1, 3)
    need(count[0] > 0, "Number of TSs")
    known, other = [], []
    for _ in range(count[0]):
        head, _ = take(rest, 4)
        size = u(head[2:])
        need(4 <= size <= len(rest), "Selector Length")
        inside, rest = rest[4:size], rest[size:]
        tree: Tree = {"tsType": head[0], "ipProtocolId": head[1]}
        if head[0] not in (7, 8):
            other.append(tree | {"body": inside.hex()})
            continue
        width = 4 if head[0] == 7 else 16
        need(size == 8 + 2 * width, "Selector Length for its type")
        start_port, end_port, start, end, _ = take(inside, 2, 2, width, width)
        tree |= {"startPort": u(start_port), "endPort": u(end_port)}
        tree |= {"startingAddress": start.hex(), "endingAddress": end.hex()}
        known.append(tree)
    need(rest == b"", "octets behind the selectors")
    return {"selectors": known, "otherSelectors": other}


def solution(body: bytes) -> Tree:
    """Read the solution of a puzzle (RFC 8019 §8.2)."""
    need(len(body) > 0 and len(body) % 4 == 0, "four keys")
    return {"solution": body.hex()}


IPV4, IPV6, NETS = (1, 2, 3, 4, 6), (10, 12), (8, 15)


def cp(body: bytes) -> Tree:
    """Read Configuration Attributes (§3.15)."""
    kind, _, rest = take(body, 1, 3)
    found = []
    while rest:
        head, size, rest = take(rest, 2, 2)
        value, rest = take(rest, u(size))
        type_ = u(head) & 0x7FFF
        size_of = len(value)
        need(type_ not in IPV4 or size_of in (0, 4), "IPv4 address")
        need(type_ not in IPV6 or size_of in (0, 16), "IPv6 address")
        need(type_ not in NETS or size_of in (0, 17), "IPv6 address with prefix")
        need(type_ != 13 or size_of in (0, 8), "IPv4 subnet")
        need(type_ != 14 or size_of % 2 == 0, "SUPPORTED_ATTRIBUTES")
        need(type_ not in NETS or size_of == 0 or value[16] <= 128, "prefix length")
        found.append({"attributeType": type_, "value": value.hex()})
    return {"cfgType": kind[0], "attributes": found}


BODIES: dict[int, Callable[[bytes], Tree]] = {
    33: sa,
    34: ke,
    35: identity,
    36: identity,
    37: encoded("data"),
    38: encoded("authorities"),
    39: auth,
    40: nonce,
    41: notify,
    42: delete,
    43: lambda body: {"vendorId": body.hex()},
    44: ts,
    45: ts,
    47: cp,
    48: lambda body: {"message": body.hex()},
    54: solution,
}
