"""Reads a recorded session off the wire: what each message says, and every key.

What is protected is opened with the keys of the SAs so far, and what it says makes the
next ones (:mod:`iketcp.vectorlib.transcript_sas`).

Source: RFC 7296 §3.1, RFC 7296 §3.14, RFC 7383 §2.5, RFC 9329 §3
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.crypto.suite import Suite
from iketcp.eap.packets import EapCode
from iketcp.errors import IntegrityError
from iketcp.ike.header import HEADER_SIZE, Header
from iketcp.ike.message import Message, decode_chain, decode_message
from iketcp.ike.payloads import EapPayload, Payload, SkfPayload, SkPayload
from iketcp.octets import Reader
from iketcp.stream import NON_ESP_MARKER, STREAM_PREFIX
from iketcp.vectorlib.eap_values import msk_of, nt_hash
from iketcp.vectorlib.envelope import Json, VectorFileError
from iketcp.vectorlib.transcript_sas import Associations, first
from iketcp.vectorlib.wiring import SIDES, Wiring

_MSCHAPV2_RESPONSE = b"\x1a\x02"
"""Type of EAP, and OpCode. Source: RFC 3748 §4.1, RFC 2759 §4."""


class Transcript:
    """What a recorded session says, message by message, and its SAs with their keys.

    Octets stay octets here; the envelope writes them in hexadecimal.

    Parameters
    ----------
    wiring : Wiring
        The session, when it is over.
    password : str
        Of the one who proves itself by EAP-MSCHAPv2; empty without.
    """

    def __init__(self, wiring: Wiring, password: str = "") -> None:
        self._sas = Associations(wiring)
        self.ike_sas, self.child_sas = self._sas.ike_sas, self._sas.child_sas
        self._password = password
        self.msk = b""
        """Master Session Key of EAP, 64 octets; empty without."""
        self._response = b""
        self._packets: dict[str, list[bytes]] = {side: [] for side in SIDES}
        self._pieces: dict[tuple[object, ...], dict[int, Json]] = {}
        self.steps = [self._read(step) for step in wiring.steps]
        self._sas.check()

    def _read(self, step: Json) -> Json:
        match step["step"]:
            case "packet":
                self._packets[step["side"]].append(step["packet"])
            case "transmit":
                return step | self._message(step["sender"], step["stream"], 2)
            case "datagram":
                is_marked = step["source"]["port"] == 4500
                octets = (
                    step["octets"] if is_marked else NON_ESP_MARKER + step["octets"]
                )
                return step | {"fragment": None} | self._message(step["sender"], octets)
        return step

    def _message(self, sender: str, octets: bytes, length_size: int = 0) -> Json:
        """Say what the octets of one step are. Source: RFC 9329 §3, RFC 3948 §2."""
        found: Json = {"content": "prefix", "message": b"", "ike": None, "esp": None}
        if octets == STREAM_PREFIX:
            return found
        message = octets[length_size:]
        if not message.startswith(NON_ESP_MARKER):
            esp = self._esp(sender, message)
            return found | {"content": "esp", "message": message, "esp": esp}
        message = message[len(NON_ESP_MARKER) :]
        return found | {"message": message} | self._ike(sender, message)

    def _esp(self, sender: str, packet: bytes) -> Json:
        """Name the Child SA of an ESP packet and what the sender put into it."""
        index = next(
            index
            for index, child in enumerate(self.child_sas)
            for direction in ("toInitiator", "toResponder")
            if child[direction]["spi"] == packet[:4]
        )
        sequence = int.from_bytes(packet[4:8], "big")
        inner = self._packets[sender].pop(0)
        return {"childSa": index, "sequence": sequence, "innerPacket": inner}

    # --- IKE messages -----------------------------------------------------------------

    def _ike(self, sender: str, octets: bytes) -> Json:
        message = decode_message(octets)
        header = message.header
        fragment = first(message.payloads, SkfPayload)
        if fragment is not None:
            return {
                "content": "fragment",
                "fragment": self._fragment(sender, message, fragment, octets),
            }
        index: int | None = None
        kind, chain = header.next_payload, octets[HEADER_SIZE:]
        sealed = first(message.payloads, SkPayload)
        if sealed is not None:
            index, chain = self._opened(header, sealed, octets)
            kind = sealed.first_inner_type
        self._learn(sender, octets, header, index, kind, chain)
        ike = {"ikeSa": index, "firstPayload": kind, "payloads": chain}
        return {"content": "ike", "ike": _said(header) | ike}

    def _fragment(
        self, sender: str, message: Message, fragment: SkfPayload, octets: bytes
    ) -> Json:
        """Open a fragment; the last that was missing makes the message whole."""
        header = message.header
        index, piece = self._opened(header, fragment, octets)
        number, total = fragment.fragment_number, fragment.total_fragments
        found = _said(header) | {
            "ikeSa": index,
            "number": number,
            "total": total,
            "firstPayload": fragment.first_inner_type,
            "piece": piece,
        }
        key = (sender, index, header.message_id, header.is_response)
        pieces = self._pieces.setdefault(key, {})
        pieces[number] = found
        if len(pieces) == total:
            chain = b"".join(pieces[n]["piece"] for n in range(1, total + 1))
            kind = pieces[1]["firstPayload"]
            self._learn(sender, chain, header, index, kind, chain)
        return found

    def _learn(
        self,
        sender: str,
        octets: bytes,
        header: Header,
        index: int | None,
        kind: int,
        chain: bytes,
    ) -> None:
        payloads = decode_chain(kind, Reader(chain))
        self._sas.learn(sender, octets, header, index, payloads)
        self._look_for_msk(payloads)

    def _opened(
        self, header: Header, sealed: SkPayload | SkfPayload, octets: bytes
    ) -> tuple[int, bytes]:
        """Decrypt; returns the IKE SA, and what is inside without the padding.

        The newest keys of these SPIs that fit: a repetition comes under older ones.

        Raises
        ------
        VectorFileError
            None do.

        Source: RFC 9242 §3.3.1
        """
        way = "i" if header.is_original_initiator else "r"
        associated = octets[: len(octets) - len(sealed.body)]
        for index, sa in reversed([*enumerate(self.ike_sas)]):
            if (sa["spiI"], sa["spiR"]) != (header.spi_i, header.spi_r):
                continue
            suite: Suite = sa["suite"]
            cipher = suite.cipher.new(sa[f"skE{way}"], sa[f"skA{way}"])
            iv, body = (
                sealed.body[: suite.cipher.iv_size],
                sealed.body[suite.cipher.iv_size :],
            )
            try:
                opened = cipher.open(iv, body, associated)
            except IntegrityError:
                continue
            return index, opened[: len(opened) - 1 - opened[-1]]
        raise VectorFileError("a recorded message that no keys open")

    def _look_for_msk(self, payloads: Sequence[Payload]) -> None:
        """Take the NT-Response out of the peer's answer; Success makes it the MSK.

        Source: RFC 2759 §4, RFC 3079 §3.4
        """
        eap = first(payloads, EapPayload)
        if eap is not None and eap.message[4:6] == _MSCHAPV2_RESPONSE:
            self._response = eap.message[34:58]
        elif eap is not None and eap.message[0] == EapCode.SUCCESS:
            self.msk = msk_of(nt_hash(self._password), self._response)


def _said(header: Header) -> Json:
    """Describe what the header says. Source: RFC 7296 §3.1."""
    return {
        "exchangeType": int(header.exchange_type),
        "messageId": header.message_id,
        "isResponse": header.is_response,
    }
