"""Between IKE_SA_INIT and IKE_AUTH: which key exchanges are to come, and what was said.

IKE_AUTH vouches for IKE_SA_INIT by signing its octets. An IKE_INTERMEDIATE message
cannot be signed as it went over the wire, for one side may have sent it in fragments
and the other have put it together. So it is signed as it was before encryption and
fragmentation: its header, what stands in the clear, the generic header of the Encrypted
payload, and the payloads inside, with the two lengths that this has::

    IKE header, payloads in the clear, generic header      IntAuth_[i/r]nA
    payloads inside, without IV, padding and ICV           IntAuth_[i/r]nP

A prf makes a chain of these, one for each side, under the SK_pi or SK_pr that is in use
when the exchange begins::

    IntAuth_[i/r]1 = prf(SK_p[i/r]1, A1 | P1)
    IntAuth_[i/r]n = prf(SK_p[i/r]n, IntAuth_[i/r](n-1) | An | Pn)

Source: RFC 9242 §3.3.2
Source: RFC 9370 §2.2.2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from iketcp.crypto.prf import Prf
from iketcp.errors import MalformedMessageError
from iketcp.ike.header import HEADER_SIZE, Header
from iketcp.ike.keys import IkeKeys
from iketcp.ike.message import encode_chain
from iketcp.ike.payloads import Payload, SkPayload
from iketcp.ike.protection import IkeProtection
from iketcp.registry import PayloadType

_GENERIC_SIZE = 4
_NEXT_PAYLOAD_AT = 16
_LENGTH_AT = 24
_MAX_LENGTH = 0xFFFF


def authenticated_form(head: bytes, content: bytes) -> bytes:
    """Write a message as it is authenticated: IntAuth_[i/r]nA | IntAuth_[i/r]nP.

    Parameters
    ----------
    head : bytes
        From the first octet of the IKE header to the last of the generic header of the
        Encrypted payload, as they were on the wire.
    content : bytes
        The payloads inside, encoded; may be empty.

    Raises
    ------
    MalformedMessageError
        Put together of fragments, it is longer than an Encrypted payload can be.

    Source: RFC 9242 §3.3.2
    """
    if _GENERIC_SIZE + len(content) > _MAX_LENGTH:
        raise MalformedMessageError(f"{len(content)} octets inside IKE_INTERMEDIATE")
    length = (len(head) + len(content)).to_bytes(4, "big")
    payload_length = (_GENERIC_SIZE + len(content)).to_bytes(2, "big")
    middle = head[HEADER_SIZE:-2]
    return head[:_LENGTH_AT] + length + middle + payload_length + content


def own_form(header: Header, payloads: Sequence[Payload]) -> bytes:
    """Write a message of ours as it is authenticated; nothing in it is in the clear.

    Source: RFC 9242 §3.3.2
    """
    first_inner, content = encode_chain(payloads)
    _, generic = encode_chain([SkPayload(first_inner, b"")])
    head = header.with_chain(PayloadType.SK, 0).encode() + generic
    return authenticated_form(head, content)


def head_as_whole(head: bytes) -> bytes:
    """Turn the head of a first fragment into that of the message it is part of.

    The generic header becomes one of an Encrypted payload; its RESERVED field stays.

    Parameters
    ----------
    head : bytes
        From the first octet of the IKE header to the last of the generic header of the
        Encrypted Fragment payload, in a message that could be decoded.

    Source: RFC 9242 §3.3.2
    """
    at, position = _NEXT_PAYLOAD_AT, HEADER_SIZE
    while position < len(head) - _GENERIC_SIZE:
        at = position
        position += int.from_bytes(head[position + 2 : position + 4], "big")
    return head[:at] + bytes([PayloadType.SK]) + head[at + 1 :]


@dataclass(slots=True)
class Intermediate:
    """The exchanges that were agreed on, and how far they are.

    Source: RFC 9242 §3.2, RFC 9242 §3.3, RFC 9370 §2.2.2
    """

    methods: tuple[int, ...]
    """Methods of the key exchanges still to come, in their order."""
    count: int = 0
    """How many exchanges are done."""
    int_auth_i: bytes = b""
    """IntAuth_iN, the prf's output size; empty before the first exchange."""
    int_auth_r: bytes = b""
    """IntAuth_rN, likewise."""
    keys_to_come: IkeKeys | None = None
    """In use as soon as the request at hand is answered. Source: RFC 9242 §3.3.1"""
    former_protection: IkeProtection | None = field(default=None, repr=False)
    """What the request answered last came under, as long as it may come again."""

    def complete(
        self, prf: Prf, keys: IkeKeys, request: bytes, response: bytes
    ) -> None:
        """Note one more exchange that is done.

        Parameters
        ----------
        keys : IkeKeys
            Those that protected the exchange.
        request, response : bytes
            Its messages as :func:`authenticated_form` writes them.

        Source: RFC 9242 §3.3.2
        """
        self.methods = self.methods[1:]
        self.count += 1
        self.int_auth_i = prf.prf(keys.sk_pi, self.int_auth_i + request)
        self.int_auth_r = prf.prf(keys.sk_pr, self.int_auth_r + response)

    @property
    def int_auth(self) -> bytes:
        """IntAuth_iN | IntAuth_rN | IKE_AUTH_MID; empty if no exchange took place.

        Source: RFC 9242 §3.3.2
        """
        if not self.count:
            return b""
        # the first IKE_AUTH comes right after the exchanges, which begin at 1
        ike_auth_id = (self.count + 1).to_bytes(4, "big")
        return self.int_auth_i + self.int_auth_r + ike_auth_id
