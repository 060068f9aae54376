"""The peer of EAP, which in IKE is the initiator: it answers Requests.

::

    Request Identity      →  Response Identity
    Request Notification  →  Response Notification
    Request of a method   →  Response of the method, or Nak before the first one
    Success, Failure      →  the end

Over IKE every message gets its answer, so what EAP would discard in silence (a Success
before its time, say) ends the conversation here.

Source: RFC 3748 §2.1
Source: RFC 3748 §4.1
Source: RFC 3748 §4.2
Source: RFC 3748 §5.3.1
"""

from collections.abc import Mapping

from iketcp.eap.method import EapSetting, MakePeerMethod, PeerMethod, allowed
from iketcp.eap.packets import (
    FIRST_METHOD_TYPE,
    NO_ALTERNATIVE,
    EapCode,
    EapPacket,
    EapType,
    decode_packet,
)
from iketcp.errors import EapFailedError, EapRefusedError, MalformedMessageError

MAX_REQUESTS = 128
"""Choice: Requests we answer in one conversation; IKE asks for ten at least, and the
largest EAP-TLS message takes 64 fragments. Source: RFC 7296 §2.16."""


class EapPeer:
    """Our end, as initiator, of one conversation.

    Parameters
    ----------
    setting : EapSetting
        ``identity`` is what we answer to a Request for it.
    methods : Mapping[int, MakePeerMethod]
        What we are willing to use, by Type, the best first; where EAP is all there
        is, only those that are safe alone.

    Source: RFC 3748 §4
    """

    def __init__(
        self, setting: EapSetting, methods: Mapping[int, MakePeerMethod]
    ) -> None:
        self._setting = setting
        self._methods = allowed(setting, methods)
        self._method: PeerMethod | None = None
        self._last_request = b""
        self._last_response = b""
        self._last_identifier = -1
        self._requests = 0
        self.is_successful = False
        """Success came, and at a time when the method allows it. RFC 3748 §4.2."""

    def receive(self, message: bytes) -> bytes | None:
        """Take a message of the authenticator's: a whole EAP packet from Code on.

        Returns
        -------
        bytes or None
            The Response, or ``None`` after Success.

        Raises
        ------
        EapRefusedError
            The message is Failure.
        EapFailedError
            It cannot be read or comes at the wrong time; or the authenticator's proof
            is wrong.

        Source: RFC 3748 §4.1, RFC 3748 §4.2, RFC 5998 §3
        """
        try:
            packet = decode_packet(message)
            if packet.code == EapCode.REQUEST:
                return self._answer(packet, message)
        except MalformedMessageError as error:
            raise EapFailedError(str(error)) from None
        self._end(packet)
        return None

    @property
    def msk(self) -> bytes:
        """Master Session Key, 64 octets; empty before success. RFC 3748 §7.10."""
        if self._method is None or not self.is_successful:
            return b""
        return self._method.msk

    def forget(self) -> None:
        """Drop every secret, whatever came of it."""
        if self._method is not None:
            self._method.forget()

    def _answer(self, request: EapPacket, message: bytes) -> bytes:
        """Answer a Request; a repeated one gets the same octets. RFC 3748 §4.1."""
        self._requests += 1
        if self._requests > MAX_REQUESTS:
            raise EapFailedError(f"more than {MAX_REQUESTS} EAP Requests")
        if self.is_successful:
            raise EapFailedError("an EAP Request after Success")
        if request.identifier == self._last_identifier:
            if message != self._last_request:
                raise EapFailedError("another EAP Request of the same Identifier")
            return self._last_response
        kind, data = self._response_to(request)
        response = EapPacket(EapCode.RESPONSE, request.identifier, kind, data).encode()
        self._last_request, self._last_response = message, response
        self._last_identifier = request.identifier
        return response

    def _response_to(self, request: EapPacket) -> tuple[int, bytes]:
        """Return Type and Type-Data of the Response."""
        if request.type == EapType.NOTIFICATION:
            # nobody reads along, and it changes nothing. RFC 3748 §5.2
            return EapType.NOTIFICATION, b""
        if self._method is not None:
            # one method, begun once, is the only one. RFC 3748 §2.1
            if request.type != self._method.eap_type:
                raise EapFailedError(
                    f"an EAP Request of type {request.type} amid another method"
                )
            return request.type, self._method.respond(request.data)
        if request.type == EapType.IDENTITY:
            return EapType.IDENTITY, self._setting.identity
        if request.type < FIRST_METHOD_TYPE:
            raise EapFailedError(f"an EAP Request of type {request.type}")
        make = self._methods.get(request.type)
        if make is None:
            wanted = bytes(self._methods) or bytes([NO_ALTERNATIVE])
            return EapType.NAK, wanted
        self._method = make(self._setting)
        return request.type, self._method.respond(request.data)

    def _end(self, packet: EapPacket) -> None:
        """Take Success or Failure.

        Raises
        ------
        EapFailedError
            It is Failure, or a Success that the method does not allow now.

        Source: RFC 3748 §4.2
        """
        method = self._method
        if packet.code != EapCode.SUCCESS:
            reason = method.failure if method is not None else ""
            if packet.code == EapCode.FAILURE:
                raise EapRefusedError(reason or "the peer answers EAP Failure")
            raise EapFailedError("an EAP Response of an authenticator")
        if method is None or not method.may_succeed:
            reason = method.failure if method is not None else ""
            raise EapFailedError(reason or "EAP Success before the method is done")
        if packet.identifier != self._last_identifier:
            raise EapFailedError("EAP Success with another Identifier")
        self.is_successful = True
