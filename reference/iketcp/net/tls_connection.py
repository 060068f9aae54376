"""A TCP connection with TLS inside: the same octets both ways, wrapped in records.

OpenSSL works on memory and never sees the socket. It must not be used by two threads
at once, so it has a lock of its own, which nobody holds while waiting: the owner thread
waits on the socket without it, and feeds and drains OpenSSL under it. Records leave in
the order in which they were sealed, for they are handed to TCP under it, too.

A record that is sealed has to be sent, or the peer's next one does not verify; so what
may be dropped is dropped before.

Source: RFC 9329 App. A, RFC 9329 App. B
"""

from __future__ import annotations

import contextlib
import threading
import time

from OpenSSL import SSL

from iketcp.net.openssl import said
from iketcp.net.tcp_connection import ConnectionBroken, SocketAddress, TcpConnection

_READ_SIZE = 1 << 14
"""Octets of the longest record."""
_DRAIN_SIZE = 1 << 20
_CERTIFICATE_STATES = frozenset(
    {b"SSLv3/TLS read server certificate", b"SSLv3/TLS write certificate"}
)
"""OpenSSL's words for the message that a resumed session does without."""


class TlsConnection:
    """One end of a TLS connection, a :class:`~iketcp.net.connection.Connection`.

    Parameters
    ----------
    carrier : TcpConnection
        Whose octets are records; it belongs to this connection from now on.
    tls : SSL.Connection
        Between memory BIOs, as client or server; nobody else uses it.

    Source: RFC 9329 App. A
    """

    def __init__(self, carrier: TcpConnection, tls: SSL.Connection) -> None:
        self._carrier = carrier
        self._tls = tls
        self._lock = threading.Lock()
        self._opened = b""
        self._is_shaken = False
        self._is_ended = False
        self._is_closed = False
        self._is_resumed = True
        self.refusal = ""
        """Why we refuse the peer's certificate, in words."""
        tls.set_info_callback(self._note_state)

    def __repr__(self) -> str:
        return f"TlsConnection({self.local_address} - {self.remote_address})"

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port."""
        return self._carrier.local_address

    @property
    def remote_address(self) -> SocketAddress:
        """The peer's address and port."""
        return self._carrier.remote_address

    @property
    def octets_in(self) -> int:
        """Octets of records that came."""
        return self._carrier.octets_in

    @property
    def octets_out(self) -> int:
        """Octets of records that the stack has taken."""
        return self._carrier.octets_out

    @property
    def queue_depth(self) -> int:
        """Octets of records that wait for the stack to take them."""
        return self._carrier.queue_depth

    @property
    def dropped_batches(self) -> int:
        """Droppable sends that were refused."""
        return self._carrier.dropped_batches

    @property
    def path_mtu(self) -> int:
        """The path MTU that the stack knows, in octets."""
        return self._carrier.path_mtu

    @property
    def protection(self) -> str:
        """Version, cipher suite, and whether a session was resumed."""
        if not self._is_shaken:
            return "TLS"
        with self._lock:
            version = self._tls.get_protocol_version_name()
            cipher = self._tls.get_cipher_name()
        return f"{version} {cipher}" + (" resumed" if self._is_resumed else "")

    @property
    def is_resumed(self) -> bool:
        """The handshake is over, and no certificate was sent in it [9329-A-resume]."""
        return self._is_shaken and self._is_resumed

    def session(self) -> SSL.Session | None:
        """Return what a later connection may resume, or ``None``."""
        with self._lock:
            return self._tls.get_session() if self._is_shaken else None

    def give_up_after(self, seconds: float) -> None:
        """Break off when the peer's stack takes nothing for so long."""
        self._carrier.give_up_after(seconds)

    # --- the handshake ----------------------------------------------------------------

    def handshake(self, timeout_seconds: float | None = None) -> bool:
        """Do the handshake, unless it is done, and wait for its end; owner thread only.

        Who only waits for octets need not: the handshake takes place meanwhile. Without
        ``timeout_seconds`` somebody else has to call :meth:`stop` in time.

        Returns
        -------
        bool
            False once :meth:`stop` has been called.

        Raises
        ------
        ConnectionBroken
            It failed, or took too long; the text says why.

        Source: RFC 9329 App. B.1
        """
        deadline = None
        if timeout_seconds is not None:
            deadline = time.monotonic() + timeout_seconds
        self._opened += self._open(b"")
        while not self._is_shaken:
            try:
                records = self._carrier.wait_and_receive(deadline=deadline)
            except ConnectionBroken as error:
                raise ConnectionBroken(f"TLS handshake: {error}") from error
            if records is None:
                return False
            if not records:
                raise ConnectionBroken("TLS handshake: the peer closed the connection")
            self._opened += self._open(records)
        return True

    def _note_state(self, tls: SSL.Connection, where: int, value: int) -> None:
        """See from the messages of a handshake whether it resumes a session."""
        if not self._is_shaken and tls.get_state_string() in _CERTIFICATE_STATES:
            self._is_resumed = False

    # --- octets -----------------------------------------------------------------------

    def send(self, octets: bytes, droppable: bool) -> bool:
        """Seal whole frames and send them; never blocks.

        Returns
        -------
        bool
            False if refused: the queue is full, the connection is over, or its
            handshake is not.

        Source: RFC 9329 §3
        """
        with self._lock:
            if not self._is_shaken or self._is_closed:
                return False
            if droppable and not self._carrier.has_room(len(octets)):
                return False
            try:
                self._tls.sendall(octets)
            except SSL.Error:
                return False
            return self._flush()

    def wait_writable(self, timeout_seconds: float) -> bool:
        """Wait until no record waits for the stack; not for the owner thread."""
        return self._carrier.wait_writable(timeout_seconds)

    def wait_and_receive(
        self, size: int = 262144, deadline: float | None = None
    ) -> bytes | None:
        """Wait for octets inside records; owner thread only.

        Returns
        -------
        bytes or None
            Octets as they came, ``b""`` once the peer has sent close_notify or FIN,
            None once :meth:`stop`, :meth:`close` or :meth:`abort` has been called.

        Raises
        ------
        ConnectionBroken
            The connection or the handshake failed, a record does not verify, or
            nothing came in time.

        Source: RFC 9329 App. B
        """
        octets, self._opened = self._opened, b""
        while not octets and not self._is_ended:
            records = self._carrier.wait_and_receive(size, deadline)
            if not records:
                return records
            octets = self._open(records)
        return octets

    def _open(self, records: bytes) -> bytes:
        """Go on with the handshake, or open records; what TLS answers goes out."""
        opened = []
        with self._lock:
            try:
                if records:
                    self._tls.bio_write(records)
                if not self._is_shaken:
                    self._tls.do_handshake()
                    self._is_shaken = True
                while True:
                    opened.append(self._tls.recv(_READ_SIZE))
            except SSL.WantReadError:
                pass
            except SSL.ZeroReturnError:
                self._is_ended = True
            except SSL.Error as error:
                reason = self.refusal or said(error) or "unexpected end of the records"
                raise ConnectionBroken(f"TLS: {reason}") from error
            finally:
                self._flush()
        return b"".join(opened)

    def _flush(self) -> bool:
        """Hand records to TCP; the caller holds the lock."""
        is_taken = True
        with contextlib.suppress(SSL.WantReadError):
            while records := self._tls.bio_read(_DRAIN_SIZE):
                is_taken = self._carrier.send(records, droppable=False)
        return is_taken

    # --- ending it: any thread --------------------------------------------------------

    def stop(self) -> None:
        """Make the owner leave :meth:`wait_and_receive`; the connection stays open."""
        self._carrier.stop()

    def close(self, graceful: bool = True) -> None:
        """Send close_notify and then FIN, and give the socket back [9329-B-notify].

        Source: RFC 9329 App. B.2
        """
        with self._lock:
            if not self._is_closed and self._is_shaken:
                with contextlib.suppress(SSL.Error):
                    self._tls.shutdown()
                self._flush()
            self._is_closed = True
        self._carrier.close(graceful)

    def abort(self) -> None:
        """Break the connection off with RST; its session may be resumed all the same.

        Source: RFC 9329 App. B.3
        """
        with self._lock:
            self._is_closed = True
            # or OpenSSL takes a session that ends without close_notify for spoilt
            self._tls.set_shutdown(SSL.SENT_SHUTDOWN)
        self._carrier.abort()
