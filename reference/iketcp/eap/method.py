"""What IKE_AUTH asks of EAP: one object for each end of a conversation.

An object speaks the whole conversation: Identity, Notification, Nak and the methods it
is willing to use. It is made for one IKE_AUTH and dropped with it. Messages are whole
EAP packets from Code on, as they stand in the body of an EAP payload.

=========  =========================  ============================================
who        is                         speaks
=========  =========================  ============================================
initiator  :class:`EapPeer`           Responses
responder  :class:`EapAuthenticator`  Requests, at the end Success or Failure
=========  =========================  ============================================

Once it has succeeded, AUTH of both ends is made with the MSK as a shared secret, and
with SK_pi and SK_pr where the method made none.

Source: RFC 3748 §2
Source: RFC 3748 §4
Source: RFC 7296 §2.16
Source: RFC 7296 §3.16
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from iketcp.environment import Entropy

MSK_SIZE = 64
"""Octets of a Master Session Key, at least. Source: RFC 3748 §7.10."""


@dataclass(frozen=True, slots=True)
class EapSetting:
    """What an EAP conversation is begun with. Source: RFC 7296 §2.16."""

    identity: bytes
    """Identification Data of IDi: who the initiator says it is. The responder asks
    for no Identity where this will do. Source: RFC 7296 §3.16."""
    is_eap_only: bool
    """EAP alone authenticates both ends, so only methods will do that are mutual,
    make a key and resist dictionary attacks. Source: RFC 5998 §4."""
    at: datetime
    """The time of day, with its zone: certificates are valid or not at this time."""
    entropy: Entropy = field(repr=False)
    """Labelled draws, with labels that begin with ``eap.``."""


class EapPeer(Protocol):
    """The initiator's end. Source: RFC 3748 §4."""

    def receive(self, message: bytes) -> bytes | None:
        """Take a message of the authenticator's.

        Returns
        -------
        bytes or None
            The Response, or ``None`` after Success.

        Raises
        ------
        EapFailedError
            The message is Failure, cannot be read or comes at the wrong time; the
            authenticator's proof is wrong; or the method is not allowed here.

        Source: RFC 3748 §4.1, RFC 3748 §4.2, RFC 5998 §3
        """
        ...

    @property
    def is_successful(self) -> bool:
        """Success came, and at a time when the method allows it. RFC 3748 §4.2."""
        ...

    @property
    def is_safe_alone(self) -> bool:
        """The method that succeeded is safe without another authentication.

        Source: RFC 5998 §4
        """
        ...

    @property
    def msk(self) -> bytes:
        """Master Session Key, 64 octets; empty before success or without a key.

        Source: RFC 3748 §7.10
        """
        ...

    def forget(self) -> None:
        """Drop every secret; called once, whatever came of it."""
        ...


class EapAuthenticator(Protocol):
    """The responder's end; it never raises for what a peer says, but says Failure.

    Source: RFC 3748 §4
    """

    def begin(self) -> bytes:
        """Return the first Request. Called once."""
        ...

    def receive(self, message: bytes) -> bytes:
        """Take what should be a Response; returns Request, Success or Failure.

        Source: RFC 3748 §4.1, RFC 3748 §4.2
        """
        ...

    @property
    def is_over(self) -> bool:
        """Success or Failure was said."""
        ...

    @property
    def is_successful(self) -> bool:
        """Success was said."""
        ...

    @property
    def is_safe_alone(self) -> bool:
        """As :attr:`EapPeer.is_safe_alone`."""
        ...

    @property
    def msk(self) -> bytes:
        """As :attr:`EapPeer.msk`."""
        ...

    @property
    def identity(self) -> bytes:
        """Who the method proved the peer to be; empty before success.

        Policy goes by this and not by IDi. Source: RFC 7296 §2.16.
        """
        ...

    @property
    def failure(self) -> str:
        """Why it failed, for our log: no secret, no word of the peer's as it came."""
        ...

    def forget(self) -> None:
        """Drop every secret; called once, whatever came of it."""
        ...


class EapPeerMaker(Protocol):
    """Makes the initiator's end: it knows who we are and our credentials."""

    def __call__(self, setting: EapSetting) -> EapPeer:
        """Make it for one IKE_AUTH."""
        ...


class EapAuthenticatorMaker(Protocol):
    """Makes the responder's end: it knows the users and the methods allowed."""

    def __call__(self, setting: EapSetting) -> EapAuthenticator:
        """Make it for one IKE_AUTH."""
        ...
