"""Exchanges of the mapping scenarios that make something new: payloads and keys.

IKE_SA_INIT as the initiator of a session begins it, CREATE_CHILD_SA for a rekey by
either side; the formulas are the RFC's, the primitives plain.

Source: RFC 7296 §1.2, RFC 7296 §1.3, RFC 7296 §2.14, RFC 7296 §2.17, RFC 7296 §2.18
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)

from iketcp.vectorlib.assembly import octets
from iketcp.vectorlib.mapping_parts import (
    DELETE,
    INITIATOR,
    KE,
    NONCE,
    NOTIFY,
    PS,
    RESPONSE,
    SA,
    TSI,
    TSR,
    Child,
    Payload,
    Piece,
    Session,
    clear_message,
)
from iketcp.vectorlib.mapping_script import OURS, THEIRS, Script
from iketcp.vectorlib.plain import cut, prf, prf_plus

HMAC_SHA2_256 = 5
X25519, P256 = 31, 19
IKE_TRANSFORMS = ((1, 20, 256), (2, HMAC_SHA2_256, None), (4, X25519, None))
"""Type, id and key length of what both sides propose for an IKE SA."""
ESP_TRANSFORMS = ((1, 20, 256), (5, 0, None))
"""The same for a Child SA: no extended sequence numbers."""

UNSUPPORTED_CRITICAL, INVALID_MAJOR_VERSION, INVALID_SYNTAX = 1, 5, 7
NO_PROPOSAL_CHOSEN, INVALID_KE, TEMPORARY_FAILURE = 14, 17, 43
NAT_SOURCE, NAT_DESTINATION, COOKIE, REKEY_SA = 16388, 16389, 16390, 16393
PUZZLE = 16434
HASHES = 16431
"""SIGNATURE_HASH_ALGORITHMS. Source: RFC 7427 §4."""

Transforms = Sequence[tuple[int, int, int | None]]


def sa_payload(protocol: int, spi: bytes, transforms: Transforms) -> Payload:
    """Write an SA payload of one proposal. Source: RFC 7296 §3.3."""
    body = b""
    for at, (kind, id, bits) in enumerate(transforms, 1):
        attribute = b"" if bits is None else b"\x80\x0e" + bits.to_bytes(2, "big")
        more = 0 if at == len(transforms) else 3
        head = bytes([more, 0]) + (8 + len(attribute)).to_bytes(2, "big")
        body += head + bytes([kind, 0]) + id.to_bytes(2, "big") + attribute
    size = (8 + len(spi) + len(body)).to_bytes(2, "big")
    counts = bytes([1, protocol, len(spi), len(transforms)])
    return SA, b"\0\0" + size + counts + spi + body


def ke_payload(method: int, public: bytes) -> Payload:
    """Write a KE payload. Source: RFC 7296 §3.4."""
    return KE, method.to_bytes(2, "big") + b"\0\0" + public


def notify(
    kind: int, data: bytes = b"", protocol: int = 0, spi: bytes = b""
) -> Payload:
    """Write a Notify payload. Source: RFC 7296 §3.10."""
    return NOTIFY, bytes([protocol, len(spi)]) + kind.to_bytes(2, "big") + spi + data


def delete_ike() -> Payload:
    """Write a Delete payload for the IKE SA itself. Source: RFC 7296 §3.11."""
    return DELETE, bytes([1, 0, 0, 0])


def delete_esp(spi: bytes) -> Payload:
    """Write a Delete payload for one Child SA. Source: RFC 7296 §3.11."""
    return DELETE, bytes([3, 4, 0, 1]) + spi


def selectors(is_ours_first: bool) -> list[Payload]:
    """Write TSi and TSr: of our side first, or of the peer's. RFC 7296 §3.13."""
    sides = ["0a000200", "0a0002ff"], ["0a000100", "0a0001ff"]
    order = sides if is_ours_first else sides[::-1]
    return [
        (kind, bytes.fromhex("01000000" + "0700" + "0010" + "0000ffff" + "".join(ends)))
        for kind, ends in zip((TSI, TSR), order, strict=True)
    ]


def public_of(private: bytes) -> bytes:
    """Compute the public value of a private key. Source: RFC 8031 §2."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def shared(private: bytes, public: bytes) -> bytes:
    """Compute the shared secret. Source: RFC 8031 §2."""
    theirs = X25519PublicKey.from_public_bytes(public)
    return X25519PrivateKey.from_private_bytes(private).exchange(theirs)


# --- rekeys ---------------------------------------------------------------------------


def successor(
    old: Session,
    is_original_initiator: bool,
    spis: tuple[bytes, bytes],
    nonces: bytes,
    g_ir: bytes,
) -> Session:
    """Derive the IKE SA that takes another's place. Source: RFC 7296 §2.18."""
    seed = prf(HMAC_SHA2_256, old.sk_d, g_ir + nonces)
    stream = prf_plus(HMAC_SHA2_256, seed, nonces + b"".join(spis), 168)
    keys = tuple(cut(stream, 32, 36, 36, 32, 32))
    return Session("", is_original_initiator, keys, spis, old.child)


@dataclass(frozen=True, slots=True)
class IkeRekey:
    """The two messages of an IKE rekey, and what comes of it."""

    request: Piece
    response: Piece
    new: Session


def rekey_ike(s: Script, is_ours: bool, label: str = "rekey") -> IkeRekey:
    """Rekey the IKE SA of the first session, at our wish or the peer's."""
    old = s.sessions[0]
    private, spi, nonce = (
        octets(f"mapping {label} their {what}", size)
        for what, size in (("key", 32), ("SPI", 8), ("nonce", 32))
    )
    spi_here = s.draw("ike.spi", octets(f"mapping {label} our SPI", 8))
    nonce_here = s.draw("ike.nonce", octets(f"mapping {label} our nonce", 32))
    key_here = octets(f"mapping {label} our key", 32)
    s.draw("rekey_ike_sa.ke.private", key_here)

    def payloads(spi: bytes, nonce: bytes, private: bytes) -> list[Payload]:
        offer = sa_payload(1, spi, IKE_TRANSFORMS)
        return [offer, (NONCE, nonce), ke_payload(X25519, public_of(private))]

    theirs = payloads(spi, nonce, private)
    ours = payloads(spi_here, nonce_here, key_here)
    g_ir = shared(key_here, public_of(private))
    if is_ours:
        request = old.asks(*ours, exchange=36)
        response = old.response(*theirs, exchange=36)
        spis, nonces = (spi_here, spi), nonce_here + nonce
    else:
        request = old.request(*theirs, exchange=36)
        response = old.answer(*ours, exchange=36)
        spis, nonces = (spi, spi_here), nonce + nonce_here
    new = successor(old, is_ours, spis, nonces, g_ir)
    return IkeRekey(request, response, new)


def peer_rekeys_ike(s: Script) -> IkeRekey:
    """Let the peer rekey the IKE SA on connection 1; both IKE SAs are there then."""
    made = rekey_ike(s, is_ours=False)
    s.held[0].ike.append(made.new.spis)
    s.receive(1, made.request, sent=[(1, made.response)])
    return made


@dataclass(frozen=True, slots=True)
class ChildRekey:
    """The two messages of a Child rekey, and what comes of it."""

    request: Piece
    response: Piece
    new: Child


def rekey_child(s: Script, is_ours: bool, label: str = "new") -> ChildRekey:
    """Rekey the Child SA of the first session, without a key exchange of its own."""
    a = s.sessions[0]
    spi = b"\xc4" + octets(f"mapping {label} spi", 3)
    nonce = octets(f"mapping {label} nonce", 32)
    spi_here = s.draw("esp.spi", b"\xc3" + octets(f"mapping our {label} spi", 3))
    nonce_here = s.draw("ike.nonce", octets(f"mapping our {label} nonce", 32))
    theirs: list[Payload] = [sa_payload(3, spi, ESP_TRANSFORMS), (NONCE, nonce)]
    ours: list[Payload] = [sa_payload(3, spi_here, ESP_TRANSFORMS), (NONCE, nonce_here)]
    ts = selectors(is_ours_first=is_ours)
    rekeyed = a.child.spi_in if is_ours else a.child.spi_out
    mark = notify(REKEY_SA, protocol=3, spi=rekeyed)
    if is_ours:
        request = a.asks(mark, *ours, *ts, exchange=36)
        response = a.response(*theirs, *ts, exchange=36)
        nonces = nonce_here + nonce
    else:
        request = a.request(mark, *theirs, *ts, exchange=36)
        response = a.answer(*ours, *ts, exchange=36)
        nonces = nonce + nonce_here
    first, second = cut(prf_plus(HMAC_SHA2_256, a.sk_d, nonces, 72), 36, 36)
    keys = (second, first) if is_ours else (first, second)
    return ChildRekey(request, response, Child("", keys, (spi_here, spi)))


# --- the first exchange ---------------------------------------------------------------


class Beginner:
    """An initiator that begins a session with IKE_SA_INIT. Source: RFC 7296 §1.2."""

    def __init__(self, label: str = "beginner") -> None:
        self.label = label
        self.spi = octets(f"mapping {label} SPI", 8)
        self.nonce = octets(f"mapping {label} nonce", 32)
        self.public = public_of(octets(f"mapping {label} key", 32))

    def request(
        self,
        cookie: bytes = b"",
        other_method: bool = False,
        version: int = 0x20,
        is_behind_nat: bool = False,
        solution: bytes = b"",
        public: bytes = b"",
    ) -> Piece:
        """Write the request; with a KE payload of the wrong method if asked."""
        transforms: Transforms = IKE_TRANSFORMS
        ke = ke_payload(X25519, public or self.public)
        if other_method:
            transforms = (*IKE_TRANSFORMS, (4, P256, None))
            ke = ke_payload(P256, octets("mapping P-256", 64))
        payloads = [sa_payload(1, b"", transforms), ke, (NONCE, self.nonce)]
        if cookie:
            payloads.insert(0, notify(COOKIE, cookie))
        if is_behind_nat:
            data = digest(self.spi + bytes(8), "10.0.0.9", 50000)
            payloads += [notify(NAT_SOURCE, data), notify(NAT_DESTINATION, data)]
        if solution:
            payloads.append((PS, solution))
        piece = clear_message(self.spi, bytes(8), INITIATOR, payloads)
        stream = piece.octets[:23] + bytes([version]) + piece.octets[24:]
        return Piece(stream, piece.content)

    def ike_sa(self, spi_here: bytes) -> Session:
        """Derive the IKE SA that :meth:`answer` makes. Source: RFC 7296 §2.14."""
        private = octets(f"mapping {self.label} our key", 32)
        nonces = self.nonce + octets(f"mapping {self.label} our nonce", 32)
        spis = (self.spi, spi_here)
        seed = prf(HMAC_SHA2_256, nonces, shared(private, self.public))
        stream = prf_plus(HMAC_SHA2_256, seed, nonces + b"".join(spis), 168)
        keys = tuple(cut(stream, 32, 36, 36, 32, 32))
        return Session("", False, keys, spis, Child("none yet"))

    def refusal(self, kind: int, data: bytes) -> Piece:
        """Write the responder's answer of one Notify, which keeps no state."""
        return clear_message(self.spi, bytes(8), RESPONSE, [notify(kind, data)])

    def puzzle(self, cookie: bytes, puzzle: bytes) -> Piece:
        """Write the responder's demand for a solution. Source: RFC 8019 §7.1.1."""
        asked = [notify(COOKIE, cookie), notify(PUZZLE, puzzle)]
        return clear_message(self.spi, bytes(8), RESPONSE, asked)

    def answer(
        self, s: Script, connection: int, address: str = THEIRS
    ) -> tuple[Piece, bytes]:
        """Write the responder's answer, and its SPI; fixes what it draws."""
        spi = s.draw("ike.spi", octets(f"mapping {self.label} our SPI", 8))
        private = octets(f"mapping {self.label} our key", 32)
        s.draw("ike_sa_init.ke.private", private)
        nonce = s.draw("ike.nonce", octets(f"mapping {self.label} our nonce", 32))
        spis = self.spi + spi
        payloads = [
            sa_payload(1, b"", IKE_TRANSFORMS),
            ke_payload(X25519, public_of(private)),
            (NONCE, nonce),
            notify(NAT_SOURCE, digest(spis, str(OURS["address"]), 4500)),
            notify(NAT_DESTINATION, digest(spis, address, 40000 + connection)),
            notify(HASHES, bytes.fromhex("0002000300040005")),
        ]
        return clear_message(self.spi, spi, RESPONSE, payloads), spi


def our_beginning(s: Script, address: str, port: int) -> tuple[list[Payload], bytes]:
    """Write the payloads of our own IKE_SA_INIT, and our SPI. RFC 7296 §1.2."""
    spi = s.draw("ike.spi", octets("mapping our first SPI", 8))
    private = octets("mapping our first key", 32)
    s.draw("ike_sa_init.ke.private", private)
    nonce = s.draw("ike.nonce", octets("mapping our first nonce", 32))
    spis = spi + bytes(8)
    payloads = [
        sa_payload(1, b"", IKE_TRANSFORMS),
        ke_payload(X25519, public_of(private)),
        (NONCE, nonce),
        notify(NAT_SOURCE, digest(spis, address, port)),
        notify(NAT_DESTINATION, digest(spis, THEIRS, 4500)),
        notify(HASHES, bytes.fromhex("0002000300040005")),
    ]
    return payloads, spi


def digest(spis: bytes, address: str, port: int) -> bytes:
    """Compute NAT_DETECTION data. Source: RFC 7296 §2.23."""
    data = spis + ip_address(address).packed + port.to_bytes(2, "big")
    return hashlib.sha1(data, usedforsecurity=False).digest()


def cookie_of(
    secret: bytes, version: int, beginner: Beginner, address: str, puzzle: bytes = b""
) -> bytes:
    """Make a cookie as ours are made, with a puzzle or without. RFC 7296 §2.6."""
    text = beginner.nonce + ip_address(address).packed + beginner.spi
    key = hmac.digest(secret, puzzle, "sha256") if puzzle else secret
    return bytes([version]) + puzzle + hmac.digest(key, text, "sha256")
