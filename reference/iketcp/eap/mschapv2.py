"""EAP-MSCHAPv2: a user's name and password, and a proof of both ends.

::

    authenticator                           peer
    Challenge                        →
                                     ←      Response
    Success Request (its own proof)  →
                                     ←      Success Response

or Failure Request and Failure Response. There is no second try and no change of
password: who mistypes begins anew.

Source: RFC 2759 §3
Source: RFC 2759 §4
Source: RFC 2759 §5
Source: RFC 2759 §6
"""

import hmac
from collections.abc import Mapping
from typing import ClassVar

from iketcp.eap.method import AuthenticatorMethod, EapSetting, PeerMethod
from iketcp.eap.mschapv2_packets import (
    ACKNOWLEDGEMENTS,
    AUTHENTICATION_FAILURE,
    Challenge,
    OpCode,
    Response,
    Verdict,
    decode_request,
    decode_response,
)
from iketcp.eap.mschapv2_values import (
    CHALLENGE_SIZE,
    HASH_SIZE,
    authenticator_response,
    master_session_key,
    nt_response,
    user_of,
)
from iketcp.eap.packets import EapType
from iketcp.environment import Entropy
from iketcp.errors import EapFailedError


class MschapV2Peer(PeerMethod):
    """The end that knows a password.

    Parameters
    ----------
    name : bytes
        The user's, with a domain and a backslash before it where there is one.
    password_hash : bytes
        NT hash of the password, 16 octets.
    entropy : Entropy
        Draws ``eap.mschapv2.peer_challenge``.

    Source: RFC 2759 §4
    """

    eap_type: ClassVar[int] = EapType.MSCHAPV2

    def __init__(self, name: bytes, password_hash: bytes, entropy: Entropy) -> None:
        self._name = name
        self._password_hash = password_hash
        self._entropy = entropy
        self._expected_proof = b""
        self._key = b""
        self._is_over = False
        self._failure = ""

    def respond(self, data: bytes) -> bytes:
        """Answer Challenge, Success Request or Failure Request, in this order.

        Raises
        ------
        EapFailedError
            It comes at the wrong time, or the authenticator does not know the password.
        MalformedMessageError
            It cannot be read.
        """
        request = decode_request(data)
        if self._is_over:
            raise EapFailedError("EAP-MSCHAPv2 goes on after its end")
        if isinstance(request, Challenge):
            if self._expected_proof:
                raise EapFailedError("a second EAP-MSCHAPv2 challenge")
            return self._prove(request)
        if not self._expected_proof:
            raise EapFailedError("an EAP-MSCHAPv2 verdict before the response")
        self._is_over = True
        if request.op_code is OpCode.FAILURE:
            self._failure = f"name or password refused (error {request.error})"
            return ACKNOWLEDGEMENTS[1]
        if not hmac.compare_digest(request.proof, self._expected_proof):
            raise EapFailedError("the authenticator does not know our password")
        return ACKNOWLEDGEMENTS[0]

    @property
    def may_succeed(self) -> bool:
        """The authenticator's proof was right."""
        return self._is_over and not self._failure

    @property
    def failure(self) -> str:
        """That we were refused; empty if not."""
        return self._failure

    @property
    def msk(self) -> bytes:
        """Master Session Key, 64 octets; empty before success."""
        return self._key if self.may_succeed else b""

    def forget(self) -> None:
        """Drop the password's hash and what was made of it."""
        self._password_hash = self._expected_proof = self._key = b""

    def _prove(self, request: Challenge) -> bytes:
        """Make the Response. Source: RFC 2759 §4."""
        ours = self._entropy.draw("eap.mschapv2.peer_challenge", CHALLENGE_SIZE)
        theirs, name, secret = request.challenge, self._name, self._password_hash
        proof = nt_response(theirs, ours, name, secret)
        self._expected_proof = authenticator_response(secret, proof, ours, theirs, name)
        self._key = master_session_key(secret, proof)
        return Response(request.mschapv2_id, ours, proof, name).encode()


class MschapV2Authenticator(AuthenticatorMethod):
    """The end that knows all users.

    Parameters
    ----------
    users : Mapping[bytes, bytes]
        NT hashes of passwords, 16 octets each, by name. A name is looked up as it comes
        and then without its domain.
    server_name : bytes
        What the Challenge says we are called.
    setting : EapSetting
        Its entropy draws ``eap.mschapv2.challenge``.

    Source: RFC 2759 §3
    """

    eap_type: ClassVar[int] = EapType.MSCHAPV2

    def __init__(
        self, users: Mapping[bytes, bytes], server_name: bytes, setting: EapSetting
    ) -> None:
        self._users = users
        self._server_name = server_name
        self._entropy = setting.entropy
        self._challenge = b""
        self._id = 0
        self._expected: OpCode = OpCode.RESPONSE
        self._key = b""
        self._name = b""
        self._is_proved = False
        self._failure = ""

    def begin(self, identifier: int) -> bytes:
        """Return the Challenge."""
        self._challenge = self._entropy.draw("eap.mschapv2.challenge", CHALLENGE_SIZE)
        self._id = identifier
        return Challenge(identifier, self._challenge, self._server_name).encode()

    def receive(self, data: bytes, identifier: int) -> bytes | None:
        """Judge the Response, then wait until the verdict is acknowledged.

        Raises
        ------
        EapFailedError
            A message comes at the wrong time, or has another MS-CHAPv2-ID.
        MalformedMessageError
            It cannot be read.
        """
        response = decode_response(data)
        if isinstance(response, Response):
            if self._expected is not OpCode.RESPONSE:
                raise EapFailedError("a second EAP-MSCHAPv2 response")
            return self._judge(response)
        if response is not self._expected:
            raise EapFailedError("an EAP-MSCHAPv2 verdict is not acknowledged as such")
        self._is_proved = response is OpCode.SUCCESS
        return None

    @property
    def identity(self) -> bytes:
        """The user's name, as the list of users has it; empty before success."""
        return self._name if self._is_proved else b""

    @property
    def failure(self) -> str:
        """That name or password is wrong; not which."""
        return self._failure

    @property
    def msk(self) -> bytes:
        """Master Session Key, 64 octets; empty before success."""
        return self._key if self._is_proved else b""

    def forget(self) -> None:
        """Drop the keys."""
        self._key = b""

    def _judge(self, response: Response) -> bytes:
        """Return Success Request or Failure Request.

        For a name that is unknown the same is computed as for one that is known, so
        that time does not tell which names there are.

        Source: RFC 2759 §5, RFC 2759 §6
        """
        if response.mschapv2_id != self._id:
            raise EapFailedError("an EAP-MSCHAPv2 response to another challenge")
        name = response.name
        known = name if name in self._users else user_of(name)
        secret = self._users.get(known, bytes(HASH_SIZE))
        proof = nt_response(self._challenge, response.peer_challenge, name, secret)
        is_right = hmac.compare_digest(proof, response.nt_response)
        if not is_right or not known or known not in self._users:
            return self._refuse()
        self._expected = OpCode.SUCCESS
        self._name = known
        self._key = master_session_key(secret, proof)
        message = authenticator_response(
            secret, proof, response.peer_challenge, self._challenge, name
        )
        return Verdict(OpCode.SUCCESS, self._id, message + b" M=Welcome").encode()

    def _refuse(self) -> bytes:
        """Say that name or password is wrong, and that there is no other try."""
        self._expected = OpCode.FAILURE
        self._failure = "unknown user or wrong password"
        challenge = self._challenge.hex().upper()
        message = f"E={AUTHENTICATION_FAILURE} R=0 C={challenge} V=3 M=Refused"
        return Verdict(OpCode.FAILURE, self._id, message.encode()).encode()
