"""Making a connection to a responder: TCP, through a web proxy or not, with TLS or not.

Each step has its time, and ends at once when the peer stops. What comes out is ready
for the stream prefix, which is the first thing inside TLS [9329-4-inside].

Source: RFC 9329 §6.1, RFC 9329 App. A, RFC 9329 App. B
"""

from __future__ import annotations

import threading
from dataclasses import replace

from iketcp.config import Configuration, TlsConfig
from iketcp.ike.nat_detection import IpAddress
from iketcp.net.connection import Connection
from iketcp.net.espintcp import EspInTcpConnection
from iketcp.net.http_connect import ConnectRequest, connect_through
from iketcp.net.tcp import ConnectionBroken, TcpConnection, connect
from iketcp.net.tls import TlsClient
from iketcp.net.tls_connection import TlsConnection
from iketcp.net.tls_options import KeyLogLine
from iketcp.net.wake import Wake
from iketcp.peers.ways import Way


def tls_client(tls: TlsConfig, log_key: KeyLogLine | None) -> TlsClient:
    """Make the client's end of TLS.

    Raises
    ------
    ConfigurationError
        OpenSSL has nothing to speak of what is wanted.
    """
    assert tls.trust is not None  # invariant: an initiator's configuration has it
    return TlsClient(tls.trust, replace(tls.options, log_key=log_key), tls.sni)


class Dialer:
    """Connects to one responder; one attempt at a time.

    Parameters
    ----------
    configuration : Configuration
        An initiator's.
    leaving : Wake
        Set when no connection is wanted any more; then comes :meth:`stop`.
    log_key : KeyLogLine or None
        Told all secrets of TLS.

    Raises
    ------
    ConfigurationError
        OpenSSL has nothing to speak of what is wanted.

    Source: RFC 9329 App. A
    """

    def __init__(
        self, configuration: Configuration, leaving: Wake, log_key: KeyLogLine | None
    ) -> None:
        self._configuration = configuration
        self._leaving = leaving
        self._lock = threading.Lock()
        self._half_made: TcpConnection | None = None
        tls = configuration.tls
        self._client = None if tls is None else tls_client(tls, log_key)

    @property
    def host(self) -> str:
        """The host name or IP address to connect to: the responder's, or a proxy's."""
        configuration = self._configuration
        proxy = configuration.proxy
        return (configuration.remote.address or "") if proxy is None else proxy.address

    def dial(
        self, address: IpAddress, way: Way, flow_label: int | None
    ) -> Connection | None:
        """Connect; ``None`` when stopping.

        Parameters
        ----------
        address : IpAddress
            One of those of :attr:`host`.

        Raises
        ------
        ConnectionBroken
            No connection; another attempt may succeed.
        EnvironmentProblem
            The machine has no socket for us.

        Source: RFC 9329 App. B.1
        """
        configuration = self._configuration
        options, proxy = configuration.transport, configuration.proxy
        port = way.port if proxy is None else proxy.port
        carrier = connect(
            address,
            port,
            options.connect_timeout_seconds,
            local_address=configuration.local.address,
            stop=self._leaving,
            dscp=options.dscp,
            queue_limit=options.send_queue_octets,
            flow_label=flow_label,
        )
        if carrier is None:
            return None
        self._hold(carrier)
        try:
            return self._finish(carrier, way)
        except ConnectionBroken as error:
            raise ConnectionBroken(f"{address} port {port}: {error}") from error
        finally:
            with self._lock:
                self._half_made = None

    def _hold(self, carrier: TcpConnection) -> None:
        """Have a connection stopped with us: whichever comes second sees the other."""
        with self._lock:
            self._half_made = carrier
        if self._leaving.is_set():
            carrier.stop()

    def _finish(self, carrier: TcpConnection, way: Way) -> Connection | None:
        """Do what comes before the stream prefix; ``None`` when told to stop.

        Raises
        ------
        ConnectionBroken
            The proxy or the other end of TLS refuses, or does not answer in time.
        """
        seconds = self._configuration.transport.connect_timeout_seconds
        connection: Connection = carrier
        is_ready = False
        try:
            if self._configuration.proxy is not None:
                request = self._request(way)
                if not connect_through(carrier, request, seconds):
                    return None
            if way.is_tls:
                assert self._client is not None  # invariant: Ways has it from [tls]
                connection = self._client.wrap(carrier)
            elif self._configuration.tun.dataplane == "kernel":
                connection = EspInTcpConnection(carrier, is_tcp_originator=True)
            is_ready = connection.handshake(seconds)
            return connection if is_ready else None
        finally:
            if not is_ready:
                connection.close()

    def _request(self, way: Way) -> ConnectRequest:
        proxy = self._configuration.proxy
        assert proxy is not None  # invariant: only then somebody is asked
        host = self._configuration.remote.address or ""
        return ConnectRequest(host, way.port, proxy.user, proxy.password)

    def stop(self) -> None:
        """Give up a connection that is being made; from any thread."""
        with self._lock:
            if self._half_made is not None:
                self._half_made.stop()

    def ended(self, connection: Connection) -> None:
        """Take from a connection that has ended what makes the next one cheaper.

        Source: RFC 9329 App. B.3 [9329-A-resume]
        """
        if self._client is not None and isinstance(connection, TlsConnection):
            self._client.remember(connection)
