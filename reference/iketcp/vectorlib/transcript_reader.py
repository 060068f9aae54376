"""Reads a recorded session off the wire: what each message says, and every key.

Shared secrets come from the private keys that the two sides drew and the public values
on the wire; from there on the keys are computed by the RFC's formulas in
:mod:`plain <iketcp.vectorlib.plain>`. Both endpoints must have derived the same.

Source: RFC 7296 §2.14, RFC 7296 §2.17, RFC 7296 §2.18
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from iketcp.crypto import key_exchange
from iketcp.crypto.suite import Suite
from iketcp.effects import IkeKeysDerived
from iketcp.environment import ScriptedEntropy
from iketcp.ike.header import HEADER_SIZE, Header
from iketcp.ike.message import Message, decode_chain, decode_message
from iketcp.ike.negotiation import suite_of
from iketcp.ike.payloads import KePayload, NoncePayload, Payload, SaPayload, SkPayload
from iketcp.octets import Reader
from iketcp.registry import ExchangeType, ProtocolId
from iketcp.stream import NON_ESP_MARKER, STREAM_PREFIX
from iketcp.vectorlib import plain
from iketcp.vectorlib.envelope import Json, VectorFileError
from iketcp.vectorlib.transcript_configuration import selector
from iketcp.vectorlib.wiring import EAST, SIDES, WEST, Wiring, other

PayloadT = TypeVar("PayloadT", bound=Payload)

IKE_KEYS = ("skD", "skAi", "skAr", "skEi", "skEr", "skPi", "skPr")


def first(payloads: Sequence[Payload], kind: type[PayloadT]) -> PayloadT | None:
    """Find the first payload of a kind."""
    return next((one for one in payloads if isinstance(one, kind)), None)


def need(payloads: Sequence[Payload], kind: type[PayloadT]) -> PayloadT:
    """Find a payload that must be there.

    Raises
    ------
    VectorFileError
        It is not.
    """
    found = first(payloads, kind)
    if found is None:
        raise VectorFileError(f"a recorded message without {kind.__name__}")
    return found


def cipher_case(suite: Suite) -> plain.CipherCase:
    """Describe the cipher of a suite. Raises StopIteration where it is not listed."""
    wanted = (suite.encr, suite.key_bits, suite.integ or None)
    return next(c for c in plain.CIPHERS if (c.encr, c.key_bits, c.integ) == wanted)


class Transcript:
    """What a recorded session says, message by message, and its SAs with their keys.

    Octets stay octets here; the envelope writes them in hexadecimal.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self.ike_sas: list[Json] = []
        self.child_sas: list[Json] = []
        self._requests: dict[tuple[object, ...], tuple[str, Sequence[Payload]]] = {}
        self._answered: set[bytes] = set()
        self._packets: dict[str, list[bytes]] = {side: [] for side in SIDES}
        self.steps = [self._read(step) for step in wiring.steps]
        self._check()

    def _read(self, step: Json) -> Json:
        if step["step"] == "packet":
            self._packets[step["side"]].append(step["packet"])
        if step["step"] != "transmit":
            return step
        stream: bytes = step["stream"]
        if stream == STREAM_PREFIX:
            return _transmitted(step, "prefix", b"")
        message = stream[2:]
        if message.startswith(NON_ESP_MARKER):
            message = message[len(NON_ESP_MARKER) :]
            ike = self._ike(step["sender"], message)
            return _transmitted(step, "ike", message, ike=ike)
        esp = self._esp(step["sender"], message)
        return _transmitted(step, "esp", message, esp=esp)

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
        index: int | None = None
        kind, chain = header.next_payload, octets[HEADER_SIZE:]
        if first(message.payloads, SkPayload) is not None:
            index, kind, chain = self._opened(message, octets)
        payloads = decode_chain(kind, Reader(chain))
        self._learn(sender, octets, header, index, payloads)
        return {
            "exchangeType": int(header.exchange_type),
            "messageId": header.message_id,
            "isResponse": header.is_response,
            "ikeSa": index,
            "firstPayload": kind,
            "payloads": chain,
        }

    def _opened(self, message: Message, octets: bytes) -> tuple[int, int, bytes]:
        """Decrypt; returns the IKE SA, the first payload's type, and the payloads."""
        header, sk = message.header, need(message.payloads, SkPayload)
        index, sa = next(
            (index, sa)
            for index, sa in enumerate(self.ike_sas)
            if (sa["spiI"], sa["spiR"]) == (header.spi_i, header.spi_r)
        )
        suite: Suite = sa["suite"]
        way = "i" if header.is_original_initiator else "r"
        cipher = suite.cipher.new(sa[f"skE{way}"], sa[f"skA{way}"])
        size = suite.cipher.iv_size
        associated = octets[: len(octets) - len(sk.body)]
        opened = cipher.open(sk.body[:size], sk.body[size:], associated)
        return index, sk.first_inner_type, opened[: len(opened) - 1 - opened[-1]]

    def _learn(
        self,
        sender: str,
        octets: bytes,
        header: Header,
        index: int | None,
        payloads: Sequence[Payload],
    ) -> None:
        """Keep a request; of its first response, take the SA that it made."""
        side = other(sender) if header.is_response else sender
        key = (side, header.spi_i if index is None else index, header.message_id)
        if not header.is_response:
            self._requests[key] = (sender, payloads)
            return
        chosen = first(payloads, SaPayload)
        if octets in self._answered or chosen is None:
            return
        self._answered.add(octets)
        request = self._requests[key]
        if header.exchange_type == ExchangeType.IKE_SA_INIT:
            self._first_ike_sa(request, payloads, header)
        elif chosen.proposals[0].protocol == ProtocolId.IKE:
            self._rekeyed_ike_sa(request, payloads, index or 0)
        else:
            is_first = header.exchange_type == ExchangeType.IKE_AUTH
            self._child_sa(request, payloads, index or 0, is_first)

    # --- key exchange -----------------------------------------------------------------

    def _exchange(
        self,
        initiator: str,
        asked: Sequence[Payload],
        answered: Sequence[Payload],
    ) -> Json:
        """Compute g^ir from the draws of either side; empty without a key exchange."""
        ours, theirs = first(asked, KePayload), first(answered, KePayload)
        if ours is None or theirs is None:
            return {"method": None, "drawI": None, "drawR": None, "gIr": b""}
        drawn_i, secret_i = self._secret(initiator, ours, theirs)
        drawn_r, secret_r = self._secret(other(initiator), theirs, ours)
        if secret_i != secret_r:
            raise VectorFileError("two sides, two shared secrets")
        found = {"method": int(ours.method), "drawI": drawn_i, "drawR": drawn_r}
        return found | {"gIr": secret_i}

    def _secret(
        self, side: str, ours: KePayload, theirs: KePayload
    ) -> tuple[str, bytes]:
        """Find the private key behind a public value; returns its draw and g^ir."""
        for name, drawn in self._wiring.entropy[side].draws.items():
            if ".private#" not in name:
                continue
            script = ScriptedEntropy("", {"found.private": drawn})
            try:
                exchange = key_exchange.generate(ours.method, script, "found")
            except ValueError:  # a draw for a method with keys of another size
                continue
            if exchange.public_value == ours.public_value:
                return name, exchange.shared_secret(theirs.public_value)
        raise VectorFileError("a public value without its private key")

    # --- SAs --------------------------------------------------------------------------

    def _first_ike_sa(
        self,
        request: tuple[str, Sequence[Payload]],
        answered: Sequence[Payload],
        header: Header,
    ) -> None:
        """Derive from prf(Ni | Nr, g^ir). Source: RFC 7296 §2.14."""
        initiator, asked = request
        suite = suite_of(need(answered, SaPayload).proposals[0])
        ni, nr = _nonces(asked, answered)
        exchange = self._exchange(initiator, asked, answered)
        skeyseed = plain.prf(suite.prf or 0, ni + nr, exchange["gIr"])
        spis = header.spi_i, header.spi_r
        self._add_ike_sa(initiator, None, suite, spis, (ni, nr), exchange, skeyseed)

    def _rekeyed_ike_sa(
        self,
        request: tuple[str, Sequence[Payload]],
        answered: Sequence[Payload],
        index: int,
    ) -> None:
        """Derive from prf(SK_d (old), g^ir | Ni | Nr). Source: RFC 7296 §2.18."""
        initiator, asked = request
        old = self.ike_sas[index]
        chosen = need(answered, SaPayload).proposals[0]
        offered = need(asked, SaPayload).proposals[chosen.number - 1]
        ni, nr = _nonces(asked, answered)
        exchange = self._exchange(initiator, asked, answered)
        skeyseed = plain.prf(old["prf"], old["skD"], exchange["gIr"] + ni + nr)
        spis = offered.spi, chosen.spi
        self._add_ike_sa(
            initiator, index, suite_of(chosen), spis, (ni, nr), exchange, skeyseed
        )

    def _add_ike_sa(
        self,
        initiator: str,
        replaces: int | None,
        suite: Suite,
        spis: tuple[bytes, bytes],
        nonces: tuple[bytes, bytes],
        exchange: Json,
        skeyseed: bytes,
    ) -> None:
        cipher, number = cipher_case(suite), suite.prf or 0
        width = plain.PRF_SIZES[number]
        integrity, encryption = cipher.integrity_key, cipher.encryption_key
        sizes = (width, integrity, integrity, encryption, encryption, width, width)
        seed = b"".join((*nonces, *spis))
        stream = plain.prf_plus(number, skeyseed, seed, sum(sizes))
        self.ike_sas.append(
            {
                "suite": suite,
                "originalInitiator": initiator,
                "replaces": replaces,
                "spiI": spis[0],
                "spiR": spis[1],
                "cipher": cipher.json(),
                "prf": number,
                "prfName": plain.PRF_NAMES[number],
                "keyExchange": exchange,
                "ni": nonces[0],
                "nr": nonces[1],
                "skeyseed": skeyseed,
                **dict(zip(IKE_KEYS, plain.cut(stream, *sizes), strict=True)),
            }
        )

    def _child_sa(
        self,
        request: tuple[str, Sequence[Payload]],
        answered: Sequence[Payload],
        index: int,
        is_first: bool,
    ) -> None:
        """Derive from prf+(SK_d, g^ir | Ni | Nr). Source: RFC 7296 §2.17."""
        initiator, asked = request
        sa = self.ike_sas[index]
        chosen = need(answered, SaPayload).proposals[0]
        offered = need(asked, SaPayload).proposals[chosen.number - 1]
        ni, nr = (sa["ni"], sa["nr"]) if is_first else _nonces(asked, answered)
        exchange = self._exchange(initiator, asked, answered)
        suite = suite_of(chosen)
        cipher = cipher_case(suite)
        sizes = (cipher.encryption_key, cipher.integrity_key) * 2
        seed = exchange["gIr"] + ni + nr
        keymat = plain.prf_plus(sa["prf"], sa["skD"], seed, sum(sizes))
        key_i, integrity_i, key_r, integrity_r = plain.cut(keymat, *sizes)
        names = ("spi", "encryptionKey", "integrityKey")
        installed = next(
            one.parameters
            for one in self._wiring.children[initiator]
            + self._wiring.children[other(initiator)]
            if one.parameters.spi_in in (offered.spi, chosen.spi)
        )
        local, remote = installed.local_ts, installed.remote_ts
        if installed.spi_in == chosen.spi:
            local, remote = remote, local
        self.child_sas.append(
            {
                "name": installed.name,
                "ikeSa": index,
                "exchangeInitiator": initiator,
                "cipher": cipher.json(),
                "esn": suite.esn,
                "keyExchange": exchange,
                "ni": ni,
                "nr": nr,
                "toResponder": dict(
                    zip(names, (chosen.spi, key_i, integrity_i), strict=True)
                ),
                "toInitiator": dict(
                    zip(names, (offered.spi, key_r, integrity_r), strict=True)
                ),
                "initiatorTs": [selector(ts) for ts in local],
                "responderTs": [selector(ts) for ts in remote],
            }
        )

    # --- both endpoints agree ---------------------------------------------------------

    def _check(self) -> None:
        """Compare every key with those that both endpoints derived.

        Raises
        ------
        VectorFileError
            One differs, or an endpoint has an SA more or less.
        """
        for sa in self.ike_sas:
            del sa["suite"]
        wanted = [
            (sa["spiI"], sa["spiR"], *(sa[name] for name in IKE_KEYS))
            for sa in self.ike_sas
        ]
        for side in SIDES:
            found = [_ike_keys(one) for one in self._wiring.ike_keys[side]]
            if found != wanted:
                raise VectorFileError(f"{side} derived other keys of IKE SAs")
        for side, there in ((WEST, EAST), (EAST, WEST)):
            installed = {
                (p.spi_in, p.encryption_key_in, p.integrity_key_in)
                for p in (one.parameters for one in self._wiring.children[side])
            } | {
                (p.spi_out, p.encryption_key_out, p.integrity_key_out)
                for p in (one.parameters for one in self._wiring.children[there])
            }
            keys = {
                tuple(child[way].values())
                for child in self.child_sas
                for way in ("toInitiator", "toResponder")
                if (child["exchangeInitiator"] == side) == (way == "toInitiator")
            }
            if installed != keys:
                raise VectorFileError(f"other keys of Child SAs on the way to {side}")


def _transmitted(
    step: Json,
    content: str,
    message: bytes,
    ike: Json | None = None,
    esp: Json | None = None,
) -> Json:
    return {**step, "content": content, "message": message, "ike": ike, "esp": esp}


def _ike_keys(derived: IkeKeysDerived) -> tuple[bytes, ...]:
    keys = derived.keys
    return (
        derived.spi_i,
        derived.spi_r,
        keys.sk_d,
        keys.sk_ai,
        keys.sk_ar,
        keys.sk_ei,
        keys.sk_er,
        keys.sk_pi,
        keys.sk_pr,
    )


def _nonces(
    asked: Sequence[Payload], answered: Sequence[Payload]
) -> tuple[bytes, bytes]:
    return need(asked, NoncePayload).nonce, need(answered, NoncePayload).nonce
