"""Runs ``eap_test.json`` against our EAP.

Source: RFC 3748 §4, RFC 2759 §8, RFC 5216 §2.1.5
"""

from iketcp.eap import mschapv2_packets, mschapv2_values
from iketcp.eap.authenticator import EapAuthenticator
from iketcp.eap.method import (
    EapAuthenticatorPolicy,
    EapSetting,
    MakeAuthenticatorMethod,
)
from iketcp.eap.mschapv2 import MschapV2Authenticator, MschapV2Peer
from iketcp.eap.mschapv2_packets import Challenge, Response, Verdict
from iketcp.eap.packets import EapCode, EapType, decode_packet
from iketcp.eap.peer import EapPeer
from iketcp.eap.tls import TlsAuthenticator, TlsEngine
from iketcp.eap.tls_fragments import Reassembly, decode_fragment
from iketcp.environment import ScriptedEntropy
from iketcp.errors import EapFailedError, MalformedMessageError
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, error_name, unhex


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, *CHECKED):
        found += CHECKED[group["type"]](test)
    return found


def check_packet(test: Json) -> list[str]:
    """Read a packet, and write it again."""
    (octets,) = unhex(test, "octets")
    try:
        packet = decode_packet(octets)
    except MalformedMessageError as error:
        return compare(test, "error", error_name(error))
    has_type = packet.code in (EapCode.REQUEST, EapCode.RESPONSE)
    return (
        compare(test, "error", None)
        + compare(test, "code", packet.code)
        + compare(test, "identifier", packet.identifier)
        + compare(test, "type", packet.type if has_type else None)
        + compare(test, "data", packet.data.hex())
        + compare(test, "octets", packet.encode().hex())
    )


def check_values(test: Json) -> list[str]:
    """Compute everything from password and challenges."""
    password, name, theirs, ours = unhex(
        test, "password", "name", "authenticatorChallenge", "peerChallenge"
    )
    secret = mschapv2_values.nt_password_hash(password.decode())
    response = mschapv2_values.nt_response(theirs, ours, name, secret)
    proof = mschapv2_values.authenticator_response(secret, response, ours, theirs, name)
    challenge = mschapv2_values.challenge_hash(ours, theirs, name)
    return (
        compare(test, "passwordHash", secret.hex())
        + compare(test, "challenge", challenge.hex())
        + compare(test, "ntResponse", response.hex())
        + compare(test, "authenticatorResponse", proof.decode())
        + compare(test, "masterKey", mschapv2_values.master_key(secret, response).hex())
        + compare(
            test, "msk", mschapv2_values.master_session_key(secret, response).hex()
        )
    )


def check_message(test: Json) -> list[str]:
    """Read a message of EAP-MSCHAPv2."""
    (data,) = unhex(test, "typeData")
    got: dict[str, object] = dict.fromkeys(("opCode", "mschapv2Id", "error"))
    got |= dict.fromkeys(("challenge", "ntResponse", "name", "message"), "")
    try:
        if test["isRequest"]:
            got |= request_fields(mschapv2_packets.decode_request(data))
        else:
            got |= response_fields(mschapv2_packets.decode_response(data))
    except MalformedMessageError as error:
        got["error"] = error_name(error)
    return [line for name, value in got.items() for line in compare(test, name, value)]


def request_fields(message: Challenge | Verdict) -> Json:
    """Name the fields of a Request as the file does."""
    if isinstance(message, Verdict):
        return {
            "opCode": message.op_code,
            "mschapv2Id": message.mschapv2_id,
            "message": message.message.hex(),
        }
    return {
        "opCode": 1,
        "mschapv2Id": message.mschapv2_id,
        "challenge": message.challenge.hex(),
        "name": message.name.hex(),
    }


def response_fields(message: Response | mschapv2_packets.OpCode) -> Json:
    """Name the fields of a Response as the file does."""
    if not isinstance(message, Response):
        return {"opCode": message}
    return {
        "opCode": 2,
        "mschapv2Id": message.mschapv2_id,
        "challenge": message.peer_challenge.hex(),
        "ntResponse": message.nt_response.hex(),
        "name": message.name.hex(),
    }


def check_fragments(test: Json) -> list[str]:
    """Put fragments together."""
    whole = Reassembly()
    flight: bytes | None = None
    try:
        for octets in test["fragments"]:
            flight = whole.add(decode_fragment(bytes.fromhex(octets)))
    except (EapFailedError, MalformedMessageError) as error:
        return compare(test, "error", error_name(error))
    got = None if flight is None else flight.hex()
    return compare(test, "error", None) + compare(test, "flight", got)


class _Silent(TlsEngine):
    """TLS that nobody gets as far as using."""

    is_finished = False
    failure = ""
    names = ()
    msk = b""

    def receive(self, flight: bytes) -> bytes:
        """Say nothing."""
        return b""

    def forget(self) -> None:
        """Nothing to drop."""


def check_conversation(test: Json) -> list[str]:
    """Let both our ends talk, each with its own draws."""
    peer, authenticator = peer_of(test), authenticator_of(test)
    said = [authenticator.begin()]
    error = None
    while True:
        try:
            answer = peer.receive(said[-1])
        except EapFailedError:
            error = "EapFailed"
            break
        if answer is None:
            break
        said += [answer, authenticator.receive(answer)]
    return (
        compare(test, "messages", [message.hex() for message in said])
        + compare(test, "error", error)
        + compare(test, "identity", authenticator.identity.hex())
        + compare(test, "msk", authenticator.msk.hex())
        + compare(test, "msk", peer.msk.hex())
    )


def setting_of(test: Json, side: str) -> EapSetting:
    """Take the draws of one side."""
    draws = {
        label.removeprefix(f"{side}."): bytes.fromhex(value)
        for label, value in test["entropy"].items()
        if label.startswith(f"{side}.")
    }
    (name,) = unhex(test, "name")
    return EapSetting(name, False, ScriptedEntropy("none", draws))


def peer_of(test: Json) -> EapPeer:
    """Make the end that knows a password."""
    name, password = unhex(test, "name", "password")
    secret = mschapv2_values.nt_password_hash(password.decode())
    return EapPeer(
        setting_of(test, "peer"),
        {EapType.MSCHAPV2: lambda s: MschapV2Peer(name, secret, s.entropy)},
    )


def authenticator_of(test: Json) -> EapAuthenticator:
    """Make the end that knows the users."""
    (server,) = unhex(test, "serverName")
    users = dict(unhex(user, "name", "passwordHash") for user in test["users"])
    methods: dict[int, MakeAuthenticatorMethod] = {}
    if test["isTlsFirst"]:
        methods[EapType.TLS] = lambda s: TlsAuthenticator(_Silent(), b"")
    methods[EapType.MSCHAPV2] = lambda s: MschapV2Authenticator(users, server, s)
    setting = setting_of(test, "authenticator")
    policy = EapAuthenticatorPolicy(methods, test["isIdentityAsked"])
    return EapAuthenticator(setting, policy)


CHECKED = {
    "EapPacket": check_packet,
    "MschapV2": check_values,
    "MschapV2Message": check_message,
    "EapTlsFragments": check_fragments,
    "EapConversation": check_conversation,
}
"""What checks a test, by the type of its group."""
