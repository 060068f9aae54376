"""The SAs of a recorded session and their keys, from the draws and from the wire.

Shared secrets come from the private keys that the two sides drew and the public values
on the wire; from there on the keys are computed by the RFC's formulas in
:mod:`plain <iketcp.vectorlib.plain>`. Both endpoints must have derived the same.

Source: RFC 7296 §2.14, RFC 7296 §2.17, RFC 7296 §2.18, RFC 8784 §3, RFC 9370 §2.2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from iketcp.child_sa import ChildSaParameters
from iketcp.crypto import key_exchange
from iketcp.crypto.suite import Suite
from iketcp.effects import IkeKeysDerived
from iketcp.environment import ScriptedEntropy
from iketcp.ike.header import Header
from iketcp.ike.negotiation import suite_of
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import KePayload, NoncePayload, Payload, SaPayload
from iketcp.ike.proposals import Proposal
from iketcp.registry import ExchangeType, NotifyType, PpkIdType, ProtocolId
from iketcp.selectors import TrafficSelector
from iketcp.vectorlib import plain, plain_ml_kem
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
    ciphers = (*plain.CIPHERS, *plain.IMPLICIT_IV)
    return next(c for c in ciphers if (c.encr, c.key_bits, c.integ) == wanted)


@dataclass(frozen=True)
class _Agreed:
    """An exchange, and the further key exchanges that were made for it."""

    initiator: str
    asked: Sequence[Payload]
    answered: Sequence[Payload]
    index: int
    """Of the IKE SA that it was made on."""
    further: tuple[Json, ...] = ()

    @property
    def nonces(self) -> tuple[bytes, bytes]:
        """Ni and Nr."""
        both = need(self.asked, NoncePayload), need(self.answered, NoncePayload)
        return both[0].nonce, both[1].nonce

    @property
    def proposals(self) -> tuple[Proposal, Proposal]:
        """The one that was chosen, as it was offered and as it was chosen."""
        chosen = need(self.answered, SaPayload).proposals[0]
        return need(self.asked, SaPayload).proposals[chosen.number - 1], chosen

    @property
    def further_secrets(self) -> bytes:
        """SK(1) | SK(2) | … Source: RFC 9370 §2.2.4."""
        return b"".join(exchange["gIr"] for exchange in self.further)


class Associations:
    """The SAs that the messages of a session make, as they come to be known."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self.ike_sas: list[Json] = []
        self.child_sas: list[Json] = []
        self._requests: dict[tuple[object, ...], tuple[str, Sequence[Payload]]] = {}
        self._answered: set[bytes] = set()
        self._ppk_ids: dict[int, tuple[str, bytes]] = {}
        self._unfinished: dict[tuple[str, int, bytes], _Agreed] = {}

    def learn(
        self,
        sender: str,
        octets: bytes,
        header: Header,
        index: int | None,
        payloads: Sequence[Payload],
    ) -> None:
        """Keep a request; of its first response, take the SA that it made.

        IKE_AUTH counts as one exchange, for with EAP the first request asks for the
        Child SA and the last response makes it.
        """
        side = other(sender) if header.is_response else sender
        is_auth = header.exchange_type == ExchangeType.IKE_AUTH
        number = 1 if is_auth else header.message_id
        key = (side, header.spi_i if index is None else index, number)
        notify = find_notify(payloads, NotifyType.PPK_IDENTITY)
        if not header.is_response:
            if not is_auth or first(payloads, SaPayload) is not None:
                self._requests[key] = (sender, payloads)
            if notify is not None:
                self._ppk_ids[index or 0] = sender, notify.data
            return
        if notify is not None:
            self._mix_ppk(index or 0)
        is_agreed = first(payloads, SaPayload) or first(payloads, KePayload)
        if octets in self._answered or not is_agreed:
            return
        self._answered.add(octets)
        agreed = _Agreed(*self._requests[key], payloads, index or 0)
        match header.exchange_type:
            case ExchangeType.IKE_SA_INIT:
                self._first_ike_sa(agreed, header)
            case ExchangeType.IKE_INTERMEDIATE:
                self._updated_ike_sa(agreed)
            case ExchangeType.IKE_AUTH:
                self._child_sa(agreed, is_first=True)
            case ExchangeType.CREATE_CHILD_SA:
                self._go_on(agreed, payloads)
            case ExchangeType.IKE_FOLLOWUP_KE:
                self._follow_up(agreed)

    def _go_on(self, agreed: _Agreed, payloads: Sequence[Payload]) -> None:
        """Make the SA, or wait for the next key exchange. Source: RFC 9370 §2.2.4."""
        link = find_notify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)
        if link is not None:
            self._unfinished[agreed.initiator, agreed.index, link.data] = agreed
        elif need(agreed.answered, SaPayload).proposals[0].protocol == ProtocolId.IKE:
            self._rekeyed_ike_sa(agreed)
        else:
            self._child_sa(agreed, is_first=False)

    def _follow_up(self, done: _Agreed) -> None:
        """Add a key exchange to what waited for it. Source: RFC 9370 §2.2.4."""
        link = find_notify(done.asked, NotifyType.ADDITIONAL_KEY_EXCHANGE)
        if link is None:
            raise VectorFileError("a recorded IKE_FOLLOWUP_KE without link")
        agreed = self._unfinished.pop((done.initiator, done.index, link.data))
        exchange = self._exchange(done.initiator, done.asked, done.answered)
        further = (*agreed.further, exchange)
        self._go_on(replace(agreed, further=further), done.answered)

    def _mix_ppk(self, index: int) -> None:
        """Mix in the PPK that the initiator named and the responder confirmed.

        Source: RFC 8784 §3
        """
        side, named = self._ppk_ids[index]
        sa = self.ike_sas[index]
        key = next(
            one.key
            for one in self._wiring.policies[side].ppks
            if bytes([PpkIdType.PPK_ID_FIXED]) + one.id == named
        )
        mixed = {
            name: plain.prf_plus(sa["prf"], key, sa[name], len(sa[name]))
            for name in ("skD", "skPi", "skPr")
        }
        sa["ppk"] = {"key": key, **mixed}

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
        """Find the draw behind a public value; returns its name and g^ir."""
        for name, drawn in self._wiring.entropy[side].draws.items():
            is_kem = ours.method in plain_ml_kem.PARAMETERS
            if is_kem and ".encapsulation#" in name and theirs.method == ours.method:
                found = plain_ml_kem.encapsulate(
                    ours.method, theirs.public_value, drawn
                )
                if found[0] == ours.public_value:
                    return name, found[1]
            if ".private#" not in name:
                continue
            script = ScriptedEntropy("", {"found.private": drawn})
            try:
                exchange = key_exchange.generate(ours.method, script, "found")
            except ValueError:  # a draw for a method with keys of another size
                continue
            if exchange.public_value == ours.public_value:
                return name, exchange.shared_secret(theirs.public_value)
        raise VectorFileError("a public value that nothing drawn explains")

    # --- SAs --------------------------------------------------------------------------

    def _first_ike_sa(self, agreed: _Agreed, header: Header) -> None:
        """Derive from prf(Ni | Nr, g^ir). Source: RFC 7296 §2.14."""
        suite = suite_of(need(agreed.answered, SaPayload).proposals[0])
        ni, nr = agreed.nonces
        exchange = self._exchange(agreed.initiator, agreed.asked, agreed.answered)
        skeyseed = plain.prf(suite.prf or 0, ni + nr, exchange["gIr"])
        spis = header.spi_i, header.spi_r
        self._add_ike_sa(
            agreed.initiator, None, suite, spis, (ni, nr), exchange, skeyseed
        )

    def _updated_ike_sa(self, agreed: _Agreed) -> None:
        """Derive from prf(SK_d(n-1), SK(n) | Ni | Nr). Source: RFC 9370 §2.2.2."""
        old = self.ike_sas[agreed.index]
        ni, nr = old["ni"], old["nr"]
        exchange = self._exchange(agreed.initiator, agreed.asked, agreed.answered)
        skeyseed = plain.prf(old["prf"], old["skD"], exchange["gIr"] + ni + nr)
        spis = old["spiI"], old["spiR"]
        self._add_ike_sa(
            agreed.initiator,
            agreed.index,
            old["suite"],
            spis,
            (ni, nr),
            exchange,
            skeyseed,
        )

    def _rekeyed_ike_sa(self, agreed: _Agreed) -> None:
        """Derive from prf(SK_d (old), SK(0) | Ni | Nr | SK(1) | …).

        Source: RFC 7296 §2.18, RFC 9370 §2.2.4
        """
        old = self.ike_sas[agreed.index]
        offered, chosen = agreed.proposals
        ni, nr = agreed.nonces
        exchange = self._exchange(agreed.initiator, agreed.asked, agreed.answered)
        secrets = exchange["gIr"] + ni + nr + agreed.further_secrets
        skeyseed = plain.prf(old["prf"], _sk_d(old), secrets)
        self._add_ike_sa(
            agreed.initiator,
            agreed.index,
            suite_of(chosen),
            (offered.spi, chosen.spi),
            (ni, nr),
            exchange,
            skeyseed,
            agreed.further,
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
        further: Sequence[Json] = (),
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
                "furtherKeyExchanges": list(further),
                "ni": nonces[0],
                "nr": nonces[1],
                "skeyseed": skeyseed,
                **dict(zip(IKE_KEYS, plain.cut(stream, *sizes), strict=True)),
                "ppk": None,
            }
        )

    def _child_sa(self, agreed: _Agreed, is_first: bool) -> None:
        """Derive from prf+(SK_d, SK(0) | Ni | Nr | SK(1) | …).

        Source: RFC 7296 §2.17, RFC 9370 §2.2.4
        """
        initiator, sa = agreed.initiator, self.ike_sas[agreed.index]
        offered, chosen = agreed.proposals
        ni, nr = (sa["ni"], sa["nr"]) if is_first else agreed.nonces
        exchange = self._exchange(initiator, agreed.asked, agreed.answered)
        suite = suite_of(chosen)
        cipher = cipher_case(suite)
        sizes = (cipher.encryption_key, cipher.integrity_key) * 2
        seed = exchange["gIr"] + ni + nr + agreed.further_secrets
        keymat = plain.prf_plus(sa["prf"], _sk_d(sa), seed, sum(sizes))
        key_i, integrity_i, key_r, integrity_r = plain.cut(keymat, *sizes)
        names = ("spi", "encryptionKey", "integrityKey")
        ours = self._installed(initiator, offered.spi)
        theirs = self._installed(other(initiator), chosen.spi)
        seen = _selectors(ours.local_ts, ours.remote_ts)
        seen_there = _selectors(theirs.remote_ts, theirs.local_ts)
        self.child_sas.append(
            {
                "name": ours.name,
                "ikeSa": agreed.index,
                "exchangeInitiator": initiator,
                "cipher": cipher.json(),
                "esn": suite.esn,
                "keyExchange": exchange,
                "furtherKeyExchanges": list(agreed.further),
                "ni": ni,
                "nr": nr,
                "toResponder": dict(
                    zip(names, (chosen.spi, key_i, integrity_i), strict=True)
                ),
                "toInitiator": dict(
                    zip(names, (offered.spi, key_r, integrity_r), strict=True)
                ),
                **seen,
                "seenByResponder": None if seen_there == seen else seen_there,
            }
        )

    def _installed(self, side: str, spi_in: bytes) -> ChildSaParameters:
        """Find what one side made of a Child SA, by the SPI of what it receives."""
        return next(
            one.parameters
            for one in self._wiring.children[side]
            if one.parameters.spi_in == spi_in
        )

    # --- both endpoints agree ---------------------------------------------------------

    def check(self) -> None:
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
            # where two are made at once, each side has its own first
            if sorted(found) != sorted(wanted):
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


def _sk_d(sa: Json) -> bytes:
    """Return SK_d, with the PPK in it where there is one."""
    found: bytes = (sa["ppk"] or sa)["skD"]
    return found


def _selectors(
    initiator: Sequence[TrafficSelector], responder: Sequence[TrafficSelector]
) -> Json:
    return {
        "initiatorTs": [selector(ts) for ts in initiator],
        "responderTs": [selector(ts) for ts in responder],
    }
