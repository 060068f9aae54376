"""The file ``key_exchange_test.json``: public values, shared secrets, refusals.

Source: RFC 7296 §2.14, RFC 3526 §3, RFC 5903 §7, RFC 8031 §2, RFC 6989 §2
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519

from iketcp.crypto.key_exchange import MODP_PRIMES
from iketcp.vectorlib.assembly import case, flipped, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile
from iketcp.vectorlib.key_exchange_published import CASES

NAME = "key_exchange"
NAMES = {
    14: "MODP_2048",
    15: "MODP_3072",
    16: "MODP_4096",
    19: "ECP_256",
    20: "ECP_384",
    21: "ECP_521",
    31: "CURVE25519",
    32: "CURVE448",
}
CURVES: dict[int, ec.EllipticCurve] = {
    19: ec.SECP256R1(),
    20: ec.SECP384R1(),
    21: ec.SECP521R1(),
}
FIELD_PRIMES = {
    19: 2**256 - 2**224 + 2**192 + 2**96 - 1,
    20: 2**384 - 2**128 - 2**96 + 2**32 - 1,
    21: 2**521 - 1,
    31: 2**255 - 19,
    32: 2**448 - 2**224 - 1,
}
"""Prime of each curve's field. Source: RFC 5903 §3, RFC 7748 §4."""

MODP_SPEC = "RFC 7296 §2.14, §3.4; RFC 6989 §2.1"
ECP_SPEC = "RFC 5903 §7; RFC 6989 §2.3"
MONTGOMERY_SPEC = "RFC 8031 §2, §3.2; RFC 7748 §5"

HEADER = [
    "One side of a key exchange. method is IANA's number (Transform Type 4).",
    "private is our private key: in MODP groups the exponent and in ECP groups the"
    " scalar, big-endian; with Curve25519 and Curve448 the octets before clamping.",
    "public is what goes into our KE payload, peerPublic what came in the peer's, and"
    " shared what goes into the key derivation as g^ir.",
    "Invalid: peerPublic must be refused before anything is derived from it; shared is"
    " empty.",
    "Acceptable: we refuse and RFC 8031 does not ask for it; shared is empty, and an"
    " implementation that goes on gets zeros only.",
]

NOTES = {
    "LeadingZero": (
        "EDGE_CASE",
        "A value that begins with an octet of zero, which is sent and derived from.",
        "Stripping it gives other keys, once in 256 exchanges.",
    ),
    "NotOnCurve": (
        "BASIC",
        "The point does not satisfy the curve's equation.",
        "The private key leaks to the peer.",
    ),
    "NotReduced": (
        "EDGE_CASE",
        "A coordinate or number at or above the prime.",
        "Two names for one value, and values outside the group.",
    ),
    "OneOff": ("EDGE_CASE", "The outermost values allowed.", "Refusing good peers."),
    "Ordinary": ("BASIC", "A usual exchange.", "No tunnel."),
    "Published": ("BASIC", "Values printed in an RFC.", "No peer interoperates."),
    "SmallOrder": (
        "BASIC",
        "A value that makes the secret the same for every private key.",
        "Anybody can read the traffic.",
    ),
    "UnusedBit": (
        "EDGE_CASE",
        "Bit 255 of a Curve25519 value is set; it does not count.",
        "Another secret than the peer's.",
    ),
    "WrongSize": (
        "EDGE_CASE",
        "More or fewer octets than the method has.",
        "Reading beyond the value, or padding what no honest peer sent.",
    ),
}


class Half(NamedTuple):
    """Our half of an exchange: what stays the same in all refusals of a group."""

    private: bytes
    public: bytes


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 5903 §8, RFC 7748 §6, RFC 8031 App. A, RFC 6989 §2
    """
    groups = [published(*values) for values in CASES]
    groups += [ours(method, list(modp(method))) for method in MODP_PRIMES]
    groups += [ours(method, list(ecp(method))) for method in CURVES]
    groups += [ours(method, list(montgomery(method))) for method in (31, 32)]
    return vector_file(NAME, "IKE-KEY-EXCHANGE", HEADER, NOTES, groups)


def ours(method: int, tests: list[Json]) -> Json:
    """Make a group of our own cases."""
    return group(
        "KeyExchange",
        "iketcp/key_exchange",
        tests,
        method=method,
        methodName=NAMES[method],
    )


def published(
    section: str, method: int, one: str, public: str, two: str, other: str, shared: str
) -> Json:
    """Import an exchange, seen from either side."""
    tests = [
        case(
            f"{section}, {side}",
            "Published",
            section,
            private=private,
            public=own,
            peerPublic=peer,
            shared=shared,
        )
        for side, private, own, peer in (
            ("the first side", one, public, other),
            ("the second side", two, other, public),
        )
    ]
    return group("KeyExchange", section, tests, method=method, methodName=NAMES[method])


def accepted(
    comment: str, flag: str, spec: str, half: Half, peer: bytes, shared: bytes
) -> Json:
    """Make a case that gives a secret."""
    return case(
        comment,
        flag,
        spec,
        private=half.private,
        public=half.public,
        peerPublic=peer,
        shared=shared,
    )


def refused(
    comment: str, flag: str, spec: str, half: Half, peer: bytes, result: str = ""
) -> Json:
    """Make a case that is refused."""
    return case(
        comment,
        flag,
        spec,
        result=result,
        error="InvalidPublicValue",
        reaction="refuse",
        private=half.private,
        public=half.public,
        peerPublic=peer,
        shared=b"",
    )


def sizes(spec: str, half: Half, peer: bytes) -> Iterator[Json]:
    """Try a good value with octets missing or added."""
    yield refused("no octets", "WrongSize", spec, half, b"")
    yield refused("last octet missing", "WrongSize", spec, half, peer[:-1])
    yield refused("a zero before it", "WrongSize", spec, half, b"\0" + peer)
    yield refused("a zero behind it", "WrongSize", spec, half, peer + b"\0")


def modp(method: int) -> Iterator[Json]:
    """Try a MODP group, with Python's own arithmetic."""
    prime = MODP_PRIMES[method]
    size = prime.bit_length() // 8

    def power(base: int, exponent: bytes) -> bytes:
        return pow(base, int.from_bytes(exponent, "big"), prime).to_bytes(size, "big")

    private = octets(f"modp {method}", 32)
    half = Half(private, power(2, private))
    spec = MODP_SPEC
    peer = power(2, octets(f"modp {method} peer", 32))
    shared = power(int.from_bytes(peer, "big"), private)
    yield accepted("both sides draw 256 bits", "Ordinary", spec, half, peer, shared)
    for comment, value in (("r = 2", 2), ("r = p - 2", prime - 2)):
        peer_value = value.to_bytes(size, "big")
        secret = power(value, private)
        yield accepted(comment, "OneOff", spec, half, peer_value, secret)
    if method == 14:
        # once is enough: the search takes a second for the longer groups
        zero = with_leading_zero("modp zero", lambda key: power(2, key))
        secret = power(int.from_bytes(zero, "big"), private)
        comment = "public value with a leading zero"
        yield accepted(comment, "LeadingZero", spec, half, zero, secret)
    for comment, value, flag in (
        ("r = 0", 0, "SmallOrder"),
        ("r = 1", 1, "SmallOrder"),
        ("r = p - 1", prime - 1, "SmallOrder"),
        ("r = p", prime, "NotReduced"),
        ("r = p + 1", prime + 1, "NotReduced"),
    ):
        yield refused(comment, flag, spec, half, value.to_bytes(size, "big"))
    yield from sizes(spec, half, peer)


def ecp(method: int) -> Iterator[Json]:
    """Try an ECP group."""
    size = (FIELD_PRIMES[method].bit_length() + 7) // 8
    half = ecp_half(method, "ours")
    peer = ecp_half(method, "peer").public
    spec = ECP_SPEC
    comment = "a point of the curve"
    shared = ecp_shared(method, half, peer)
    yield accepted(comment, "Ordinary", spec, half, peer, shared)
    y = int.from_bytes(peer[size:], "big")
    negative = peer[:size] + (FIELD_PRIMES[method] - y).to_bytes(size, "big")
    comment = "the negative of that point: the same secret"
    yield accepted(comment, "OneOff", spec, half, negative, shared)
    zero = ecp_secret_with_leading_zero(method, half)
    comment = "secret with a leading zero"
    shared = ecp_shared(method, half, zero)
    yield accepted(comment, "LeadingZero", spec, half, zero, shared)
    x, prime = int.from_bytes(peer[:size], "big"), FIELD_PRIMES[method]
    yield refused("y changed by a bit", "NotOnCurve", spec, half, flipped(peer, -1))
    yield refused("x changed by a bit", "NotOnCurve", spec, half, flipped(peer, 2))
    yield refused("zeros only", "NotOnCurve", spec, half, bytes(2 * size))
    at_prime = prime.to_bytes(size, "big")
    yield refused("x = p", "NotReduced", spec, half, at_prime + peer[size:])
    yield refused("y = p", "NotReduced", spec, half, peer[:size] + at_prime)
    if x + prime < 1 << (8 * size):
        above = (x + prime).to_bytes(size, "big") + peer[size:]
        yield refused("x + p instead of x", "NotReduced", spec, half, above)
    yield refused("x alone", "WrongSize", spec, half, peer[:size])
    yield refused("octet 04 before x", "WrongSize", spec, half, b"\4" + peer)
    yield from sizes(spec, half, peer)


def ecp_half(method: int, label: str) -> Half:
    """Make a private key that is below every order of its size."""
    size = (FIELD_PRIMES[method].bit_length() + 7) // 8
    private = bytes(1) + octets(f"ecp {method} {label}", size - 1)
    scalar = int.from_bytes(private, "big")
    numbers = ec.derive_private_key(scalar, CURVES[method]).public_key()
    point = numbers.public_numbers()
    return Half(private, point.x.to_bytes(size, "big") + point.y.to_bytes(size, "big"))


def ecp_shared(method: int, half: Half, peer: bytes) -> bytes:
    """Compute the x coordinate of the common point."""
    key = ec.derive_private_key(int.from_bytes(half.private, "big"), CURVES[method])
    point = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[method], b"\4" + peer)
    return key.exchange(ec.ECDH(), point)


def ecp_secret_with_leading_zero(method: int, half: Half) -> bytes:
    """Search for a peer whose secret with us begins with a zero."""
    count = 0
    while True:
        peer = ecp_half(method, f"search {count}").public
        shared = ecp_shared(method, half, peer)
        if shared[0] == 0:
            return peer
        count += 1


def with_leading_zero(label: str, public: Callable[[bytes], bytes]) -> bytes:
    """Search for a private key whose public value begins with a zero."""
    count = 0
    while True:
        value = public(octets(f"{label} {count}", 32))
        if value[0] == 0:
            return value
        count += 1


def montgomery(method: int) -> Iterator[Json]:
    """Try Curve25519 or Curve448."""
    size = 32 if method == 31 else 56
    private = octets(f"montgomery {method}", size)
    half = Half(private, montgomery_public(method, private))
    spec = MONTGOMERY_SPEC
    peer = montgomery_public(method, octets(f"montgomery {method} peer", size))
    shared = montgomery_shared(method, private, peer)
    yield accepted("a usual exchange", "Ordinary", spec, half, peer, shared)
    prime = FIELD_PRIMES[method]
    four, above = ((4 + add).to_bytes(size, "little") for add in (0, prime))
    secret = montgomery_shared(method, private, four)
    yield accepted("u = 4", "Ordinary", spec, half, four, secret)
    comment = "u = p + 4, which is taken as 4"
    yield accepted(comment, "NotReduced", spec, half, above, secret)
    if method == 31:
        marked = flipped(peer, -1, 0x80)
        comment = "bit 255 set"
        yield accepted(comment, "UnusedBit", spec, half, marked, shared)
    for comment, value in (
        ("u = 0", 0),
        ("u = 1", 1),
        ("u = p - 1", prime - 1),
        ("u = p, which is 0", prime),
        ("u = p + 1, which is 1", prime + 1),
    ):
        value_octets = value.to_bytes(size, "little")
        small_order = f"{spec}, §6"
        yield refused(
            comment, "SmallOrder", small_order, half, value_octets, "acceptable"
        )
    yield from sizes(spec, half, peer)


def montgomery_public(method: int, private: bytes) -> bytes:
    """Compute a public value."""
    if method == 31:
        key = x25519.X25519PrivateKey.from_private_bytes(private)
        return key.public_key().public_bytes_raw()
    return (
        x448.X448PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    )


def montgomery_shared(method: int, private: bytes, peer: bytes) -> bytes:
    """Compute a secret."""
    if method == 31:
        key = x25519.X25519PrivateKey.from_private_bytes(private)
        return key.exchange(x25519.X25519PublicKey.from_public_bytes(peer))
    other = x448.X448PrivateKey.from_private_bytes(private)
    return other.exchange(x448.X448PublicKey.from_public_bytes(peer))
