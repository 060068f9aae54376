"""TLS around TCP connections, over real loopback sockets. RFC 9329 App. A, App. B."""

import contextlib
import gc
import threading
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from certificate_factory import authority, key_from
from conftest import LeakCheck
from connection_support import PATIENCE_SECONDS, Reader, carriers
from iketcp.crypto.signatures import SigningKey
from iketcp.errors import ConfigurationError
from iketcp.net.connection import Connection
from iketcp.net.tcp import ConnectionBroken, TcpConnection
from iketcp.net.tls import TlsServer, is_for, pin_of
from iketcp.net.tls_connection import TlsConnection
from iketcp.net.tls_options import TlsIdentity, TlsOptions
from tls_support import (
    CA,
    HOUR,
    NOW,
    OTHER_CA,
    SERVER,
    VALID,
    client,
    refusals,
    rsa_certificate,
    server,
    server_certificate,
    tls_pair,
)

VERSIONS = {
    "TLSv1.2": {"is_13_allowed": False},
    "TLSv1.3": {"is_12_allowed": False},
}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("version", VERSIONS)
def test_octets_go_both_ways(host: str, version: str, leak_check: LeakCheck) -> None:
    """[9329-A-versions] [9329-B-nocert]: either version, and no client certificate."""
    options = VERSIONS[version]
    with leak_check(), tls_pair(client(**options), server(), host) as (us, them, far):
        assert us.send(b"IKETCP", droppable=False)
        assert far.wait_for(6) == b"IKETCP"
        assert them.send(b"response", droppable=True)
        assert us.wait_and_receive() == b"response"
        assert us.protection.startswith(f"{version} ")
        assert us.protection == them.protection
        assert us.octets_in == them.octets_out > 8
        assert us.local_address == them.remote_address
        assert us.path_mtu == them.path_mtu


def test_a_megabyte_each_way(leak_check: LeakCheck) -> None:
    """Records of all sizes, both directions at once, in order."""
    blob = bytes(range(256)) * 4096
    with leak_check(), tls_pair(client(), server()) as (us, them, far):
        near = Reader(us)
        for end in (us, them):
            at = 0
            for size in (1, 16384, 16385, 70000, 3):
                assert end.send(blob[at : at + size], droppable=False)
                at += size
            assert end.send(blob[at:], droppable=False)
        assert near.wait_for(len(blob)) == blob
        assert far.wait_for(len(blob)) == blob
        us.close()
        near.join()


def test_close_notify_comes_before_fin(leak_check: LeakCheck) -> None:
    """[9329-B-notify]: from both ends, an alert is the last record."""
    with leak_check(), tls_pair(client(is_13_allowed=False), server()) as ends:
        us, them, far = ends
        seen = [spy(us), spy(them)]
        us.close()
        assert far.join() == b""
        them.close()
        assert [record_types(b"".join(records))[-1] for records in seen] == [21, 21]


def spy(connection: TlsConnection) -> list[bytes]:
    """See what a connection hands to TCP."""
    seen: list[bytes] = []
    send = connection._carrier.send

    def sending(octets: bytes, droppable: bool) -> bool:
        seen.append(octets)
        return send(octets, droppable)

    connection._carrier.send = sending  # type: ignore[method-assign]
    return seen


def record_types(stream: bytes) -> list[int]:
    """The content types of TLS records in a row."""
    found = []
    while stream:
        size = int.from_bytes(stream[3:5], "big")
        found.append(stream[0])
        assert len(stream) >= 5 + size
        stream = stream[5 + size :]
    return found


def test_an_end_without_close_notify_is_an_end() -> None:
    """A middlebox may have cut the connection: nothing of the session is lost."""
    with tls_pair(client(), server()) as (us, _, far):
        us._carrier.close()
        assert far.join() == b""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed(version: str) -> None:
    """[9329-A-resume]: the second handshake sends no certificate."""
    us, them = client(**VERSIONS[version]), server()
    for is_resumed in (False, True, True):
        with tls_pair(us, them) as (made, accepted, far):
            made.send(b"x", droppable=False)
            far.wait_for(1)
            accepted.send(b"y", droppable=False)
            assert made.wait_and_receive() == b"y"
            assert (made.is_resumed, accepted.is_resumed) == (is_resumed, is_resumed)
            assert made.protection.endswith("resumed") is is_resumed
            us.remember(made)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_outlives_a_connection_that_breaks(version: str) -> None:
    """[9329-A-resume]: also when nothing of that connection is left, as after a cut."""
    us, them = client(**VERSIONS[version]), server()
    for is_resumed in (False, True, True):
        with tls_pair(us, them) as (made, accepted, _):
            accepted_octets(accepted, made)
            assert made.is_resumed is is_resumed
            made.abort()
            us.remember(made)
        del made, accepted
        gc.collect()


def test_a_server_that_has_forgotten_begins_anew() -> None:
    """A restarted server cannot read the ticket; the handshake is whole again."""
    us = client()
    for _ in range(2):
        with tls_pair(us, server()) as (made, accepted, _):
            accepted_octets(accepted, made)
            assert not made.is_resumed
            us.remember(made)


def accepted_octets(accepted: TlsConnection, made: TlsConnection) -> None:
    """Let the server say something, so that its tickets have come as well."""
    assert accepted.send(b"y", droppable=False)
    assert made.wait_and_receive() == b"y"


def test_null_cipher() -> None:
    """[9329-A-null]: by both sides' wish; octets go in the clear, with integrity."""
    issued = rsa_certificate()
    null = {"is_null_allowed": True}
    with tls_pair(client(**null), server(issued, **null)) as (us, _, far):
        assert "NULL" in us.protection
        us.send(b"IKETCP", droppable=False)
        assert far.wait_for(6) == b"IKETCP"
    with tls_pair(client(**null), server(issued)) as (us, _, _):
        assert "NULL" not in us.protection


def test_alpn() -> None:
    """The first of ours that the client offers; in vain, the handshake ends."""
    offered = {"alpn": ("h2", "iketcp")}
    with tls_pair(client(**offered), server(alpn=("iketcp",))) as (us, _, _):
        assert us._tls.get_alpn_proto_negotiated() == b"iketcp"
    with tls_pair(client(), server(alpn=("iketcp",))) as (us, _, _):
        assert us._tls.get_alpn_proto_negotiated() == b""
    said, _ = refusals(client(**offered), server(alpn=("other",)))
    assert "no application protocol" in said


def test_keys_are_logged_where_wanted() -> None:
    """NSS's format, one line a secret."""
    lines: list[bytes] = []
    with tls_pair(client(log_key=lines.append), server()):
        pass
    assert {line.split()[0] for line in lines} >= {
        b"CLIENT_TRAFFIC_SECRET_0",
        b"SERVER_TRAFFIC_SECRET_0",
    }


# --- who is believed ----------------------------------------------------------------


WRONG = {
    "an expired one": (
        server_certificate(begin=NOW - 2 * HOUR, end=NOW - HOUR),
        "it has expired",
    ),
    "one of the future": (
        server_certificate(begin=NOW + HOUR, end=NOW + 2 * HOUR),
        "it is not valid yet",
    ),
    "one for another name": (
        server_certificate(("other.example",)),
        "is not for gw.example",
    ),
    "one without a name": (server_certificate(()), "is not for gw.example"),
    "one of another CA": (server_certificate(issuer=OTHER_CA), "is not trusted"),
    "one that signs itself": (server_certificate(issuer=None), "is signed by itself"),
    "one for clients": (
        server_certificate(
            extensions=[
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
            ]
        ),
        "it is not for servers",
    ),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_certificate_is_refused(what: str, version: str) -> None:
    """Both ends say so, ours with the reason; no octet of IKE goes out."""
    issued, words = WRONG[what]
    said, heard = refusals(client(**VERSIONS[version]), server(issued))
    assert words in said
    assert "alert" in heard


def test_a_pinned_key_is_believed() -> None:
    """Whatever else its certificate says, and no other."""
    issued = WRONG["one that signs itself"][0]
    pins = (bytes(32), pin_of(issued.certificate))
    with tls_pair(client("x.example", (), pins), server(issued)):
        pass
    said, _ = refusals(client(pins=(bytes(32),)), server())
    assert pin_of(SERVER.certificate).hex() in said


def test_any_server_will_do_where_that_is_wanted() -> None:
    """Verification off, by explicit configuration only."""
    issued = WRONG["one that signs itself"][0]
    with tls_pair(client("x.example", (), is_checked=False), server(issued)):
        pass


def test_a_chain_is_shown_and_followed() -> None:
    """Intermediates come from the server, the CA does not."""
    between = authority("O=Example,CN=Between", key_from(5), CA, **VALID)
    issued = server_certificate(issuer=between)
    chain = (issued.certificate, between.certificate)
    theirs = TlsServer(TlsIdentity(chain, issued.key), TlsOptions())
    with tls_pair(client(), theirs):
        pass
    said, _ = refusals(client(), server(issued))
    assert "issuer" in said


@pytest.mark.parametrize(
    ("names", "name", "is_good"),
    [
        (("gw.example",), "GW.example.", True),
        (("*.example.org",), "gw.example.org", True),
        (("*.example.org",), "a.gw.example.org", False),
        (("*.example.org",), "example.org", False),
        (("*.org",), "example.org", False),
        (("g*.example.org",), "gw.example.org", False),
        (("192.0.2.1",), "192.0.2.1", True),
        (("2001:db8::1",), "2001:db8:0::1", True),
        (("192.0.2.1",), "192.0.2.2", False),
        ((), "gw.example", False),
        ((), "192.0.2.1", False),
    ],
)
def test_names(names: tuple[str, ...], name: str, is_good: bool) -> None:
    """Exactly, or one label by ``*``; addresses by value."""
    assert is_for(server_certificate(names).certificate, name) is is_good


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"is_12_allowed": False, "is_13_allowed": False}, "no version of TLS left"),
        ({"is_12_allowed": False, "is_null_allowed": True}, "no version of TLS left"),
    ],
)
def test_options_that_leave_nothing(options: dict[str, bool], words: str) -> None:
    """NULL ciphers are of TLS 1.2 only."""
    with pytest.raises(ConfigurationError, match=words):
        server(**options)


class Stranger:
    """A server that shows whatever it was given."""

    def __init__(self, certificate: bytes, key: SigningKey) -> None:
        self._context = SSL.Context(SSL.TLS_METHOD)
        shown = crypto.load_certificate(crypto.FILETYPE_ASN1, certificate)
        self._context.use_certificate(shown)
        self._context.use_privatekey(key)

    def wrap(self, carrier: TcpConnection) -> TlsConnection:
        """Expect TLS on a connection."""
        tls = SSL.Connection(self._context, None)
        tls.set_accept_state()
        return TlsConnection(carrier, tls)


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL X509 objects")
def test_a_certificate_of_a_version_that_does_not_exist() -> None:
    """OpenSSL bears it; whom a client pins, it has to be able to read."""
    der = SERVER.certificate.public_bytes(Encoding.DER)
    odd = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x04", 1)
    assert odd != der
    said, _ = refusals(client(pins=(bytes(32),)), Stranger(odd, SERVER.key))
    assert said == "TLS: the server's certificate cannot be read"


def test_a_key_that_does_not_fit() -> None:
    """The certificate is for another key."""
    with pytest.raises(
        ConfigurationError,
        match="OpenSSL refuses the certificate or key for TLS: key values mismatch",
    ):
        TlsServer(TlsIdentity((SERVER.certificate,), key_from(3)), TlsOptions())


# --- what goes wrong ----------------------------------------------------------------


def test_both_kinds_of_connection_are_one_to_their_user() -> None:
    """A peer need not know what is wrapped around its octets."""
    with tls_pair(client(), server()) as (us, them, _):
        for connection in (us, us._carrier, them):
            for name in protocol_names():
                assert hasattr(connection, name), name


def protocol_names() -> set[str]:
    """What a connection has to have."""
    return {name for name in vars(Connection) if not name.startswith("_")}


def test_no_common_version() -> None:
    """Both ends say so."""
    said, heard = refusals(client(**VERSIONS["TLSv1.2"]), server(is_12_allowed=False))
    assert "alert" in said or "version" in said
    assert "protocol" in heard


def test_a_plain_client_on_a_tls_port() -> None:
    """The stream prefix is no ClientHello."""
    with carriers() as (far, near):
        reader = Reader(server().wrap(near))
        far.send(b"IKETCP" + bytes(40), droppable=False)
        assert "TLS: " in str(reader.join())


def test_a_tls_client_on_a_plain_port() -> None:
    """Whoever waits for the prefix closes; the client says what it was doing."""
    with carriers() as (far, near):
        near.close()
        with pytest.raises(ConnectionBroken, match="TLS handshake: "):
            client().wrap(far).handshake(PATIENCE_SECONDS)


def test_garbage_instead_of_an_answer() -> None:
    """What is no record ends the handshake."""
    with carriers() as (far, near):
        near.send(b"HTTP/1.1 400 Bad Request\r\n\r\n", droppable=False)
        with pytest.raises(ConnectionBroken, match="TLS: "):
            client().wrap(far).handshake(PATIENCE_SECONDS)


def test_silence() -> None:
    """The handshake has its time, and no more."""
    with (
        carriers() as (far, _),
        pytest.raises(ConnectionBroken, match="nothing came in time"),
    ):
        client().wrap(far).handshake(0.01)


def test_a_handshake_can_be_stopped() -> None:
    """By any thread."""
    with carriers() as (far, _):
        made = client().wrap(far)
        threading.Timer(0.01, made.stop).start()
        assert not made.handshake(PATIENCE_SECONDS)


def test_a_changed_record_ends_the_connection() -> None:
    """What does not verify is not delivered."""
    with tls_pair(client(), server()) as (us, _, far):
        us._carrier.send(b"\x17\x03\x03\x00\x20" + bytes(32), droppable=False)
        assert "TLS: " in str(far.join())


def test_nothing_is_sent_before_the_handshake_or_after_the_end() -> None:
    """What cannot be sealed is refused."""
    with carriers() as (far, _):
        made = client().wrap(far)
        assert made.protection == "TLS"
        assert made.session() is None
        assert not made.send(b"x", droppable=False)
        made.close()
        assert not made.send(b"x", droppable=False)


def test_a_peer_that_does_not_read_costs_droppable_sends_first() -> None:
    """Nothing that is sealed is dropped; what would have been dropped is not sealed."""
    limits = {"queue_limit": 1 << 16, "hard_limit": 1 << 20}
    with tls_pair(client(), server(), **limits) as (us, them, _):
        while them.send(bytes(10000), droppable=True):
            pass
        assert them.dropped_batches == 1
        assert them.send(b"IKE", droppable=False)
        assert them.queue_depth > 1 << 16
        reader = Reader(us)
        assert reader.wait_for(1 << 16)[-3:] != b""
        them.close()
        assert reader.join() == b""
        assert reader.received.endswith(bytes(10000) + b"IKE")


def test_both_ends_send_while_both_read() -> None:
    """OpenSSL is used by one thread at a time, and nobody waits under its lock."""
    with tls_pair(client(), server()) as (us, them, far):
        near = Reader(us)
        senders = [
            threading.Thread(
                target=lambda end=end: [
                    end.send(b"0123456789" * 20, droppable=False) for _ in range(500)
                ]
            )
            for end in (us, us, them, them)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert near.wait_for(200_000) == b"0123456789" * 20_000
        assert far.wait_for(200_000) == b"0123456789" * 20_000
        us.close()
        near.join()


# --- strangers ------------------------------------------------------------------------


def change(carrier: TcpConnection, at: int) -> None:
    """Change one octet of what a connection sends, counted from its first."""
    send, count = carrier.send, 0

    def changed(octets: bytes, droppable: bool) -> bool:
        nonlocal count
        here = at - count
        count += len(octets)
        if 0 <= here < len(octets):
            octets = octets[:here] + bytes([octets[here] ^ 0x55]) + octets[here + 1 :]
        return send(octets, droppable)

    carrier.send = changed  # type: ignore[method-assign]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_from_client", [True, False])
def test_octets_changed_on_the_way(version: str, is_from_client: bool) -> None:
    """A changed octet in a handshake ends in an error that is expected, if in any.

    Where a length is changed, more octets are waited for, as long as there is time.
    """
    for at in range(0, 700, 13):
        with carriers() as ends:
            change(ends[not is_from_client], at)
            reader = Reader(server().wrap(ends[1]))
            made = client(**VERSIONS[version]).wrap(ends[0])
            with contextlib.suppress(ConnectionBroken):
                made.handshake(0.1)
            made.close()
            end = reader.join()
            assert end == b"" or isinstance(end, ConnectionBroken), at


def test_octets_that_are_no_tls() -> None:
    """Whatever comes first, a server ends in an error that is expected."""
    random = Random(9325)
    for size in range(1, 400, 7):
        begins = random.choice((b"", b"\x16\x03\x01", b"\x15\x03\x03\0\x02", b"\x80"))
        with carriers() as (far, near):
            reader = Reader(server().wrap(near))
            far.send(begins + random.randbytes(size), droppable=False)
            far.close()
            end = reader.join()
            assert end == b"" or isinstance(end, ConnectionBroken), size
