"""EAP-TLS: fragments, both ends over OpenSSL, certificates. RFC 5216, RFC 9190."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from eap_parts import (
    AUTHORITY,
    CLIENT,
    NOW,
    OTHER_AUTHORITY,
    SERVER,
    Conversation,
    credentials,
    issue,
    revocation_list,
    tls_authenticator,
    tls_peer,
)
from iketcp.eap.openssl import OpenSslEngine, names_of
from iketcp.eap.packets import EapCode, decode_packet
from iketcp.eap.tls import TlsAuthenticator, TlsPeer
from iketcp.eap.tls_fragments import (
    ACKNOWLEDGEMENT,
    MAX_FLIGHT_SIZE,
    Outgoing,
    Reassembly,
    TlsFragment,
    decode_fragment,
    split,
)
from iketcp.errors import EapFailedError, MalformedMessageError

# --- fragments ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "fragment"),
    [
        ("00", ACKNOWLEDGEMENT),
        ("20", TlsFragment(is_start=True)),
        ("00 1603", TlsFragment(b"\x16\x03")),
        ("c0 00000801 16", TlsFragment(b"\x16", 2049, has_more=True)),
        ("40 16", TlsFragment(b"\x16", has_more=True)),
        ("80 00000001 16", TlsFragment(b"\x16", 1)),
    ],
)
def test_packets(octets, fragment):
    octets = bytes.fromhex(octets)
    assert decode_fragment(octets) == fragment
    assert fragment.encode() == octets


def test_reserved_flags_are_ignored():
    """RFC 5216 §3.1."""
    assert decode_fragment(b"\x1f") == ACKNOWLEDGEMENT


@pytest.mark.parametrize("octets", ["", "80", "c0 000000"])
def test_what_is_no_fragment(octets):
    with pytest.raises(MalformedMessageError):
        decode_fragment(bytes.fromhex(octets))


@given(st.binary(max_size=200), st.integers(1, 64))
def test_cut_and_put_together(flight, size):
    fragments = split(flight, size)
    assert all(len(f.data) <= size for f in fragments)
    whole = Reassembly()
    *before, last = [decode_fragment(f.encode()) for f in fragments]
    assert [whole.add(f) for f in before] == [None] * len(before)
    assert whole.add(last) == flight
    assert (fragments[0].total is None) == (len(fragments) == 1)


def test_reassembly_can_be_used_again():
    whole = Reassembly()
    for flight in (b"x" * 3000, b"", b"y" * 2000):
        assert [whole.add(f) for f in split(flight)][-1] == flight


@pytest.mark.parametrize(
    "fragments",
    [
        [TlsFragment(b"", has_more=True)],
        [TlsFragment(b"abc", total=2)],
        [TlsFragment(b"abc", total=4)],
        [TlsFragment(b"abc", total=6, has_more=True), TlsFragment(b"de")],
        [TlsFragment(b"abc", total=4, has_more=True), TlsFragment(b"de")],
        [TlsFragment(b"a", 4, has_more=True), TlsFragment(b"b", 5, has_more=True)],
        [TlsFragment(b"abc", total=MAX_FLIGHT_SIZE + 1, has_more=True)],
        [TlsFragment(b"x" * 40000, has_more=True)] * 2,
    ],
)
def test_what_cannot_be_put_together(fragments):
    whole = Reassembly()
    *before, last = fragments
    for fragment in before:
        whole.add(fragment)
    with pytest.raises(EapFailedError):
        whole.add(last)


def test_length_may_stand_on_every_fragment():
    whole = Reassembly()
    assert whole.add(TlsFragment(b"abc", 5, has_more=True)) is None
    assert whole.add(TlsFragment(b"de", 5)) == b"abcde"


def test_next_fragment_only_after_an_acknowledgement():
    outgoing = Outgoing()
    outgoing.load(b"x" * 2000)
    with pytest.raises(EapFailedError, match="not acknowledged"):
        outgoing.next(TlsFragment(b"y"))


# --- whole conversations ----------------------------------------------------------


@pytest.mark.parametrize("versions", [(True, True), (True, False), (False, True)])
def test_success(versions):
    """TLS 1.3, and TLS 1.2 where one end has no other."""
    talk = Conversation(
        tls_peer(is_13=versions[0]), tls_authenticator(is_13=versions[1])
    ).run()
    assert talk.peer.is_successful
    assert talk.authenticator.is_successful
    assert talk.authenticator.identity == b"alice@example"
    assert talk.peer.msk == talk.authenticator.msk
    assert len(talk.peer.msk) == 64
    assert all(len(m) <= 1040 for m in talk.messages)
    talk.peer.forget()
    talk.authenticator.forget()
    assert talk.peer.msk == talk.authenticator.msk == b""


@pytest.mark.parametrize(
    ("is_13", "label", "context"),
    [
        (True, b"EXPORTER_EAP_TLS_Key_Material", b"\x0d"),
        (False, b"client EAP encryption", None),
    ],
)
def test_msk_is_what_tls_exports(is_13, label, context):
    """The first half of 128 octets. RFC 9190 §2.3, RFC 5216 §2.3"""
    talk = Conversation(tls_peer(is_13=is_13), tls_authenticator()).run()
    connection = talk.peer._method._engine._connection
    assert connection.get_protocol_version_name() == ("TLSv1.3" if is_13 else "TLSv1.2")
    exported = connection.export_keying_material(label, 128, context)
    assert talk.peer.msk == exported[:64]


def test_keys_differ_each_time():
    both = [Conversation(tls_peer(), tls_authenticator()).run() for _ in range(2)]
    assert both[0].peer.msk != both[1].peer.msk


@pytest.mark.parametrize("name", [b"vpn.example", b"GW.example"])
def test_any_name_of_the_server_will_do(name):
    names = (b"other.example", name)
    assert Conversation(tls_peer(names=names), tls_authenticator()).run()


def test_server_of_any_name_where_none_is_configured():
    assert Conversation(tls_peer(names=()), tls_authenticator()).run()


def test_intermediate_certificates():
    """They come along, and make flights that need fragments."""
    between = issue("Between", AUTHORITY, is_ca=True)
    client = issue("c", between, [x509.RFC822Name("carol@example")])
    talk = Conversation(
        tls_peer(client, intermediates=[between[0]]), tls_authenticator()
    ).run()
    flags = [decode_packet(m).data[:1] for m in talk.messages]
    assert b"\xc0" in flags[1::2]
    assert talk.authenticator.identity == b"carol@example"
    with pytest.raises(EapFailedError):
        Conversation(tls_peer(client), tls_authenticator()).run()


def test_identity_is_the_certificates():
    """What the peer claims counts only where the certificate has it. RFC 9190 §2.2"""
    talk = Conversation(
        tls_peer(),
        tls_authenticator(),
        is_identity_asked=True,
        peer_identity=b"root@example",
    )
    assert talk.run().authenticator.identity == b"alice@example"


def test_other_name_of_the_certificate():
    talk = Conversation(tls_peer(), tls_authenticator(), claimed=b"alice.example")
    assert talk.run().authenticator.identity == b"alice.example"


@pytest.mark.parametrize("crls", [(), (CLIENT[0],)])
def test_revocation(crls):
    lists = [revocation_list(AUTHORITY, crls)]
    talk = Conversation(tls_peer(), tls_authenticator(crls=lists))
    if crls:
        with pytest.raises(EapFailedError):
            talk.run()
        assert "error 23" in talk.authenticator.failure  # X509_V_ERR_CERT_REVOKED
    else:
        assert talk.run().authenticator.is_successful


def expired(name, usage):
    start = NOW - timedelta(days=60)
    return issue(
        name, AUTHORITY, [x509.DNSName("gw.example")], start=start, usage=usage
    )


CLIENTS_REFUSED = {
    "another CA's": issue("x", OTHER_AUTHORITY, [x509.RFC822Name("alice@example")]),
    "expired": expired("x", ExtendedKeyUsageOID.CLIENT_AUTH),
    "not valid yet": issue("x", AUTHORITY, start=NOW + timedelta(days=1)),
    "a server's": issue("x", AUTHORITY, usage=ExtendedKeyUsageOID.SERVER_AUTH),
    "its own": issue("x"),
    "without a name": issue("", AUTHORITY, subject=x509.Name([])),
}


@pytest.mark.parametrize("own", CLIENTS_REFUSED.values(), ids=CLIENTS_REFUSED)
@pytest.mark.parametrize("is_13", [True, False])
def test_client_certificates_that_are_refused(own, is_13):
    talk = Conversation(tls_peer(own, is_13=is_13), tls_authenticator())
    with pytest.raises(EapFailedError):
        talk.run()
    assert talk.authenticator.is_over
    assert talk.authenticator.failure
    assert not talk.authenticator.is_successful
    assert talk.peer.msk == talk.authenticator.msk == talk.authenticator.identity == b""


SERVERS_REFUSED = {
    "another CA's": issue("x", OTHER_AUTHORITY, [x509.DNSName("gw.example")]),
    "expired": expired("x", ExtendedKeyUsageOID.SERVER_AUTH),
    "another name": issue("x", AUTHORITY, [x509.DNSName("other.example")]),
    "a common name only": issue("gw.example", AUTHORITY),
    "a client's": issue(
        "x",
        AUTHORITY,
        [x509.DNSName("gw.example")],
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
    ),
}


@pytest.mark.parametrize("own", SERVERS_REFUSED.values(), ids=SERVERS_REFUSED)
@pytest.mark.parametrize("is_13", [True, False])
def test_server_certificates_that_are_refused(own, is_13):
    talk = Conversation(tls_peer(), tls_authenticator(own, is_13=is_13))
    with pytest.raises(EapFailedError, match="certificate"):
        talk.run()
    assert "alert" in talk.authenticator.failure
    assert talk.peer.msk == b""


def test_alert_comes_before_failure():
    """RFC 9190 §2.1.4: and the peer says why."""
    talk = Conversation(tls_peer(issue("x")), tls_authenticator())
    with pytest.raises(EapFailedError, match="alert"):
        talk.run()
    alert, answer, end = talk.messages[-3:]
    assert len(alert) > 6
    assert decode_packet(answer).data == b"\0"
    assert decode_packet(end).code == EapCode.FAILURE


def test_client_without_a_certificate(monkeypatch):
    """RFC 9190 §2.1.1: it has to show one."""
    real = OpenSslEngine._context

    def bare(self, given, at):
        return SSL.Context(SSL.TLS_METHOD) if self._is_client else real(self, given, at)

    monkeypatch.setattr(OpenSslEngine, "_context", bare)
    talk = Conversation(tls_peer(), tls_authenticator())
    with pytest.raises(EapFailedError):
        talk.run()
    assert "certificate" in talk.authenticator.failure
    assert not talk.authenticator.is_successful


# --- the commitment -------------------------------------------------------------------


def test_no_success_without_the_commitment():
    """In TLS 1.3 the handshake alone proves nothing to the client. RFC 9190 §2.5"""
    talk = Conversation(tls_peer(), tls_authenticator())
    while decode_packet(talk.messages[-1]).code == EapCode.REQUEST:
        before = len(talk.messages)
        talk.step()
        if talk.peer._method._engine._is_shaken:
            break
    assert len(talk.messages) > before
    identifier = decode_packet(talk.messages[-2]).identifier
    with pytest.raises(EapFailedError, match="before the method is done"):
        talk.peer.receive(bytes([3, identifier, 0, 4]))
    assert talk.peer.msk == b""


def test_commitment_is_one_octet_of_zero(monkeypatch):
    monkeypatch.setattr("iketcp.eap.openssl.COMMITMENT", b"\1")
    talk = Conversation(tls_peer(), tls_authenticator())
    real = OpenSslEngine._go_on

    def go_on(self, connection):
        if self._is_client:
            monkeypatch.setattr("iketcp.eap.openssl.COMMITMENT", b"\0")
        try:
            real(self, connection)
        finally:
            monkeypatch.setattr("iketcp.eap.openssl.COMMITMENT", b"\1")

    monkeypatch.setattr(OpenSslEngine, "_go_on", go_on)
    with pytest.raises(EapFailedError, match="no commitment"):
        talk.run()


# --- the ends, one by one -------------------------------------------------------------


class Script:
    """An engine that says what it is told to."""

    def __init__(self, *flights, failure="", is_finished=False):
        self.flights = list(flights)
        self.failure = failure
        self.is_finished = is_finished
        self.names = ()
        self.msk = b"k" * 64
        self.heard = []

    def receive(self, flight):
        self.heard.append(flight)
        return self.flights.pop(0) if self.flights else b""

    def forget(self):
        self.msk = b""


START = TlsFragment(is_start=True).encode()


def test_peer_wants_start_first_and_once():
    with pytest.raises(EapFailedError, match="Start"):
        TlsPeer(Script()).respond(b"\0")
    peer = TlsPeer(Script(b"hello"))
    assert peer.respond(START) == b"\0hello"
    with pytest.raises(EapFailedError, match="Start"):
        peer.respond(START)


def test_peer_sends_and_takes_fragments():
    engine = Script(b"x" * 1500, b"answer")
    peer = TlsPeer(engine)
    assert decode_fragment(peer.respond(START)).has_more
    assert not peer.may_succeed
    assert decode_fragment(peer.respond(b"\0")) == TlsFragment(b"x" * 476)
    assert peer.respond(TlsFragment(b"ab", 3, has_more=True).encode()) == b"\0"
    assert peer.respond(TlsFragment(b"c").encode()) == b"\0answer"
    assert engine.heard == [b"", b"abc"]


@pytest.mark.parametrize("how", [{"is_finished": True}, {"failure": "broken"}])
def test_peer_does_not_go_on_after_the_end(how):
    peer = TlsPeer(Script(b"hello"))
    peer.respond(START)
    peer._engine = Script(**how)
    with pytest.raises(EapFailedError, match="after its end"):
        peer.respond(b"\0")
    peer.forget()


def test_authenticator_takes_no_start():
    method = TlsAuthenticator(Script(), b"")
    assert method.begin(1) == START
    with pytest.raises(EapFailedError, match="Start of a peer"):
        method.receive(START, 2)


def test_authenticator_takes_fragments():
    engine = Script(b"answer")
    method = TlsAuthenticator(engine, b"")
    assert method.receive(TlsFragment(b"ab", 3, has_more=True).encode(), 1) == b"\0"
    assert method.receive(TlsFragment(b"c").encode(), 2) == b"\0answer"
    assert engine.heard == [b"abc"]


def test_authenticator_that_has_nothing_to_say():
    method = TlsAuthenticator(Script(), b"")
    with pytest.raises(EapFailedError, match="stops before its end"):
        method.receive(b"\0hello", 1)


def test_authenticator_wants_nothing_after_the_end():
    method = TlsAuthenticator(Script(is_finished=True), b"")
    with pytest.raises(EapFailedError, match="after its end"):
        method.receive(b"\0more", 1)
    assert method.receive(b"\0", 1) is None
    assert method.identity == b""
    assert "no name" in method.failure


def test_large_flights_reach_openssl_whole():
    """They are written in pieces that a memory BIO takes."""
    engine = OpenSslEngine(credentials(SERVER), False, NOW)
    assert engine.receive(b"\x16\x03\x01\x40\x00" + bytes(60000))
    assert engine.failure


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_octets_to_openssl(octets, is_client):
    own = CLIENT if is_client else SERVER
    engine = OpenSslEngine(credentials(own), is_client, NOW)
    engine.receive(octets)
    engine.receive(octets)
    assert not engine.is_finished
    assert engine.msk == b""
    engine.forget()
    assert engine.receive(b"") == b""


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 8), st.integers(0, 2000), st.integers(1, 255))
def test_a_changed_octet_never_makes_two_keys(which, where, change):
    """Both succeed with one key, or the change was noticed."""
    talk = Conversation(tls_peer(), tls_authenticator())
    for number in range(60):
        try:
            if number == which:
                changed = bytearray(talk.messages[-1])
                changed[where % len(changed)] ^= change
                talk.messages[-1] = bytes(changed)
            if not talk.step():
                break
        except EapFailedError:
            return
    if talk.peer.is_successful:
        assert talk.peer.msk == talk.authenticator.msk


# --- names --------------------------------------------------------------------------


def test_names_of_a_certificate():
    assert list(names_of(CLIENT[0])) == [b"alice@example", b"alice.example"]
    assert list(names_of(issue("just a name")[0])) == [b"just a name"]
    assert list(names_of(issue("", subject=x509.Name([]))[0])) == []
