"""IKE_AUTH with X.509 certificates, both ways. RFC 7296 §2.15, §3.6.

What may be wrong with one, and what comes of it, is in :mod:`test_exchange_negatives`.
"""

from dataclasses import replace
from datetime import datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certificate_factory import (
    TODAY,
    Issued,
    authority,
    issue,
    key_from,
)
from iketcp.ike.certificates import authority_hashes
from iketcp.ike.credentials import Credential, Proof, Trust
from iketcp.ike.header import Header
from iketcp.ike.identity import Identity
from iketcp.ike.payloads import (
    AuthPayload,
    CertPayload,
    CertReqPayload,
    IdPayload,
    Payload,
)
from iketcp.ike.policy import IkePolicy
from iketcp.registry import ExchangeType
from pair import EAST, SECRET, WEST, Pair, ike_policy
from test_exchange_authentication import attempt, closed_because, in_auth, is_up
from test_exchange_eap import eap_pair

ROOT = authority()
MIDDLE = authority("O=Example,CN=Middle", key_from(2), ROOT)
OTHER = authority("O=Other,CN=Other CA", key_from(3))
WEST_ID = Identity.parse("west.example")
KEYS = {WEST: key_from(10), EAST: rsa.generate_private_key(65537, 2048)}
SERIALS = {WEST: 100, EAST: 200}


def certified(side: str, issuer: Issued = ROOT, **changes: object) -> Issued:
    """A side's certificate."""
    subject = f"O=Example,CN={side}.example"
    how = {"names": [f"{side}.example"], "serial": SERIALS[side], **changes}
    return issue(subject, KEYS[side], issuer, **how)


def credential(*issued: Issued) -> Credential:
    """Certificates, the own one first, and its key."""
    chain = tuple(each.certificate for each in issued)
    return Credential(Proof.CERTIFICATE, issued[0].key, chain)


def policy(side: str, *issued: Issued, **changes: object) -> IkePolicy:
    """A side with certificates that trusts the root."""
    trust = Trust(frozenset({Proof.CERTIFICATE}), (ROOT.certificate,))
    own = credential(*(issued or (certified(side),)))
    how = {"secrets": {}, "credential": own, "trust": trust, **changes}
    return ike_policy(side, **how)


def pair(
    west: IkePolicy | None = None,
    east: IkePolicy | None = None,
    date: datetime = TODAY,
) -> Pair:
    """Two sides with certificates."""
    return Pair(west or policy(WEST), east or policy(EAST), date=date)


def seen(pair: Pair, side: str, exchange: ExchangeType) -> list[Payload]:
    """What one side says in an exchange of this type."""
    found: list[Payload] = []

    def look(header: Header, payloads: tuple[Payload, ...]) -> None:
        if header.exchange_type == exchange:
            found.extend(payloads)

    pair.rewrite(side, look)
    attempt(pair)
    return found


# --- good -----------------------------------------------------------------------------


def test_both_sides_have_certificates() -> None:
    """And traffic flows."""
    up = attempt(pair())
    assert up.ike(WEST).remote_identity == "east.example"
    assert up.ike(EAST).remote_identity == "west.example"
    up.check_agreement()
    up.ping()


def test_intermediates_go_along() -> None:
    """RFC 7296 §3.6: the first certificate is the signer's."""
    east = policy(EAST, certified(EAST, MIDDLE), MIDDLE)
    both = pair(east=east)
    payloads = seen(both, EAST, ExchangeType.IKE_AUTH)
    certificates = [p for p in payloads if isinstance(p, CertPayload)]
    assert [p.encoding for p in certificates] == [4, 4]
    assert [p.data for p in certificates] == [certified(EAST, MIDDLE).der, MIDDLE.der]
    kinds = [type(p) for p in payloads][:4]
    assert kinds == [IdPayload, CertPayload, CertPayload, AuthPayload]
    assert is_up(both)


@pytest.mark.parametrize(
    ("side", "exchange"),
    [(EAST, ExchangeType.IKE_SA_INIT), (WEST, ExchangeType.IKE_AUTH)],
)
def test_certificates_are_asked_for(side: str, exchange: ExchangeType) -> None:
    """RFC 7296 §1.2: in the responder's IKE_SA_INIT and the initiator's IKE_AUTH."""
    payloads = seen(pair(), side, exchange)
    [request] = [p for p in payloads if isinstance(p, CertReqPayload)]
    assert request.encoding == 4
    assert request.authorities == authority_hashes([ROOT.certificate])


def test_secrets_ask_for_no_certificate() -> None:
    """Nobody asks for what is not taken."""
    for side, exchange in ((EAST, 34), (WEST, 35)):
        payloads = seen(Pair(), side, ExchangeType(exchange))
        assert not [p for p in payloads if isinstance(p, CertReqPayload)]


def test_a_subject_as_identity() -> None:
    """RFC 7296 §3.5: ID_DER_ASN1_DN."""
    name = Identity.parse("O=Example, CN=west.example")
    both = pair(policy(WEST, local_identity=name), policy(EAST, remote_identity=name))
    attempt(both)
    assert both.ike(EAST).remote_identity == "O=Example, CN=west.example"


def test_a_certificate_one_way_a_secret_the_other() -> None:
    """RFC 7296 §2.15: each side in its own way."""
    west = ike_policy(WEST, trust=policy(WEST).trust)
    east = policy(EAST, secrets={WEST_ID: SECRET}, trust=Trust())
    assert is_up(attempt(pair(west, east)))


def test_a_certificate_of_the_responder_and_eap() -> None:
    """RFC 7296 §2.16: the usual way."""
    both = eap_pair(
        west={"trust": policy(WEST).trust, "secrets": {}},
        east={"credential": policy(EAST).credential, "secrets": {}},
        date=TODAY,
    )
    attempt(both)
    assert both.ike(WEST).remote_identity == "east.example"
    assert both.ike(EAST).remote_identity == "eap:alice@example"


# --- bad ------------------------------------------------------------------------------


def test_certificates_are_not_taken_unless_configured() -> None:
    """Who has to know a secret cannot come with a certificate instead."""
    both = attempt(pair(east=ike_policy(EAST)))
    assert "no proof by certificate is taken" in closed_because(both, EAST)


def test_an_identity_that_is_somebody_elses() -> None:
    """West has a good certificate, and says it were north."""
    both = pair(
        policy(WEST, local_identity=Identity.parse("north.example")),
        policy(EAST, remote_identity=None),
    )
    attempt(both)
    assert "not of north.example" in closed_because(both, EAST)


def test_what_is_no_certificate() -> None:
    """In CERT may be anything."""
    both = pair()
    both.rewrite(
        WEST, in_auth(CertPayload, lambda p: [replace(p, data=b"0\x03")], False)
    )
    attempt(both)
    assert "cannot be read" in closed_because(both, EAST)


def test_without_a_date_nothing_is_valid() -> None:
    """Whoever forgets to say what time it is lets nobody in."""
    both = attempt(Pair(policy(WEST), policy(EAST)))
    assert "not valid yet" in closed_because(both, EAST)
