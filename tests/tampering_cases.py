"""What an attacker on the way may do to IKE_SA_INIT, and who is to notice: a table.

Both sides of a session prove themselves by secrets, by certificates or by EAP; every
row says for which of these it is so. :mod:`test_exchange_tampering` plays it.

Source: RFC 7296 §2.15
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum

from cryptography.hazmat.primitives.asymmetric import ec

from attacker import (
    Change,
    added,
    flag,
    flipped,
    header,
    notify,
    payloads,
    reworked,
    swapped,
)
from certificate_factory import authority, issue
from eap_parts import password_authenticator, password_peer
from iketcp.crypto import key_exchange
from iketcp.eap.method import EapAuthenticatorPolicy, EapPeerPolicy
from iketcp.environment import ScriptedEntropy
from iketcp.ike.credentials import Credential, Proof, Trust
from iketcp.ike.keywords import parse_ike_proposal
from iketcp.ike.payloads import (
    CertReqPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    UnknownPayload,
    VendorPayload,
)
from iketcp.ike.policy import IkePolicy
from iketcp.ike.proposals import Transform
from iketcp.registry import (
    EncryptionAlgorithm,
    KeyExchangeMethod,
    NotifyType,
    TransformType,
)
from pair import EAST, WEST, ike_policy

STRONG = "aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256"
WEAK = "aes128gcm16-prfsha256-x25519"
OFFER = (parse_ike_proposal(STRONG, 1), parse_ike_proposal(WEAK, 2))
"""Both sides have it, so what counts is what the attacker leaves of it."""

MALLORY = ScriptedEntropy("mallory")
PUBLIC_VALUE = key_exchange.generate(
    KeyExchangeMethod.CURVE25519, MALLORY, "ke"
).public_value


# --- who proves itself how ------------------------------------------------------------

ROOT = authority()
KEYS = {WEST: 0x3E57, EAST: 0xEA57}


def by_secret(side: str) -> IkePolicy:
    """A pre-shared key."""
    return ike_policy(side, proposals=OFFER)


def by_certificate(side: str) -> IkePolicy:
    """An ECDSA key, which goes with any of the hash algorithms, and CERTREQ."""
    name, key = f"{side}.example", ec.derive_private_key(KEYS[side], ec.SECP256R1())
    own = issue(f"CN={name}", key, ROOT, names=[name])
    trust = Trust(frozenset({Proof.CERTIFICATE}), (ROOT.certificate,))
    credential = Credential(Proof.CERTIFICATE, key, (own.certificate,))
    return replace(by_secret(side), secrets={}, credential=credential, trust=trust)


def by_eap(side: str) -> IkePolicy:
    """A password of west's; a pre-shared key of east's."""
    if side == WEST:
        return replace(
            by_secret(side), eap_peer=EapPeerPolicy(b"alice@example", password_peer())
        )
    asking = EapAuthenticatorPolicy(password_authenticator())
    return replace(by_secret(side), eap_authenticator=asking)


PROOFS: dict[str, Callable[[str], IkePolicy]] = {
    "psk": by_secret,
    "certificate": by_certificate,
    "eap": by_eap,
}


# --- the table ------------------------------------------------------------------------


class Found(Enum):
    """Who notices, and by what."""

    BY_EAST = "AUTH of west's does not fit what east received"
    BY_WEST = "AUTH of east's does not fit what west received"
    BY_KEYS = "east cannot open IKE_AUTH: it has other keys"
    BY_SPI = "east does not know the IKE SA that IKE_AUTH is for"
    AT_ONCE = "west does not take the response, and sends nothing more"
    NO_ANSWER = "west gets no response that is one to its request"


@dataclass(frozen=True)
class Case:
    """One thing to change, and what comes of it."""

    what: str
    found: Found
    changes: dict[str, Change] = field(repr=False)
    reason: str = ""
    """Why west closes, where it is AT_ONCE."""
    only: tuple[str, ...] = tuple(PROOFS)
    """The proofs for which that is so."""

    def __str__(self) -> str:
        """Name the test."""
        return self.what


def request(what: str, found: Found, change: Change, **others: object) -> Case:
    """Change the request."""
    return Case(f"request: {what}", found, {WEST: change}, **others)


def response(what: str, found: Found, change: Change, **others: object) -> Case:
    """Change the response."""
    return Case(f"response: {what}", found, {EAST: change}, **others)


def both(what: str, found: Found, there: Change, back: Change) -> Case:
    """Change the request, and the response back."""
    return Case(f"both ways: {what}", found, {WEST: there, EAST: back})


def transforms(change: Callable[[tuple[Transform, ...]], object]) -> Change:
    """Change the transforms of every proposal."""

    def rework(payload: Payload) -> Payload:
        assert isinstance(payload, SaPayload)
        return SaPayload(
            tuple(
                p.with_transforms(tuple(change(p.transforms)))
                for p in payload.proposals
            )
        )

    return reworked(SaPayload, rework)


def offer(*indices: int) -> Change:
    """Offer these of the proposals only, in this order, numbered anew."""
    left = tuple(
        OFFER[index].with_number_and_spi(number, b"")
        for number, index in enumerate(indices, 1)
    )
    return swapped(SaPayload, SaPayload(left))


def answer(text: str, number: int = 1) -> Change:
    """Answer with another proposal."""
    return swapped(SaPayload, SaPayload((parse_ike_proposal(text, number),)))


def key_length(bits: int) -> Change:
    """Change the Key Length attribute."""
    return transforms(
        lambda chain: dict.fromkeys(
            replace(t, key_bits=bits) if t.type == TransformType.ENCR else t
            for t in chain
        )
    )


NONCE = NoncePayload(bytes(range(32)))
OWN_KE = KePayload(KeyExchangeMethod.CURVE25519, PUBLIC_VALUE)
SOURCE = NotifyType.NAT_DETECTION_SOURCE_IP
DESTINATION = NotifyType.NAT_DETECTION_DESTINATION_IP
HASHES = NotifyType.SIGNATURE_HASH_ALGORITHMS
FRAGMENTATION = NotifyType.IKEV2_FRAGMENTATION_SUPPORTED
SHA256_ONLY = NotifyPayload(HASHES, b"\0\2")
CHILDLESS = 16418
"""CHILDLESS_IKEV2_SUPPORTED. RFC 6023 §4."""
NOBODY = b"mallory's own digest"
"""A digest of no address."""
SPI = b"mallory!"
CHACHA = Transform(TransformType.ENCR, EncryptionAlgorithm.ENCR_CHACHA20_POLY1305)


def both_sides_of_the_list() -> list[Case]:
    """What can be done to either message in the same way."""
    cases = []
    for make, found in ((request, Found.BY_EAST), (response, Found.BY_WEST)):
        cases += [
            make("KE: the attacker's value", Found.BY_KEYS, swapped(KePayload, OWN_KE)),
            make("Nonce: another", Found.BY_KEYS, swapped(NoncePayload, NONCE)),
            make("N(NAT_DETECTION_SOURCE_IP) removed", found, notify(SOURCE)),
            make(
                "N(NAT_DETECTION_SOURCE_IP) of another address",
                found,
                notify(SOURCE, NotifyPayload(SOURCE, NOBODY)),
            ),
            make("N(NAT_DETECTION_DESTINATION_IP) removed", found, notify(DESTINATION)),
            make(
                "N(NAT_DETECTION_DESTINATION_IP) of another address",
                found,
                notify(DESTINATION, NotifyPayload(DESTINATION, NOBODY)),
            ),
            make(
                "N(SIGNATURE_HASH_ALGORITHMS) cut down to SHA-256",
                found,
                notify(HASHES, SHA256_ONLY),
            ),
            make(
                "N(IKEV2_FRAGMENTATION_SUPPORTED) removed", found, notify(FRAGMENTATION)
            ),
            make(
                "N(CHILDLESS_IKEV2_SUPPORTED) added",
                found,
                added(NotifyPayload(CHILDLESS)),
            ),
            make("V added", found, added(VendorPayload(b"mallory"))),
            make("an unknown payload added", found, added(UnknownPayload(200, b""))),
            make("CERTREQ added", found, added(CertReqPayload(4, bytes(20)))),
            make("payloads in another order", found, payloads(lambda c: c[::-1])),
            make("header: minor version 1", found, header(minor_version=1)),
            make("header: flag V", found, flag(0x10)),
            make("header: flags X", found, flag(0xC7)),
            make("C flag of a known payload", found, flipped(29, 0x80)),
            make("RESERVED of a payload", found, flipped(29, 0x7F)),
            make("RESERVED of a proposal", found, flipped(33, 0xFF)),
            make("header: SPIi", Found.NO_ANSWER, header(spi_i=SPI)),
            make("header: Message ID", Found.NO_ANSWER, header(message_id=1)),
            make("header: exchange type", Found.NO_ANSWER, flipped(18, 0x01)),
            make("header: flag I", Found.NO_ANSWER, flag(0x08)),
            make("header: flag R", Found.NO_ANSWER, flag(0x20)),
        ]
    return cases


CASES = [
    *both_sides_of_the_list(),
    request("SA: the better proposal removed", Found.BY_EAST, offer(1)),
    request("SA: the worse proposal removed", Found.BY_EAST, offer(0)),
    request("SA: proposals in another order", Found.BY_EAST, offer(1, 0)),
    request(
        "SA: transforms in another order",
        Found.BY_EAST,
        transforms(reversed),
    ),
    request("SA: Key Length", Found.BY_EAST, key_length(128)),
    request(
        "SA: a transform added",
        Found.BY_EAST,
        transforms(lambda chain: (*chain, CHACHA)),
    ),
    request("N(SIGNATURE_HASH_ALGORITHMS) removed", Found.BY_EAST, notify(HASHES)),
    request(
        "N(COOKIE) added",
        Found.BY_EAST,
        added(NotifyPayload(NotifyType.COOKIE, b"crumbs"), is_first=True),
    ),
    request(
        "header: major version 3",
        Found.AT_ONCE,
        header(major_version=3),
        reason="INVALID_MAJOR_VERSION",
    ),
    response("SA: the worse proposal chosen", Found.BY_KEYS, answer(WEAK)),
    response("SA: Key Length", Found.BY_KEYS, key_length(128)),
    response(
        "SA: what was not offered",
        Found.AT_ONCE,
        answer("chacha20poly1305-prfsha256-x25519"),
        reason="not among our proposals",
    ),
    response(
        "SA: another number",
        Found.AT_ONCE,
        answer(STRONG, 3),
        reason="not among our proposals",
    ),
    response(
        "SA: two proposals",
        Found.AT_ONCE,
        offer(0, 1),
        reason="2 proposals in the answer",
    ),
    # with certificates west signs as peers without RFC 7427 do, and east knows better
    response(
        "N(SIGNATURE_HASH_ALGORITHMS) removed",
        Found.BY_WEST,
        notify(HASHES),
        only=("psk", "eap"),
    ),
    response(
        "N(SIGNATURE_HASH_ALGORITHMS) removed",
        Found.BY_EAST,
        notify(HASHES),
        only=("certificate",),
    ),
    response(
        "CERTREQ removed",
        Found.BY_WEST,
        swapped(CertReqPayload),
        only=("certificate",),
    ),
    response(
        "CERTREQ for another authority",
        Found.BY_WEST,
        swapped(CertReqPayload, CertReqPayload(4, bytes(20))),
        only=("certificate",),
    ),
    response(
        "N(COOKIE) added",
        Found.NO_ANSWER,
        added(NotifyPayload(NotifyType.COOKIE, b"crumbs")),
    ),
    response(
        "N(PUZZLE) added",
        Found.BY_WEST,
        added(NotifyPayload(NotifyType.PUZZLE, bytes([0, 5, 1]))),
    ),
    response("header: major version 3", Found.NO_ANSWER, header(major_version=3)),
    response("header: SPIr", Found.BY_SPI, header(spi_r=SPI)),
    both(
        "SA: Key Length, and back again",
        Found.BY_KEYS,
        key_length(128),
        key_length(256),
    ),
    both(
        "KE: the attacker's values",
        Found.BY_KEYS,
        swapped(KePayload, OWN_KE),
        swapped(KePayload, OWN_KE),
    ),
    both(
        "N(IKEV2_FRAGMENTATION_SUPPORTED) removed",
        Found.BY_EAST,
        notify(FRAGMENTATION),
        notify(FRAGMENTATION),
    ),
]
