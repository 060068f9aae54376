"""EAP-MSCHAPv2: the RFCs' values, both ends, and what they refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eap_parts import (
    USERS,
    Conversation,
    password_authenticator,
    password_peer,
    setting,
)
from iketcp.eap import mschapv2_values as values
from iketcp.eap.mschapv2 import MschapV2Authenticator, MschapV2Peer
from iketcp.eap.mschapv2_packets import (
    Challenge,
    OpCode,
    Response,
    Verdict,
    decode_request,
    decode_response,
)
from iketcp.environment import ScriptedEntropy
from iketcp.errors import EapFailedError, MalformedMessageError

# RFC 2759 §9.2
NAME = b"User"
THEIRS = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
OURS = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
PASSWORD_HASH = bytes.fromhex("44EBBA8D5312B8D611474411F56989AE")
PROOF = bytes.fromhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")


# --- values -----------------------------------------------------------------------


def test_published_hashes():
    """RFC 2759 §9.2."""
    assert values.nt_password_hash("clientPass") == PASSWORD_HASH
    assert values.hash_nt_password_hash(PASSWORD_HASH) == bytes.fromhex(
        "41C00C584BD2D91C4017A2A12FA59F3F"
    )
    assert values.challenge_hash(OURS, THEIRS, NAME) == bytes.fromhex(
        "D02E4386BCE91226"
    )


def test_published_responses():
    """RFC 2759 §9.2."""
    assert values.nt_response(THEIRS, OURS, NAME, PASSWORD_HASH) == PROOF
    assert (
        values.authenticator_response(PASSWORD_HASH, PROOF, OURS, THEIRS, NAME)
        == b"S=407A5589115FD0D6209F510FE9C04566932CDA56"
    )


def test_published_des_keys():
    """RFC 2759 §9.3."""
    raw = bytes.fromhex("FC156AF7EDCD6C"), bytes.fromhex("0EDDE3337D427F")
    assert [values.des_key(each).hex().upper() for each in raw] == [
        "FD0B5B5E7F6E34D9",
        "0E6E796737EA08FE",
    ]


def test_published_keys():
    """RFC 3079 §3.5.3: what the example calls send is what the server sends with."""
    master = values.master_key(PASSWORD_HASH, PROOF)
    assert master.hex() == "fdece3717a8c838cb388e527ae3cdd31"
    key = values.start_key(master, is_client_sending=False)
    assert key.hex() == "8b7cdc149b993a1ba118cb153f56dccb"
    msk = values.master_session_key(PASSWORD_HASH, PROOF)
    assert msk[16:32] == key
    assert msk[:16] == values.start_key(master, is_client_sending=True)
    assert (len(msk), msk[32:]) == (64, bytes(32))


def test_domain_is_not_hashed():
    """RFC 2759 §8.2."""
    for name in (b"BIGCO\\User", b"a\\b\\User"):
        assert values.nt_response(THEIRS, OURS, name, PASSWORD_HASH) == PROOF
    assert values.user_of(b"User") == NAME


def test_password_of_other_letters():
    """UTF-16 units of two octets, surrogates included."""
    assert values.nt_password_hash("pässwörd\U0001f511") != values.nt_password_hash("p")
    values.nt_password_hash("\udc80")  # what Python makes of an octet that is not UTF-8


# --- packets ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (
            "01 2a 0019 10" + "11" * 16 + "67772e65",
            Challenge(42, b"\x11" * 16, b"gw.e"),
        ),
        ("03 2a 0006 533d", Verdict(OpCode.SUCCESS, 42, b"S=")),
        ("04 2a 0004", Verdict(OpCode.FAILURE, 42, b"")),
    ],
)
def test_requests(octets, message):
    octets = bytes.fromhex(octets)
    assert decode_request(octets) == message
    assert message.encode() == octets


def test_response():
    message = Response(1, b"\x22" * 16, b"\x33" * 24, b"bob")
    octets = bytes.fromhex(
        "02 01 0039 31" + "22" * 16 + "00" * 8 + "33" * 24 + "00" + "626f62"
    )
    assert message.encode() == octets
    assert decode_response(octets) == message
    assert "3333" not in repr(message)


@pytest.mark.parametrize("code", [OpCode.SUCCESS, OpCode.FAILURE])
def test_acknowledgements(code):
    assert decode_response(bytes([code])) is code


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "01",
        "01 00 0005",  # MS-Length too much
        "01 00 0003 00",  # and too little
        "01 00 0014 0f" + "11" * 15,  # Value-Size
        "01 00 0014 10" + "11" * 15,
        "02 00 0004",  # a Response
        "07 00 0004",  # Change-Password is not for us
    ],
)
def test_what_is_no_request(octets):
    with pytest.raises(MalformedMessageError):
        decode_request(bytes.fromhex(octets))


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "01",
        "05",
        "03 00",  # Success Response has nothing but its code
        "02 00 0036 30" + "00" * 49,  # Value-Size
        "02 00 0034 31" + "00" * 47,  # too short
        "01 00 0015 10" + "11" * 16,  # a Challenge
        "02 00 0137 31" + "00" * 49 + "61" * 257,  # a long name
    ],
)
def test_what_is_no_response(octets):
    with pytest.raises(MalformedMessageError):
        decode_response(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("message", "proof"),
    [
        (b"S=" + b"0a" * 20, b"S=" + b"0A" * 20),
        (b"S=" + b"0A" * 20 + b" M=hello S=no\n", b"S=" + b"0A" * 20),
        (b"S=" + b"0A" * 19, b""),
        (b" S=" + b"0A" * 20, b""),
        (b"S=" + b"0A" * 20 + b"x", b""),
        (b"", b""),
    ],
)
def test_proof_of_success(message, proof):
    assert Verdict(OpCode.SUCCESS, 0, message).proof == proof


@pytest.mark.parametrize(
    ("message", "error"),
    [(b"E=691 R=0 C=00 V=3 M=x", 691), (b"E=648", 648), (b"M=x", 0), (b"E=", 0)],
)
def test_error_of_failure(message, error):
    assert Verdict(OpCode.FAILURE, 0, message).error == error


@given(st.binary(max_size=80))
def test_any_octets(octets):
    for decode in (decode_request, decode_response):
        try:
            message = decode(octets)
        except MalformedMessageError:
            continue
        if not isinstance(message, OpCode) and not isinstance(message, Response):
            assert message.encode() == octets


# --- whole conversations ------------------------------------------------------------


def test_success():
    talk = Conversation(password_peer(), password_authenticator()).run()
    assert talk.peer.is_successful
    assert talk.authenticator.is_successful
    assert talk.authenticator.identity == b"alice@example"
    assert talk.peer.msk == talk.authenticator.msk
    assert len(talk.peer.msk) == 64
    assert any(talk.peer.msk)
    talk.peer.forget()
    talk.authenticator.forget()
    assert talk.peer.msk == talk.authenticator.msk == b""


@pytest.mark.parametrize("name", [b"bob", b"BIGCO\\bob"])
def test_a_domain_may_stand_before_the_name(name):
    """The list of users says who it is. RFC 2759 §8.2"""
    talk = Conversation(password_peer("clientPass", name), password_authenticator())
    assert talk.run().authenticator.identity == b"bob"


@pytest.mark.parametrize(
    ("password", "name"),
    [
        ("wrong", b"alice@example"),
        ("correct horse", b"mallory"),
        ("correct horse", b""),
        ("correct horse", b"alice@example "),
    ],
)
def test_wrong_password_and_unknown_user(password, name):
    """Both sound the same to the peer."""
    talk = Conversation(password_peer(password, name), password_authenticator())
    with pytest.raises(EapFailedError, match=r"refused \(error 691\)"):
        talk.run()
    assert not talk.peer.is_successful
    assert talk.authenticator.is_over
    assert not talk.authenticator.is_successful
    assert talk.authenticator.failure == "unknown user or wrong password"
    assert talk.peer.msk == talk.authenticator.msk == talk.authenticator.identity == b""


def test_user_without_password_hash_of_zeros_is_unknown():
    """The stand-in for a user that is not there lets nobody in."""
    peer = {26: lambda s: MschapV2Peer(b"nobody", bytes(16), s.entropy)}
    with pytest.raises(EapFailedError):
        Conversation(peer, password_authenticator()).run()


def test_authenticator_that_does_not_know_the_password():
    """It may let us in with any password, but it cannot prove anything."""

    class Impostor(MschapV2Authenticator):
        def _judge(self, response):
            self._expected = OpCode.SUCCESS
            return Verdict(OpCode.SUCCESS, 0, b"S=" + b"00" * 20).encode()

    impostor = {26: lambda s: Impostor(USERS, b"gw", s)}
    talk = Conversation(password_peer(), impostor)
    with pytest.raises(EapFailedError, match="does not know our password"):
        talk.run()


# --- the ends, one by one -------------------------------------------------------------


def peer():
    return MschapV2Peer(NAME, PASSWORD_HASH, ScriptedEntropy("p"))


def test_peer_wants_the_challenge_first_and_once():
    good = Challenge(1, THEIRS, b"gw").encode()
    with pytest.raises(EapFailedError, match="before the response"):
        peer().respond(Verdict(OpCode.SUCCESS, 1, b"").encode())
    twice = peer()
    twice.respond(good)
    with pytest.raises(EapFailedError, match="second"):
        twice.respond(good)


def test_peer_does_not_go_on_after_the_end():
    ours = peer()
    ours.respond(Challenge(1, THEIRS, b"gw").encode())
    refusal = Verdict(OpCode.FAILURE, 1, b"E=691 R=1").encode()
    assert ours.respond(refusal) == b"\x04"
    assert not ours.may_succeed
    assert ours.failure
    assert ours.msk == b""
    with pytest.raises(EapFailedError, match="after its end"):
        ours.respond(refusal)


def authenticator():
    method = MschapV2Authenticator({NAME: PASSWORD_HASH}, b"gw", setting())
    challenge = decode_request(method.begin(7))
    assert isinstance(challenge, Challenge)
    return method, challenge


def proved(challenge, mschapv2_id=7):
    proof = values.nt_response(challenge.challenge, OURS, NAME, PASSWORD_HASH)
    return Response(mschapv2_id, OURS, proof, NAME).encode()


def test_authenticator_wants_its_own_id():
    method, challenge = authenticator()
    with pytest.raises(EapFailedError, match="another challenge"):
        method.receive(proved(challenge, 8), 8)


def test_authenticator_wants_one_response():
    method, challenge = authenticator()
    method.receive(proved(challenge), 8)
    with pytest.raises(EapFailedError, match="second"):
        method.receive(proved(challenge), 9)
    assert method.identity == method.msk == b""


@pytest.mark.parametrize("code", [OpCode.SUCCESS, OpCode.FAILURE])
def test_authenticator_wants_a_response_before_an_acknowledgement(code):
    method, _ = authenticator()
    with pytest.raises(EapFailedError, match="not acknowledged"):
        method.receive(bytes([code]), 8)


def test_peer_that_acknowledges_the_other_verdict():
    method, challenge = authenticator()
    method.receive(proved(challenge), 8)
    with pytest.raises(EapFailedError, match="not acknowledged"):
        method.receive(bytes([OpCode.FAILURE]), 9)
    assert method.identity == b""
