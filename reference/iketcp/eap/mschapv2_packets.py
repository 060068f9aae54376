"""Type-Data of EAP-MSCHAPv2.

========================  ======  ==================================================
message                   OpCode  what follows
========================  ======  ==================================================
Challenge                 1       ID, MS-Length, 16, challenge, the server's name
Response                  2       ID, MS-Length, 49, peer challenge (16 octets), 8
                                  zeros, NT-Response (24), Flags, the user's name
Success Request           3       ID, MS-Length, ``S=`` and 40 digits, `` M=`` and text
Success Response          3       nothing
Failure Request           4       ID, MS-Length, ``E=`` and what went wrong
Failure Response          4       nothing
========================  ======  ==================================================

The fields are those of MS-CHAPv2 in PPP. OpCode and MS-Length, and which messages have
a header, come from draft-kamath-pppext-eap-mschapv2, which never became an RFC.

Source: RFC 2759 §3
Source: RFC 2759 §4
Source: RFC 2759 §5
Source: RFC 2759 §6
"""

import re
from dataclasses import dataclass, field
from enum import IntEnum

from iketcp.eap.mschapv2_values import CHALLENGE_SIZE, NT_RESPONSE_SIZE
from iketcp.errors import MalformedMessageError
from iketcp.octets import Reader, Writer

MAX_NAME_SIZE = 256
"""Octets of a user's name that we take. Source: RFC 2759 §4."""

_RESERVED_SIZE = 8
_RESPONSE_SIZE = CHALLENGE_SIZE + _RESERVED_SIZE + NT_RESPONSE_SIZE + 1
_PROOF = re.compile(rb"(S=[0-9A-Fa-f]{40})(?: M=.*)?", re.DOTALL)
_ERROR = re.compile(rb"E=(\d{1,10})(?: .*)?", re.DOTALL)


class OpCode(IntEnum):
    """What a message is. Source: RFC 2759 §3 to §7 (there it is called Code)."""

    CHALLENGE = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


AUTHENTICATION_FAILURE = 691
"""In a Failure: the name or the password is wrong. Source: RFC 2759 §6."""

ACKNOWLEDGEMENTS = (bytes([OpCode.SUCCESS]), bytes([OpCode.FAILURE]))
"""Success Response and Failure Response."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the authenticator begins with. Source: RFC 2759 §3."""

    mschapv2_id: int
    """8 bits; the Response has the same."""
    challenge: bytes
    """16 octets."""
    name: bytes
    """The server's."""

    def encode(self) -> bytes:
        """Write it as Type-Data."""
        value = bytes([CHALLENGE_SIZE]) + self.challenge + self.name
        return _encode(OpCode.CHALLENGE, self.mschapv2_id, value)


@dataclass(frozen=True, slots=True)
class Response:
    """The peer's proof. Source: RFC 2759 §4."""

    mschapv2_id: int
    """8 bits, as in the Challenge."""
    peer_challenge: bytes
    """16 octets."""
    nt_response: bytes = field(repr=False)
    """24 octets."""
    name: bytes
    """The user's, with a domain before it where the user has one."""

    def encode(self) -> bytes:
        """Write it as Type-Data."""
        value = (
            bytes([_RESPONSE_SIZE])
            + self.peer_challenge
            + bytes(_RESERVED_SIZE)
            + self.nt_response
            + bytes(1)
            + self.name
        )
        return _encode(OpCode.RESPONSE, self.mschapv2_id, value)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Success Request or Failure Request. Source: RFC 2759 §5, RFC 2759 §6."""

    op_code: OpCode
    mschapv2_id: int
    message: bytes
    """Printable ASCII, as a rule."""

    def encode(self) -> bytes:
        """Write it as Type-Data."""
        return _encode(self.op_code, self.mschapv2_id, self.message)

    @property
    def proof(self) -> bytes:
        """``S=`` and 40 digits, in capitals; empty if the message is not of this form.

        Source: RFC 2759 §5
        """
        match = _PROOF.fullmatch(self.message)
        return match[1].upper() if match else b""

    @property
    def error(self) -> int:
        """Which error a Failure reports; 0 if the message is not of that form.

        Source: RFC 2759 §6
        """
        match = _ERROR.fullmatch(self.message)
        return int(match[1]) if match else 0


def _encode(op_code: OpCode, mschapv2_id: int, rest: bytes) -> bytes:
    writer = Writer()
    writer.push_u8(op_code)
    writer.push_u8(mschapv2_id)
    writer.push_u16(4 + len(rest))
    writer.push(rest)
    return writer.octets()


def _header(reader: Reader, size: int) -> tuple[int, int]:
    """Take OpCode, ID and MS-Length, which is the size of all of the Type-Data."""
    op_code = reader.pull_u8("OpCode")
    mschapv2_id = reader.pull_u8("MS-CHAPv2-ID")
    length = reader.pull_u16("MS-Length")
    if length != size:
        raise MalformedMessageError(f"MS-Length {length} of {size} octets")
    return op_code, mschapv2_id


def decode_request(data: bytes) -> Challenge | Verdict:
    """Read what an authenticator sends.

    Raises
    ------
    MalformedMessageError
        It is none of what the table above has.

    Source: RFC 2759 §3, RFC 2759 §5, RFC 2759 §6
    """
    reader = Reader(data)
    op_code, mschapv2_id = _header(reader, len(data))
    if op_code in (OpCode.SUCCESS, OpCode.FAILURE):
        return Verdict(OpCode(op_code), mschapv2_id, reader.pull_rest())
    if op_code != OpCode.CHALLENGE:
        raise MalformedMessageError(f"EAP-MSCHAPv2 OpCode {op_code} in a Request")
    if reader.pull_u8("Value-Size") != CHALLENGE_SIZE:
        raise MalformedMessageError("a challenge that has not 16 octets")
    challenge = reader.pull(CHALLENGE_SIZE, "challenge")
    return Challenge(mschapv2_id, challenge, reader.pull_rest())


def decode_response(data: bytes) -> Response | OpCode:
    """Read what a peer sends.

    Returns
    -------
    Response or OpCode
        The code of a Success Response or Failure Response, which have nothing else.

    Raises
    ------
    MalformedMessageError
        It is none of what the table above has.

    Source: RFC 2759 §4
    """
    if data in ACKNOWLEDGEMENTS:
        return OpCode(data[0])
    reader = Reader(data)
    op_code, mschapv2_id = _header(reader, len(data))
    if op_code != OpCode.RESPONSE:
        raise MalformedMessageError(f"EAP-MSCHAPv2 OpCode {op_code} in a Response")
    if reader.pull_u8("Value-Size") != _RESPONSE_SIZE:
        raise MalformedMessageError("a response that has not 49 octets")
    peer_challenge = reader.pull(CHALLENGE_SIZE, "peer challenge")
    reader.pull(_RESERVED_SIZE, "reserved octets")
    proof = reader.pull(NT_RESPONSE_SIZE, "NT-Response")
    reader.pull_u8("Flags")
    name = reader.pull_rest()
    if len(name) > MAX_NAME_SIZE:
        raise MalformedMessageError(f"a name of {len(name)} octets")
    return Response(mschapv2_id, peer_challenge, proof, name)
