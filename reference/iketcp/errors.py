"""What can go wrong, and how far each failure reaches.

Every failure this package expects is one class below :class:`IketcpError`. Each
class states three facts once, so that no handler has to know them again:

- ``notify``: the Notify Message Type that tells the peer (``None``: the peer is
  not told);
- ``scope``: what the failure ends, see :class:`Scope`;
- ``source``: the section that says so.

The easy mistake is written into the scopes: a bad *Length* ends the TCP
connection and nothing else, a *syntax error inside an authentic IKE message* ends
the IKE SA and not the TCP connection.

Source: RFC 9329 §6.1, RFC 7296 §2.21
"""

from enum import Enum
from typing import ClassVar

from iketcp.registry import NotifyType


class Scope(Enum):
    """How far a failure reaches.

    Source: RFC 7296 §2.21, RFC 9329 §6.1
    """

    LOCAL = "local"
    """Our own caller asked for something impossible; nothing was written."""
    DROP = "drop"
    """The message is dropped and counted; no state changes."""
    EXCHANGE = "exchange"
    """The exchange fails with a Notify; the IKE SA lives on."""
    IKE_SA = "ike-sa"
    """The IKE SA ends, and its Child SAs with it; the connection stays."""
    CONNECTION = "connection"
    """The TCP connection closes; every SA survives."""


class IketcpError(Exception):
    """Base of every failure this package expects."""

    notify: ClassVar[NotifyType | None] = None
    scope: ClassVar[Scope] = Scope.LOCAL
    source: ClassVar[str] = ""

    @property
    def notify_data(self) -> bytes:
        """Notification Data that goes with ``notify``; empty unless overridden."""
        return b""


# --- local misuse -----------------------------------------------------------


class LocalError(IketcpError):
    """The caller, not the peer, is at fault."""


class ConfigurationError(LocalError):
    """A configuration that cannot be used; the text is one sentence for its user."""


class EnvironmentProblem(LocalError):
    """The machine lacks something: a privilege, a device, an address."""


class MessageTooLongError(LocalError):
    """A message over 65,533 octets does not fit a 16-bit Length."""

    source = "RFC 9329 §3"


class SequenceExhaustedError(LocalError):
    """The sequence numbers of an outbound Child SA are used up."""

    source = "RFC 4303 §3.3.3"


# --- the stream -------------------------------------------------------------


class StreamError(IketcpError):
    """The octet stream cannot be followed any further."""

    scope = Scope.CONNECTION
    source = "RFC 9329 §3"


class LengthTooSmallError(StreamError):
    """A Length of 0 or 1, which cannot cover the Length field itself."""

    source = "RFC 9329 §3.1"


class StreamPrefixError(StreamError):
    """The stream does not begin with ``IKETCP``."""

    source = "RFC 9329 §6.1"


# --- messages that are dropped ----------------------------------------------


class DropError(IketcpError):
    """A message that is dropped and counted, and changes nothing."""

    scope = Scope.DROP


class IntegrityError(DropError):
    """An Integrity Check Value that does not verify."""

    source = "RFC 7296 §3.14, RFC 4303 §3.4.4"


class ReplayError(DropError):
    """An ESP sequence number already seen, or left of the window."""

    source = "RFC 4303 §3.4.3"


class UnknownSpiError(DropError):
    """An ESP packet or IKE message for an SA we do not have."""

    source = "RFC 4303 §3.4.2, RFC 7296 §2.21.4"


class MessageIdError(DropError):
    """A Message ID outside the window."""

    source = "RFC 7296 §2.3"


class FragmentError(DropError):
    """An IKE fragment that cannot be, or is not wanted."""

    source = "RFC 7383 §2.6"


class MalformedPacketError(DropError):
    """An ESP or inner packet that makes no sense."""

    source = "RFC 4303 §2"


class SelectorMismatchError(DropError):
    """An inner packet outside the Traffic Selectors of its Child SA."""

    source = "RFC 4301 §5.2"


# --- errors the peer is told of -----------------------------------------------


class MalformedMessageError(IketcpError):
    """An IKE message whose syntax is wrong."""

    notify = NotifyType.INVALID_SYNTAX
    scope = Scope.IKE_SA
    source = "RFC 7296 §2.21.3"


class FragmentLimitError(IketcpError):
    """A peer with our keys sends more fragments than one message can have."""

    scope = Scope.IKE_SA
    source = "RFC 7383 §5"


class InvalidMajorVersionError(IketcpError):
    """A major version above 2.

    The header of the answer says which one we speak; the Notify has no data.

    Source: RFC 7296 §1.5, RFC 7296 §2.5
    """

    notify = NotifyType.INVALID_MAJOR_VERSION
    scope = Scope.EXCHANGE
    source = "RFC 7296 §2.5"


class UnsupportedCriticalPayloadError(IketcpError):
    """A payload type we do not know, with the critical bit set.

    Parameters
    ----------
    payload_type : int
        The unknown payload type, 8 bits.

    Source: RFC 7296 §2.5, RFC 7296 §3.2
    """

    notify = NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD
    scope = Scope.EXCHANGE
    source = "RFC 7296 §2.5"

    def __init__(self, payload_type: int) -> None:
        super().__init__(f"payload type {payload_type} is critical and unknown")
        self.payload_type = payload_type

    @property
    def notify_data(self) -> bytes:
        """The payload type, 1 octet."""
        return bytes([self.payload_type])


class InvalidPublicValueError(MalformedMessageError):
    """A key exchange public value that fails the recipient tests."""

    source = "RFC 6989 §2.5"


class ExchangeError(IketcpError):
    """An exchange that fails with a Notify while the IKE SA lives on."""

    scope = Scope.EXCHANGE


class NoProposalChosenError(ExchangeError):
    """None of the offered proposals is acceptable."""

    notify = NotifyType.NO_PROPOSAL_CHOSEN
    source = "RFC 7296 §2.7"


class InvalidKePayloadError(ExchangeError):
    """The KE payload is of another method than the chosen proposal's.

    Parameters
    ----------
    wanted : int
        The key exchange method we chose, 16 bits.

    Source: RFC 7296 §1.2, RFC 7296 §1.3
    """

    notify = NotifyType.INVALID_KE_PAYLOAD
    source = "RFC 7296 §1.2"

    def __init__(self, wanted: int) -> None:
        super().__init__(f"key exchange method {wanted} is wanted")
        self.wanted = wanted

    @property
    def notify_data(self) -> bytes:
        """The wanted key exchange method, 2 octets."""
        return self.wanted.to_bytes(2, "big")


class TsUnacceptableError(ExchangeError):
    """No part of the offered Traffic Selectors is acceptable."""

    notify = NotifyType.TS_UNACCEPTABLE
    source = "RFC 7296 §2.9"


class AuthenticationFailedError(IketcpError):
    """The peer is not who we expect, or does not know the secret."""

    notify: ClassVar[NotifyType | None] = NotifyType.AUTHENTICATION_FAILED
    scope = Scope.IKE_SA
    source = "RFC 7296 §2.21.2"


class RefusedError(AuthenticationFailedError):
    """The peer refused to authenticate us, and said so: it need not be told."""

    notify = None


class EapFailedError(AuthenticationFailedError):
    """The EAP conversation failed.

    Parameters
    ----------
    reason : str
        For our log.
    failure : bytes
        The EAP Failure that the peer gets instead of a Notify; empty where we are not
        the one who says it.

    Source: RFC 7296 §2.16
    """

    source = "RFC 7296 §2.16, RFC 3748 §4.2"

    def __init__(self, reason: str, failure: bytes = b"") -> None:
        super().__init__(reason)
        self.failure = failure


class EapRefusedError(EapFailedError):
    """The authenticator said Failure: it need not be told."""

    notify = None


class InternalAddressFailureError(ExchangeError):
    """No address left to hand out."""

    notify = NotifyType.INTERNAL_ADDRESS_FAILURE
    source = "RFC 7296 §3.15.4"


class FailedCpRequiredError(ExchangeError):
    """A Configuration payload was required and did not come."""

    notify = NotifyType.FAILED_CP_REQUIRED
    source = "RFC 7296 §2.19"


class NoAdditionalSasError(ExchangeError):
    """This IKE SA takes no further Child SAs."""

    notify = NotifyType.NO_ADDITIONAL_SAS
    source = "RFC 7296 §1.3"


class TemporaryFailureError(ExchangeError):
    """A collision with another exchange; the request may be tried again later."""

    notify = NotifyType.TEMPORARY_FAILURE
    source = "RFC 7296 §2.25"


class StateNotFoundError(ExchangeError):
    """An additional key exchange to which nothing is known; all of them have failed."""

    notify = NotifyType.STATE_NOT_FOUND
    source = "RFC 9370 §2.2.4"


class ChildSaNotFoundError(ExchangeError):
    """REKEY_SA names a Child SA that does not exist.

    Parameters
    ----------
    spi : bytes
        The SPI copied from the REKEY_SA notification, 4 octets.

    Source: RFC 7296 §2.25
    """

    notify = NotifyType.CHILD_SA_NOT_FOUND
    source = "RFC 7296 §2.25"

    def __init__(self, spi: bytes) -> None:
        super().__init__(f"no Child SA with SPI {spi.hex()}")
        self.spi = spi
