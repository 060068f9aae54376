"""EAP itself: Identity, Notification, Nak, order, repetition, limits. RFC 3748."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eap_parts import (
    Conversation,
    failure,
    password_authenticator,
    password_peer,
    setting,
    tls_authenticator,
)
from iketcp.eap import authenticator as authenticator_module
from iketcp.eap import peer as peer_module
from iketcp.eap.authenticator import EapAuthenticator
from iketcp.eap.method import EapAuthenticatorPolicy
from iketcp.eap.packets import EapCode, EapPacket, EapType, decode_packet
from iketcp.eap.peer import EapPeer
from iketcp.errors import EapFailedError, EapRefusedError

SUCCESS, FAILURE = EapCode.SUCCESS, EapCode.FAILURE


def request(identifier, kind, data=b""):
    return EapPacket(EapCode.REQUEST, identifier, kind, data).encode()


def response(identifier, kind, data=b""):
    return EapPacket(EapCode.RESPONSE, identifier, kind, data).encode()


def our_peer(**how):
    return EapPeer(setting(**how), password_peer())


def our_authenticator(methods=None, is_identity_asked=False):
    policy = EapAuthenticatorPolicy(
        methods or password_authenticator(), is_identity_asked
    )
    made = EapAuthenticator(setting(), policy)
    return made, decode_packet(made.begin())


# --- peer ---------------------------------------------------------------------------


def test_peer_says_who_it_is():
    answer = our_peer().receive(request(9, EapType.IDENTITY, b"who?"))
    assert answer == response(9, EapType.IDENTITY, b"alice@example")


def test_peer_acknowledges_notifications():
    """At any time; they change nothing. RFC 3748 §5.2"""
    talk = Conversation(password_peer(), password_authenticator())
    note = request(77, EapType.NOTIFICATION, b"hello")
    assert talk.peer.receive(note) == response(77, EapType.NOTIFICATION)
    talk.step()
    assert talk.peer.receive(note) == response(77, EapType.NOTIFICATION)
    assert talk.run().peer.is_successful


@pytest.mark.parametrize("kind", [4, EapType.TLS, 21, EapType.EXPANDED, 255])
def test_peer_says_which_method_it_takes(kind):
    """RFC 3748 §5.3.1; expanded types are not spoken, so a legacy Nak fits them."""
    answer = our_peer().receive(request(1, kind))
    assert answer == response(1, EapType.NAK, bytes([EapType.MSCHAPV2]))


def test_peer_without_any_method():
    """Where EAP is all there is, a password will not do. RFC 5998 §4"""
    answer = our_peer(is_eap_only=True).receive(request(1, EapType.MSCHAPV2))
    assert answer == response(1, EapType.NAK, b"\0")


@pytest.mark.parametrize("kind", [0, EapType.NAK])
def test_types_that_nobody_may_ask_for(kind):
    with pytest.raises(EapFailedError, match="type"):
        our_peer().receive(request(1, kind))


def test_repeated_request_gets_the_same_answer():
    """And is not worked on again. RFC 3748 §4.1"""
    talk = Conversation(password_peer(), password_authenticator())
    first = talk.peer.receive(talk.messages[0])
    assert talk.peer.receive(talk.messages[0]) == first
    assert talk.authenticator.receive(first) != failure(0)


def test_another_request_of_the_same_identifier():
    peer = our_peer()
    peer.receive(request(1, EapType.IDENTITY))
    with pytest.raises(EapFailedError, match="same Identifier"):
        peer.receive(request(1, EapType.NOTIFICATION, b"x"))


@pytest.mark.parametrize("kind", [EapType.IDENTITY, EapType.TLS, 4])
def test_only_one_method(kind):
    """RFC 3748 §2.1."""
    talk = Conversation(password_peer(), password_authenticator())
    talk.step()
    with pytest.raises(EapFailedError, match="amid another method"):
        talk.peer.receive(request(200, kind))


def test_success_before_anything():
    """A canned Success. RFC 3748 §4.2"""
    peer = our_peer()
    with pytest.raises(EapFailedError, match="before the method is done"):
        peer.receive(EapPacket(SUCCESS, 0).encode())
    assert not peer.is_successful
    assert peer.msk == b""


def test_success_amid_the_method():
    talk = Conversation(password_peer(), password_authenticator())
    talk.step()
    identifier = decode_packet(talk.messages[-2]).identifier
    with pytest.raises(EapFailedError, match="before the method is done"):
        talk.peer.receive(EapPacket(SUCCESS, identifier).encode())
    assert talk.peer.msk == b""


def test_success_with_another_identifier():
    talk = Conversation(password_peer(), password_authenticator())
    talk.step()
    talk.step()
    identifier = decode_packet(talk.messages[-1]).identifier
    with pytest.raises(EapFailedError, match="another Identifier"):
        talk.peer.receive(EapPacket(SUCCESS, identifier ^ 1).encode())
    assert not talk.peer.is_successful


def test_request_after_success():
    talk = Conversation(password_peer(), password_authenticator()).run()
    with pytest.raises(EapFailedError, match="after Success"):
        talk.peer.receive(request(1, EapType.IDENTITY))


def test_failure_at_once():
    with pytest.raises(EapRefusedError, match="answers EAP Failure"):
        our_peer().receive(failure(3))


def test_failure_amid_the_method():
    talk = Conversation(password_peer(), password_authenticator())
    talk.step()
    with pytest.raises(EapFailedError, match="answers EAP Failure"):
        talk.peer.receive(failure(3))


def test_peer_does_not_take_responses():
    with pytest.raises(EapFailedError):
        our_peer().receive(response(1, EapType.IDENTITY))


def test_peer_does_not_answer_for_ever():
    peer = our_peer()
    for number in range(peer_module.MAX_REQUESTS):
        assert peer.receive(request(number, EapType.NOTIFICATION, b"x"))
    with pytest.raises(EapFailedError, match="more than"):
        peer.receive(request(255, EapType.NOTIFICATION, b"x"))


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_peer_takes_any_octets(messages):
    peer = our_peer()
    for message in messages:
        with contextlib.suppress(EapFailedError):
            peer.receive(message)
        assert not peer.is_successful
    peer.forget()


@given(st.integers(0, 5), st.integers(0, 70), st.integers(1, 255))
def test_peer_is_not_fooled_by_a_changed_octet(which, where, change):
    talk = Conversation(password_peer(), password_authenticator()).run()
    again = our_peer()
    requests = talk.messages[::2]
    for number, message in enumerate(requests):
        changed = bytearray(message)
        if number == which and where < len(changed):
            changed[where] ^= change
        try:
            again.receive(bytes(changed))
        except EapFailedError:
            return
    # else nothing that matters was changed: a name, an identifier or a text
    assert again.is_successful
    assert again.msk == talk.peer.msk


# --- authenticator --------------------------------------------------------------------


def test_authenticator_asks_for_no_identity():
    """IDi said it. RFC 7296 §3.16"""
    _, first = our_authenticator()
    assert first.type == EapType.MSCHAPV2


def test_authenticator_asks_for_an_identity_where_it_shall():
    talk = Conversation(
        password_peer(), password_authenticator(), is_identity_asked=True
    )
    assert decode_packet(talk.messages[0]).type == EapType.IDENTITY
    talk.run()
    kinds = [decode_packet(m).type for m in talk.messages]
    assert kinds == [1, 1, 26, 26, 26, 26, 0]
    assert talk.authenticator.identity == b"alice@example"


def test_identifiers_differ():
    talk = Conversation(password_peer(), password_authenticator()).run()
    identifiers = [decode_packet(m).identifier for m in talk.messages]
    assert identifiers[::2][0] != identifiers[::2][1]
    assert identifiers[1::2] == identifiers[0:-1:2]
    assert identifiers[-1] == identifiers[-2]


def ended(authenticator, message):
    """Whether Failure is the answer, and the end."""
    answer = decode_packet(authenticator.receive(message))
    assert answer.code == FAILURE
    assert authenticator.is_over
    assert not authenticator.is_successful
    assert authenticator.failure
    assert authenticator.msk == authenticator.identity == b""
    return authenticator.failure


def test_identity_must_be_one():
    made, first = our_authenticator(is_identity_asked=True)
    assert "type" in ended(made, response(first.identifier, EapType.NOTIFICATION))


def test_identity_may_not_be_endless():
    made, first = our_authenticator(is_identity_asked=True)
    long = response(first.identifier, EapType.IDENTITY, b"x" * 1021)
    assert "too long" in ended(made, long)


def test_nak_picks_another_method():
    methods = {**tls_authenticator(), **password_authenticator()}
    talk = Conversation(password_peer(), methods).run()
    kinds = [decode_packet(m).type for m in talk.messages]
    assert kinds == [13, 3, 26, 26, 26, 26, 0]
    assert talk.authenticator.is_successful


def test_nak_skips_what_the_peer_does_not_take():
    """Of three methods the last one. RFC 3748 §5.3.1"""
    methods = {**tls_authenticator(), 21: None, **password_authenticator()}
    assert Conversation(password_peer(), methods).run().peer.is_successful


@pytest.mark.parametrize("wanted", [b"\0", b"", bytes([13, 21]), bytes([26])])
def test_nak_with_nothing_for_us(wanted):
    """The method refused is not offered again."""
    made, first = our_authenticator()
    nak = response(first.identifier, EapType.NAK, wanted)
    assert "none of our EAP methods" in ended(made, nak)


def test_nak_after_the_method_was_agreed():
    """RFC 3748 §4.1."""
    talk = Conversation(
        password_peer(), {**password_authenticator(), **tls_authenticator()}
    )
    talk.step()
    identifier = decode_packet(talk.messages[-1]).identifier
    ended(talk.authenticator, response(identifier, EapType.NAK, bytes([13])))


def test_response_of_another_type():
    made, first = our_authenticator()
    ended(made, response(first.identifier, EapType.TLS, b"\0"))


def test_response_with_another_identifier():
    made, first = our_authenticator()
    wrong = response(first.identifier ^ 1, EapType.MSCHAPV2, b"\0")
    assert "another Identifier" in ended(made, wrong)


def test_replayed_response():
    talk = Conversation(password_peer(), password_authenticator())
    talk.step()
    assert "another Identifier" in ended(talk.authenticator, talk.messages[1])


def test_authenticator_takes_no_requests():
    made, first = our_authenticator()
    assert "no Response" in ended(made, request(first.identifier, EapType.IDENTITY))


def test_only_those_who_may():
    """A right password is not enough. RFC 7296 §2.16"""
    for name in (b"alice@example", b"bob"):
        talk = Conversation(
            password_peer(),
            password_authenticator(),
            identities=frozenset({name}),
        )
        with contextlib.suppress(EapRefusedError):
            talk.run()
        assert talk.authenticator.is_successful == (name == b"alice@example")
        assert talk.peer.is_successful == talk.authenticator.is_successful
    assert "may not come in" in talk.authenticator.failure


def test_nothing_comes_after_the_end():
    talk = Conversation(password_peer(), password_authenticator()).run()
    assert talk.authenticator.is_successful
    assert "after the end" in ended(talk.authenticator, talk.messages[-2])


def test_authenticator_does_not_ask_for_ever(monkeypatch):
    monkeypatch.setattr(authenticator_module, "MAX_REQUESTS", 1)
    talk = Conversation(password_peer(), password_authenticator())
    with pytest.raises(EapFailedError):
        talk.run()
    assert "more than" in talk.authenticator.failure


def test_authenticator_where_eap_is_all_there_is():
    """It begins with what is safe alone. RFC 5998 §4"""
    methods = {**password_authenticator(), **tls_authenticator()}
    made = EapAuthenticator(setting(is_eap_only=True), EapAuthenticatorPolicy(methods))
    assert decode_packet(made.begin()).type == EapType.TLS


@given(st.lists(st.binary(max_size=60), max_size=4), st.booleans())
def test_authenticator_takes_any_octets(messages, is_asked):
    made, first = our_authenticator(is_identity_asked=is_asked)
    for message in messages:
        made.receive(message)
        made.receive(bytes([2, first.identifier]) + message)
        assert not made.is_successful
    made.forget()


def test_forgetting_before_a_method():
    made, _ = our_authenticator(is_identity_asked=True)
    made.forget()
    assert made.msk == made.identity == b""
    assert our_peer().msk == b""
