"""EAP-TLS: both ends show certificates in a TLS handshake; its exporter makes the MSK.

::

    authenticator                              peer
    Start                               →
                                        ←      ClientHello
    ServerHello … Finished              →
                                        ←      Certificate … Finished
    [tickets,] application data 00      →                   TLS 1.3
    ChangeCipherSpec, Finished          →                   TLS 1.2
                                        ←      nothing

Each flight may come in fragments. In TLS 1.3 the single octet of application data says
that the peer was accepted; without it no Success is believed. An alert goes out and is
acknowledged before Failure. A session is never resumed: an IKE SA lives for hours, and
a full handshake is a small part of making one.

What TLS itself does is behind :class:`TlsEngine`.

Source: RFC 5216 §2.1
Source: RFC 5216 §2.3
Source: RFC 9190 §2.1.1
Source: RFC 9190 §2.1.4
Source: RFC 9190 §2.5
"""

from typing import ClassVar, Protocol

from iketcp.eap.method import AuthenticatorMethod, PeerMethod
from iketcp.eap.packets import EapType
from iketcp.eap.tls_fragments import (
    ACKNOWLEDGEMENT,
    Outgoing,
    Reassembly,
    TlsFragment,
    decode_fragment,
)
from iketcp.errors import EapFailedError


class TlsEngine(Protocol):
    """One end of a TLS connection that carries nothing but the commitment.

    Source: RFC 5216 §2.1.1
    """

    def receive(self, flight: bytes) -> bytes:
        """Take the other end's records and return ours, perhaps none.

        It never raises: what fails shows in ``failure``, and the alert is returned.
        """
        ...

    @property
    def is_finished(self) -> bool:
        """The handshake succeeded, and in TLS 1.3 the octet 00 was sent or received.

        Source: RFC 9190 §2.5
        """
        ...

    @property
    def failure(self) -> str:
        """Why it failed; empty if it did not."""
        ...

    @property
    def names(self) -> tuple[bytes, ...]:
        """What the other end's certificate says it is called, best first.

        Source: RFC 5216 §5.2
        """
        ...

    @property
    def msk(self) -> bytes:
        """Master Session Key, 64 octets; empty before the end of the handshake.

        Source: RFC 5216 §2.3, RFC 9190 §2.3
        """
        ...

    def forget(self) -> None:
        """Drop the connection and its keys."""
        ...


class TlsPeer(PeerMethod):
    """The TLS client.

    Parameters
    ----------
    engine : TlsEngine
        A client's, with our certificate; it knows which server we expect.

    Source: RFC 5216 §2.1.1
    """

    eap_type: ClassVar[int] = EapType.TLS

    def __init__(self, engine: TlsEngine) -> None:
        self._engine = engine
        self._incoming = Reassembly()
        self._outgoing = Outgoing()
        self._is_started = False

    def respond(self, data: bytes) -> bytes:
        """Answer Start, a fragment, or an acknowledgement of ours.

        Raises
        ------
        EapFailedError
            It comes at the wrong time.
        MalformedMessageError
            It cannot be read.
        """
        fragment = decode_fragment(data)
        if fragment.is_start != (not self._is_started):
            raise EapFailedError("EAP-TLS Start is missing or comes twice")
        if fragment.is_start:
            self._is_started = True
            return self._outgoing.load(self._engine.receive(b""))
        if self._outgoing:
            return self._outgoing.next(fragment)
        if self.may_succeed or self.failure:
            raise EapFailedError("EAP-TLS goes on after its end")
        flight = self._incoming.add(fragment)
        if flight is None:
            return ACKNOWLEDGEMENT.encode()
        return self._outgoing.load(self._engine.receive(flight))

    @property
    def may_succeed(self) -> bool:
        """The handshake is finished on both ends, and all of it is sent."""
        engine = self._engine
        return engine.is_finished and not engine.failure and not self._outgoing

    @property
    def failure(self) -> str:
        """Why TLS failed; empty if it did not."""
        return self._engine.failure

    @property
    def msk(self) -> bytes:
        """Master Session Key, 64 octets; empty before success."""
        return self._engine.msk if self.may_succeed else b""

    def forget(self) -> None:
        """Drop the connection and its keys."""
        self._engine.forget()


class TlsAuthenticator(AuthenticatorMethod):
    """The TLS server.

    Parameters
    ----------
    engine : TlsEngine
        A server's, with our certificate; it asks for the client's.
    claimed : bytes
        Who the peer says it is: taken where its certificate has this name, too.

    Source: RFC 5216 §2.1.1
    """

    eap_type: ClassVar[int] = EapType.TLS

    def __init__(self, engine: TlsEngine, claimed: bytes) -> None:
        self._engine = engine
        self._claimed = claimed
        self._incoming = Reassembly()
        self._outgoing = Outgoing()
        self._is_proved = False

    def begin(self, identifier: int) -> bytes:
        """Return Start. Source: RFC 5216 §2.1.1."""
        return TlsFragment(is_start=True).encode()

    def receive(self, data: bytes, identifier: int) -> bytes | None:
        """Take a fragment or an acknowledgement.

        Raises
        ------
        EapFailedError
            It comes at the wrong time.
        MalformedMessageError
            It cannot be read.
        """
        engine = self._engine
        fragment = decode_fragment(data)
        if fragment.is_start:
            raise EapFailedError("EAP-TLS Start of a peer")
        if self._outgoing:
            return self._outgoing.next(fragment)
        if engine.failure:
            return None  # the alert was taken note of
        if engine.is_finished:
            if fragment != ACKNOWLEDGEMENT:
                raise EapFailedError("EAP-TLS goes on after its end")
            self._is_proved = True
            return None
        flight = self._incoming.add(fragment)
        return ACKNOWLEDGEMENT.encode() if flight is None else self._hear(flight)

    def _hear(self, flight: bytes) -> bytes | None:
        """Take a whole flight; ``None`` if the peer's alert ended it."""
        answer = self._engine.receive(flight)
        if answer:
            return self._outgoing.load(answer)
        if self._engine.failure:
            return None
        raise EapFailedError("EAP-TLS stops before its end")

    @property
    def identity(self) -> bytes:
        """What the peer claimed, if its certificate says so, else the certificate's.

        Source: RFC 5216 §5.2, RFC 9190 §2.2
        """
        if not self._is_proved:
            return b""
        names = self._engine.names
        if self._claimed in names:
            return self._claimed
        return names[0] if names else b""

    @property
    def failure(self) -> str:
        """Why TLS failed."""
        return self._engine.failure or "the certificate has no name"

    @property
    def msk(self) -> bytes:
        """Master Session Key, 64 octets; empty before success."""
        return self._engine.msk if self._is_proved else b""

    def forget(self) -> None:
        """Drop the connection and its keys."""
        self._engine.forget()
