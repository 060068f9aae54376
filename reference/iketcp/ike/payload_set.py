"""Finding payloads in a decoded message, and refusing what is missing or doubled.

Source: RFC 7296 §1.2 (which payloads a message of each exchange has)
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from iketcp.errors import MalformedMessageError
from iketcp.ike.payloads import IdPayload, NotifyPayload, Payload, TsPayload
from iketcp.registry import FIRST_STATUS_NOTIFY, NotifyType, name_of

P = TypeVar("P", bound=Payload)


def find(payloads: Iterable[Payload], kind: type[P]) -> P | None:
    """Return the only payload of ``kind``, or ``None``.

    Raises
    ------
    MalformedMessageError
        There are two.
    """
    found = [p for p in payloads if isinstance(p, kind)]
    if len(found) > 1:
        raise MalformedMessageError(f"{len(found)} times {kind.__name__}")
    return found[0] if found else None


def need(payloads: Iterable[Payload], kind: type[P]) -> P:
    """Return the only payload of ``kind``.

    Raises
    ------
    MalformedMessageError
        There is none, or there are two.
    """
    payload = find(payloads, kind)
    if payload is None:
        raise MalformedMessageError(f"no {kind.__name__}")
    return payload


def find_identity(payloads: Iterable[Payload], is_initiator: bool) -> IdPayload | None:
    """Return IDi or IDr, or ``None``."""
    identities = (p for p in payloads if isinstance(p, IdPayload))
    return find((p for p in identities if p.is_initiator == is_initiator), IdPayload)


def need_selectors(payloads: Iterable[Payload]) -> tuple[TsPayload, TsPayload]:
    """Return TSi and TSr.

    Raises
    ------
    MalformedMessageError
        One is missing or doubled.

    Source: RFC 7296 §2.9
    """
    both = [p for p in payloads if isinstance(p, TsPayload)]
    tsi = [p for p in both if p.is_initiator]
    tsr = [p for p in both if not p.is_initiator]
    if len(tsi) != 1 or len(tsr) != 1:
        raise MalformedMessageError(f"{len(tsi)} times TSi, {len(tsr)} times TSr")
    return tsi[0], tsr[0]


def find_notify(payloads: Iterable[Payload], kind: NotifyType) -> NotifyPayload | None:
    """Return the first Notify of ``kind``, or ``None``."""
    for payload in payloads:
        if isinstance(payload, NotifyPayload) and payload.notify_type == kind:
            return payload
    return None


def find_error(payloads: Sequence[Payload]) -> NotifyPayload | None:
    """Return the first Notify that reports an error, or ``None``.

    Source: RFC 7296 §3.10.1 (types below 16384)
    """
    for payload in payloads:
        if (
            isinstance(payload, NotifyPayload)
            and payload.notify_type < FIRST_STATUS_NOTIFY
        ):
            return payload
    return None


def notify_name(payload: NotifyPayload) -> str:
    """Return IANA's name of a Notify Message Type."""
    return name_of(NotifyType, payload.notify_type)
