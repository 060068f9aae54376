"""Each failure says how far it reaches, what the peer hears, and why."""

import re
from collections.abc import Iterator

import pytest

from iketcp import errors
from iketcp.errors import IketcpError, LocalError, Scope
from iketcp.registry import FIRST_STATUS_NOTIFY, NotifyType


def classes(base: type[IketcpError] = IketcpError) -> Iterator[type[IketcpError]]:
    """Every class below ``base``."""
    for one in base.__subclasses__():
        yield one
        yield from classes(one)


LEAVES = sorted(
    (
        c
        for c in set(classes())
        if not c.__subclasses__() and c.__module__ == "iketcp.errors"
    ),
    key=lambda c: c.__name__,
)


@pytest.mark.parametrize("kind", LEAVES, ids=lambda c: c.__name__)
def test_every_failure_names_its_section(kind: type[IketcpError]) -> None:
    """Only what is wrong with the machine or its configuration has no section."""
    if kind in (errors.ConfigurationError, errors.EnvironmentProblem):
        assert kind.source == ""
    else:
        assert re.match(r"RFC \d+ §\d", kind.source)


@pytest.mark.parametrize("kind", LEAVES, ids=lambda c: c.__name__)
def test_only_errors_are_notified(kind: type[IketcpError]) -> None:
    """RFC 7296 §3.10.1: error types lie below 16384; a dropped message tells nobody."""
    if kind.notify is not None:
        assert kind.notify < FIRST_STATUS_NOTIFY
        assert kind.scope in (Scope.EXCHANGE, Scope.IKE_SA)
    if kind.scope in (Scope.LOCAL, Scope.DROP, Scope.CONNECTION):
        assert kind.notify is None


def test_a_bad_length_ends_the_connection_and_no_sa() -> None:
    """[9329-3.1-length] The stream is lost; RFC 9329 §6.1 keeps the SAs."""
    assert errors.LengthTooSmallError.scope is Scope.CONNECTION
    assert errors.StreamPrefixError.scope is Scope.CONNECTION


def test_a_syntax_error_ends_the_ike_sa_and_no_connection() -> None:
    """[9329-6.1-syntax] RFC 7296 §2.21.3, RFC 6989 §2.5."""
    for kind in (errors.MalformedMessageError, errors.InvalidPublicValueError):
        assert kind.scope is Scope.IKE_SA
        assert kind.notify is NotifyType.INVALID_SYNTAX


def test_failures_of_authentication_end_the_ike_sa() -> None:
    """RFC 7296 §2.21.2; who refused us need not be told."""
    assert errors.AuthenticationFailedError.scope is Scope.IKE_SA
    assert errors.AuthenticationFailedError.notify is NotifyType.AUTHENTICATION_FAILED
    assert errors.RefusedError.scope is Scope.IKE_SA
    assert errors.RefusedError.notify is None


def test_what_concerns_one_exchange_leaves_the_ike_sa_alone() -> None:
    """RFC 7296 §2.21.3, §2.25."""
    for kind in classes(errors.ExchangeError):
        assert kind.scope is Scope.EXCHANGE


def test_forgeries_and_repetitions_are_dropped() -> None:
    """RFC 7296 §2.21.4: what proves nothing changes nothing."""
    for kind in classes(errors.DropError):
        assert kind.scope is Scope.DROP


def test_our_own_mistakes_are_local() -> None:
    """Nothing of them reaches the wire."""
    for kind in classes(LocalError):
        assert kind.scope is Scope.LOCAL


@pytest.mark.parametrize(
    ("error", "data"),
    [
        (errors.UnsupportedCriticalPayloadError(200), b"\xc8"),
        (errors.InvalidKePayloadError(31), b"\0\x1f"),
        (errors.InvalidMajorVersionError("major version 3"), b""),
        (errors.NoProposalChosenError("none"), b""),
        (errors.ChildSaNotFoundError(b"abcd"), b""),
    ],
)
def test_notification_data(error: IketcpError, data: bytes) -> None:
    """RFC 7296 §3.10.1 and §1.5: what stands behind the Notify Message Type."""
    assert error.notify_data == data


def test_a_missing_child_sa_is_named() -> None:
    """RFC 7296 §2.25: the SPI is copied from the REKEY_SA notification."""
    error = errors.ChildSaNotFoundError(b"\xc0\xff\xee\x01")
    assert error.spi == b"\xc0\xff\xee\x01"
    assert "c0ffee01" in str(error)
