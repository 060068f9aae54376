"""Quick crash detection: a peer that has lost an IKE SA can prove it.

Each side may give the other a token inside the IKE SA, made of a secret that survives a
restart and of the two IKE SPIs. Restarted, it gets messages for an IKE SA that it does
not have any more, and answers with the same token in the clear. Nobody else can make
it, so the other side need not wait for its requests to time out.

========  ===========  ============================================================
who       is called    does
========  ===========  ============================================================
maker     has secret   sends the token; after a restart, shows it to who asks
taker     anybody      keeps the token with the IKE SA; shown it, drops the IKE SA
========  ===========  ============================================================

Source: RFC 6290 §3
Source: RFC 6290 §4
Source: RFC 6290 §5.1
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence

from iketcp.ike.header import Header
from iketcp.ike.message import Message
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import NotifyPayload, Payload, SkPayload
from iketcp.ike.sa import IkeSa
from iketcp.registry import ExchangeType, NotifyType, ProtocolId

SECRET_SIZE = 32
"""Octets of QCD_SECRET. Source: RFC 6290 §5.1."""

MAX_TOKENS = 4
"""Tokens that are kept, and looked at in one message. Source: RFC 6290 §4.5."""

_SIZES = range(16, 129)
"""Octets that a token may have. Source: RFC 6290 §5."""


def make_token(secret: bytes, spi_i: bytes, spi_r: bytes) -> bytes:
    """Return SHA-256(QCD_SECRET | SPI-I | SPI-R), 32 octets. RFC 6290 §5.1."""
    return hashlib.sha256(secret + spi_i + spi_r).digest()


def token_payloads(sa: IkeSa) -> list[Payload]:
    """Return N(QCD_TOKEN) for an IKE SA, or nothing if we make no tokens.

    Source: RFC 6290 §4.1, RFC 6290 §4.2, RFC 6290 §4.3
    """
    secret = sa.policy.crash_secret
    if not secret:
        return []
    token = make_token(secret, sa.spi_i, sa.spi_r)
    return [NotifyPayload(NotifyType.QCD_TOKEN, token, ProtocolId.IKE)]


def keep_tokens(sa: IkeSa, payloads: Iterable[Payload]) -> None:
    """Keep the tokens of a protected message, the newest if they are many.

    Source: RFC 6290 §3, RFC 6290 §4.4
    """
    new = tuple(token for token in _tokens(payloads) if len(token) in _SIZES)
    sa.crash_tokens = (*sa.crash_tokens, *new)[-MAX_TOKENS:]


def is_question(message: Message) -> bool:
    """Tell whether a message for an unknown IKE SA is one that gets a token.

    Source: RFC 6290 §3
    """
    is_protected = any(isinstance(p, SkPayload) for p in message.payloads)
    return is_protected and not message.header.is_response


def proof_payloads(secret: bytes, header: Header) -> tuple[Payload, ...]:
    """Return N(INVALID_IKE_SPI), N(QCD_TOKEN) for an IKE SA that is lost.

    The caller knows that neither SPI belongs to an IKE SA that lives: shown for such a
    one, the token would let whoever hears it end that IKE SA.

    Source: RFC 6290 §4.5, RFC 6290 §9.2
    """
    token = make_token(secret, header.spi_i, header.spi_r)
    return (
        NotifyPayload(NotifyType.INVALID_IKE_SPI),
        NotifyPayload(NotifyType.QCD_TOKEN, token, ProtocolId.IKE),
    )


def is_proof(message: Message) -> bool:
    """Tell whether a message in the clear claims that its IKE SA is lost.

    Source: RFC 6290 §4.5
    """
    header = message.header
    is_late = header.is_response and header.exchange_type != ExchangeType.IKE_SA_INIT
    is_protected = any(isinstance(p, SkPayload) for p in message.payloads)
    return is_late and not is_protected and any(_tokens(message.payloads))


def is_hint(message: Message) -> bool:
    """Tell whether a message in the clear says that its IKE SA is unknown.

    That proves nothing, but is worth a question.

    Source: RFC 7296 §2.21.4
    """
    is_protected = any(isinstance(p, SkPayload) for p in message.payloads)
    notify = find_notify(message.payloads, NotifyType.INVALID_IKE_SPI)
    return notify is not None and not is_protected and message.header.is_response


def is_proven(sa: IkeSa, payloads: Sequence[Payload]) -> bool:
    """Tell whether one of the tokens shown is one that we keep.

    Compared in constant time; of more than four, the first four are looked at.

    Source: RFC 6290 §4.5, RFC 6290 §5
    """
    shown = list(_tokens(payloads))[:MAX_TOKENS]
    found = [
        hmac.compare_digest(one, kept) for one in shown for kept in sa.crash_tokens
    ]
    return any(found)


def _tokens(payloads: Iterable[Payload]) -> Iterable[bytes]:
    for payload in payloads:
        if (
            isinstance(payload, NotifyPayload)
            and payload.notify_type == NotifyType.QCD_TOKEN
        ):
            yield payload.data
