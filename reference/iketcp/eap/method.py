"""What a conversation asks of an EAP method, and what it lends to it.

A method speaks in Type-Data: what stands behind the Type of its Requests and Responses.
Code, Identifier, Length and Type, Identity, Notification, Nak, Success and Failure are
the conversation's. There is one object for each end of each conversation.

Source: RFC 3748 §2
Source: RFC 3748 §5
Source: RFC 3748 §7.10
Source: RFC 5998 §4
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from iketcp.eap.packets import EapType
from iketcp.environment import Entropy

MSK_SIZE = 64
"""Octets of a Master Session Key, at least. Source: RFC 3748 §7.10."""

SAFE_ALONE = frozenset({EapType.TLS})
"""Methods that are mutual, make a key and resist dictionary attacks, of those that we
know. Source: RFC 5998 §4."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EapSetting:
    """What an EAP conversation is begun with. Source: RFC 7296 §2.16."""

    identity: bytes
    """Who the initiator says it is. For the authenticator that is Identification Data
    of IDi, which is proof of nothing; it asks for no Identity where this will do.
    Source: RFC 7296 §3.16."""
    is_eap_only: bool
    """EAP alone authenticates both ends, so only methods will do that are mutual,
    make a key and resist dictionary attacks. Source: RFC 5998 §4."""
    entropy: Entropy = field(repr=False)
    """Labelled draws, with labels that begin with ``eap.``."""


def allowed(setting: EapSetting, methods: Mapping[int, T]) -> dict[int, T]:
    """Leave out the methods that are not safe where EAP is all there is.

    Source: RFC 5998 §4
    """
    return {
        kind: make
        for kind, make in methods.items()
        if kind in SAFE_ALONE or not setting.is_eap_only
    }


class Method(ABC):
    """One end of one run of a method. Source: RFC 3748 §7.2."""

    eap_type: ClassVar[int]
    """Type of its Requests and Responses, 8 bits."""

    @property
    @abstractmethod
    def msk(self) -> bytes:
        """Master Session Key, 64 octets; empty before success."""

    @abstractmethod
    def forget(self) -> None:
        """Drop every secret."""


class PeerMethod(Method):
    """The end that is asked: the IKE SA's initiator."""

    @abstractmethod
    def respond(self, data: bytes) -> bytes:
        """Take a Request and return the Response, both as Type-Data.

        Raises
        ------
        EapFailedError
            It cannot be read, comes at the wrong time, or proves that the other end is
            not who it should be.
        MalformedMessageError
            It cannot be read.
        """

    @property
    @abstractmethod
    def may_succeed(self) -> bool:
        """Success may come now: the other end has proved itself. RFC 3748 §4.2."""

    @property
    @abstractmethod
    def failure(self) -> str:
        """Why Failure is expected now; empty if it is not."""


class AuthenticatorMethod(Method):
    """The end that asks: the IKE SA's responder.

    A method is over when it has no further Request; whether it proved anything then
    says ``identity``, which is not empty.
    """

    @abstractmethod
    def begin(self, identifier: int) -> bytes:
        """Return the first Request's Type-Data; ``identifier`` is the packet's."""

    @abstractmethod
    def receive(self, data: bytes, identifier: int) -> bytes | None:
        """Take a Response and return the next Request, both as Type-Data.

        Parameters
        ----------
        identifier : int
            Of the next Request, if there is one.

        Returns
        -------
        bytes or None
            ``None`` when the method is over.

        Raises
        ------
        EapFailedError
            The Response comes at the wrong time or is nonsense.
        MalformedMessageError
            It cannot be read.
        """

    @property
    @abstractmethod
    def identity(self) -> bytes:
        """Who the peer has proved to be; empty before success.

        Source: RFC 7296 §2.16
        """

    @property
    @abstractmethod
    def failure(self) -> str:
        """Why it failed: no secret, and no word of the peer's as it came."""


MakePeerMethod = Callable[[EapSetting], PeerMethod]
"""Makes our end of a method: it knows our credentials."""

MakeAuthenticatorMethod = Callable[[EapSetting], AuthenticatorMethod]
"""Makes the asking end of a method: it knows the users, or whose certificates count."""


@dataclass(frozen=True, slots=True)
class EapPeerPolicy:
    """How we prove who we are by EAP, as initiator. Source: RFC 7296 §2.16."""

    identity: bytes
    """What we answer to a Request for it."""
    methods: Mapping[int, MakePeerMethod]
    """What we are willing to use, by Type, the best first."""
    is_eap_only: bool = False
    """Offer that EAP alone authenticates the responder, too. Source: RFC 5998 §3."""


@dataclass(frozen=True, slots=True)
class EapAuthenticatorPolicy:
    """How initiators prove who they are by EAP; they all have to.

    Source: RFC 7296 §2.16
    """

    methods: Mapping[int, MakeAuthenticatorMethod]
    """What we are willing to use, by Type, in the order in which we ask."""
    is_identity_asked: bool = False
    """Ask for the Identity first. Source: RFC 7296 §3.16."""
    is_eap_only: bool = False
    """Agree that EAP alone authenticates us, too. Source: RFC 5998 §3."""
    identities: frozenset[bytes] = frozenset()
    """Who may come in; empty: whoever a method knows."""

    @property
    def can_be_alone(self) -> bool:
        """EAP alone may do, and there is a method that is safe then. RFC 5998 §4."""
        return self.is_eap_only and not SAFE_ALONE.isdisjoint(self.methods)

    def may_enter(self, identity: bytes) -> bool:
        """Tell whether one who proved to be ``identity`` is let in.

        Source: RFC 7296 §2.16
        """
        return not self.identities or identity in self.identities
