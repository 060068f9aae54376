"""Every kind of message that we send is in ``exchange_transcripts_test.json``.

Whoever adds a number to the registry adds a session, or says here why there is none.
"""

import re
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

from iketcp.registry import (
    AuthMethod,
    CertificateEncoding,
    ConfigurationType,
    ExchangeType,
    IdType,
    NotifyType,
    PayloadType,
)
from transcript_support import (
    AUTH,
    CERT,
    IDI,
    IDR,
    NOTIFY,
    chain,
    said,
    sessions,
    transmitted,
)

CP = 47
PACKAGE = Path(__file__).resolve().parent.parent / "reference" / "iketcp"

ANSWERS = "only to a peer that sends what ours does not; ike_message_test.json has it"
OLDER = "only to a peer that announces no hash algorithms; ike_auth_test.json has it"
NEVER = "we never send it"

NOT_SENT: dict[str, str] = {
    "PayloadType.NONE": "no payload, but the end of a chain",
    "PayloadType.VENDOR": NEVER,
    "NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD": ANSWERS,
    "NotifyType.INVALID_MAJOR_VERSION": ANSWERS,
    "NotifyType.INVALID_SYNTAX": ANSWERS,
    "NotifyType.NO_ADDITIONAL_SAS": "only beyond 64 Child SAs",
    "NotifyType.INVALID_MESSAGE_ID": NEVER,
    "NotifyType.INVALID_SPI": NEVER,
    "NotifyType.SINGLE_PAIR_REQUIRED": NEVER,
    "NotifyType.INVALID_SELECTORS": NEVER,
    "NotifyType.SET_WINDOW_SIZE": NEVER,
    "NotifyType.ADDITIONAL_TS_POSSIBLE": NEVER,
    "NotifyType.IPCOMP_SUPPORTED": NEVER,
    "NotifyType.HTTP_CERT_LOOKUP_SUPPORTED": NEVER,
    "NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED": NEVER,
    "NotifyType.NON_FIRST_FRAGMENTS_ALSO": NEVER,
    "AuthMethod.RSA_DIGITAL_SIGNATURE": OLDER,
    "AuthMethod.ECDSA_SHA256_P256": OLDER,
    "AuthMethod.ECDSA_SHA384_P384": OLDER,
    "AuthMethod.ECDSA_SHA512_P521": OLDER,
    "AuthMethod.DSS_DIGITAL_SIGNATURE": NEVER,
    "CertificateEncoding.CRL": NEVER,
    "CertificateEncoding.HASH_AND_URL_OF_X509": NEVER,
    "CertificateEncoding.HASH_AND_URL_OF_BUNDLE": NEVER,
    "IdType.ID_DER_ASN1_GN": NEVER,
    "ConfigurationType.CFG_SET": NEVER,
    "ConfigurationType.CFG_ACK": NEVER,
}


UNRECORDED = {
    "NotifyType.MULTIPLE_AUTH_SUPPORTED",
    "NotifyType.ANOTHER_AUTH_FOLLOWS",
    "NotifyType.AUTH_LIFETIME",
}
"""Numbers of RFC 4478 and RFC 4739, which no session has so far."""

FIRST_OCTET = {
    IDI: IdType,
    IDR: IdType,
    AUTH: AuthMethod,
    CERT: CertificateEncoding,
    CP: ConfigurationType,
}
"""What the first octet of a payload's body is a number of. RFC 7296 §3."""


def kinds_sent() -> Iterator[IntEnum]:
    """Of each table of the registry, what is in the sessions."""
    for test in sessions():
        for step in transmitted(test, "ike", "fragment"):
            yield PayloadType(bytes.fromhex(step["message"])[16])
        for step in said(test):
            ike = step["ike"]
            yield ExchangeType(ike["exchangeType"])
            inside = chain(ike["firstPayload"], bytes.fromhex(ike["payloads"]))
            for kind, body in inside:
                yield PayloadType(kind)
                if kind == NOTIFY:
                    yield NotifyType(int.from_bytes(body[2:4], "big"))
                elif kind in FIRST_OCTET:
                    yield FIRST_OCTET[kind](body[0])


def full_name(member: IntEnum) -> str:
    """A number's name with that of its table."""
    return f"{type(member).__name__}.{member.name}"


def test_every_kind_is_in_a_session() -> None:
    """RFC 7296 §3: or stands above, with the reason."""
    tables = {ExchangeType, PayloadType, NotifyType, *FIRST_OCTET.values()}
    everything = {full_name(member) for table in tables for member in table}
    missing = everything - {full_name(member) for member in kinds_sent()}
    assert missing - UNRECORDED == set(NOT_SENT)


def test_what_we_never_send_is_not_in_the_source() -> None:
    """No module names such a notification, unless it is one that reads it."""
    reading = {
        "NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED": "find_notify(payloads, {})",
    }
    texts = [
        path.read_text("utf-8")
        for path in PACKAGE.rglob("*.py")
        if "vectorlib" not in path.parts
    ]
    for name, reason in NOT_SENT.items():
        if reason == NEVER and name.startswith("NotifyType"):
            uses = sum(len(re.findall(rf"{name}\b", text)) for text in texts)
            known = reading.get(name, "no such call").format(name)
            assert uses == sum(text.count(known) for text in texts), name
