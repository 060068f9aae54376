"""The authenticator of EAP, which in IKE is the responder: it asks.

::

    [Request Identity  ←→  Response Identity]
    Request of a method  ←→  Response, or Nak: then another method
    …
    Success or Failure

It says Failure to whatever a Response does wrong: over IKE nothing is lost or comes
twice, so a Response that EAP would discard in silence is a mistake or an attack.

Source: RFC 3748 §2.1
Source: RFC 3748 §4.1
Source: RFC 3748 §4.2
Source: RFC 3748 §5.3.1
Source: RFC 7296 §3.16
"""

from dataclasses import replace

from iketcp.eap.method import (
    AuthenticatorMethod,
    EapAuthenticatorPolicy,
    EapSetting,
    allowed,
)
from iketcp.eap.packets import EapCode, EapPacket, EapType, decode_packet
from iketcp.errors import EapFailedError, MalformedMessageError

MAX_REQUESTS = 128
"""Choice: Requests in one conversation, as :data:`iketcp.eap.peer.MAX_REQUESTS`."""

MAX_IDENTITY_SIZE = 1020
"""Octets of an Identity Response that we take. Source: RFC 3748 §5.1."""


class EapAuthenticator:
    """Our end, as responder, of one conversation. It never raises: it says Failure.

    Parameters
    ----------
    setting : EapSetting
        ``identity`` is what the initiator says in IDi.
    policy : EapAuthenticatorPolicy
        At least one method of it has to be safe alone where EAP is all there is. Peers
        whose IDi is but an address need to be asked for their identity; others should
        be spared it. Source: RFC 7296 §3.16.

    Source: RFC 3748 §4
    """

    def __init__(
        self,
        setting: EapSetting,
        policy: EapAuthenticatorPolicy,
    ) -> None:
        self._setting = setting
        self._policy = policy
        self._untried = allowed(setting, policy.methods)
        self._method: AuthenticatorMethod | None = None
        self._is_method_agreed = False
        self._identifier = setting.entropy.draw("eap.identifier", 1)[0]
        self._requests = 0
        self._reason = ""
        self.is_over = False
        """Success or Failure was said."""
        self.is_successful = False
        """Success was said."""

    def begin(self) -> bytes:
        """Return the first Request, a whole EAP packet. Called once."""
        if self._policy.is_identity_asked:
            return self._request(EapType.IDENTITY, b"")
        return self._begin_method(next(iter(self._untried)))

    def receive(self, message: bytes) -> bytes:
        """Take what should be a Response; returns Request, Success or Failure.

        Source: RFC 3748 §4.1, RFC 3748 §4.2
        """
        identifier = self._identifier
        try:
            if self.is_over:
                raise EapFailedError("an EAP message after the end")
            response = decode_packet(message)
            if response.code != EapCode.RESPONSE:
                raise EapFailedError(f"EAP Code {response.code} is no Response")
            if response.identifier != identifier:
                raise EapFailedError("an EAP Response with another Identifier")
            if self._requests >= MAX_REQUESTS:
                raise EapFailedError(f"more than {MAX_REQUESTS} EAP Requests")
            return self._take(response)
        except (EapFailedError, MalformedMessageError) as error:
            self._reason = self._reason or str(error)
            self.is_over, self.is_successful = True, False
            return EapPacket(EapCode.FAILURE, identifier).encode()

    @property
    def msk(self) -> bytes:
        """Master Session Key, 64 octets; empty before success. RFC 3748 §7.10."""
        if self._method is None or not self.is_successful:
            return b""
        return self._method.msk

    @property
    def identity(self) -> bytes:
        """Who the method proved the peer to be; empty before success.

        Policy goes by this and not by IDi. Source: RFC 7296 §2.16.
        """
        if self._method is None or not self.is_successful:
            return b""
        return self._method.identity

    @property
    def failure(self) -> str:
        """Why it failed, for our log: no secret, no word of the peer's as it came."""
        return self._reason

    def forget(self) -> None:
        """Drop every secret, whatever came of it."""
        if self._method is not None:
            self._method.forget()

    def _take(self, response: EapPacket) -> bytes:
        """Hand a Response to whoever asked. Raises as methods do."""
        method = self._method
        if method is None:
            self._take_identity(response)
            return self._begin_method(next(iter(self._untried)))
        if response.type == EapType.NAK and not self._is_method_agreed:
            return self._begin_method(self._wanted(response.data))
        if response.type != method.eap_type:
            raise EapFailedError(f"an EAP Response of type {response.type}")
        self._is_method_agreed = True
        data = method.receive(response.data, self._next_identifier())
        if data is not None:
            return self._request(method.eap_type, data)
        if not method.identity:
            raise EapFailedError(method.failure)
        if not self._policy.may_enter(method.identity):
            raise EapFailedError("who this is may not come in")
        self.is_over = self.is_successful = True
        return EapPacket(EapCode.SUCCESS, response.identifier).encode()

    def _take_identity(self, response: EapPacket) -> None:
        """Note who the peer says it is; that proves nothing. RFC 3748 §5.1."""
        if response.type != EapType.IDENTITY:
            raise EapFailedError(f"an EAP Response of type {response.type}")
        if len(response.data) > MAX_IDENTITY_SIZE:
            raise EapFailedError("an EAP identity that is too long")
        self._setting = replace(self._setting, identity=response.data)

    def _wanted(self, types: bytes) -> int:
        """Choose a method after Nak: our best of those the peer would take.

        Raises
        ------
        EapFailedError
            There is none.

        Source: RFC 3748 §5.3.1
        """
        for kind in self._untried:
            if kind in types:
                return kind
        raise EapFailedError("the peer takes none of our EAP methods")

    def _begin_method(self, kind: int) -> bytes:
        method = self._untried.pop(kind)(self._setting)
        self._method = method
        return self._request(kind, method.begin(self._next_identifier()))

    def _next_identifier(self) -> int:
        return (self._identifier + 1) % 256

    def _request(self, kind: int, data: bytes) -> bytes:
        """Make the next Request; its Identifier differs from the last one's."""
        self._requests += 1
        self._identifier = self._next_identifier()
        return EapPacket(EapCode.REQUEST, self._identifier, kind, data).encode()
