"""Who proves what in ``exchange_transcripts_test.json``, with plain primitives.

AUTH by secret, signature, EAP and nothing at all; puzzles; tokens of crash detection.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from iketcp.vectorlib.envelope import Json
from test_vectors_eap import md4, msk_of
from transcript_support import (
    AUTH,
    CERT,
    CERTREQ,
    EAP,
    HASHES,
    IDI,
    IDR,
    IKE_AUTH,
    IKE_INTERMEDIATE,
    IKE_SA_INIT,
    INFORMATIONAL,
    NOTIFY,
    PS,
    SK,
    bodies,
    said,
    sessions,
)
from vector_support import grouped, octets

SIDES = ("west", "east")
PSK, NULL, DIGITAL_SIGNATURE = 2, 13, 14
AUTHENTICATION_FAILED = 24
USE_PPK, PPK_IDENTITY, NO_PPK_AUTH = 16435, 16436, 16437

# RFC 7427 App. A, RFC 8420 App. A: AlgorithmIdentifiers in DER, behind their sizes.
RSA_SHA256 = bytes.fromhex("0f300d06092a864886f70d01010b0500")
ECDSA_NAMES = {
    256: (bytes.fromhex("0c300a06082a8648ce3d040302"), hashes.SHA256()),
    384: (bytes.fromhex("0c300a06082a8648ce3d040303"), hashes.SHA384()),
    521: (bytes.fromhex("0c300a06082a8648ce3d040304"), hashes.SHA512()),
}
ED25519, ED448 = bytes.fromhex("07300506032b6570"), bytes.fromhex("07300506032b6571")


def check_signature(key: object, data: bytes, signed: bytes) -> str:
    """Verify a Digital Signature; returns the kind of key. RFC 7427 §3."""
    if isinstance(key, rsa.RSAPublicKey):
        assert data.startswith(RSA_SHA256)
        signature = data[len(RSA_SHA256) :]
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        return "RSA"
    if isinstance(key, ec.EllipticCurvePublicKey):
        name, hash_of = ECDSA_NAMES[key.key_size]
        assert data.startswith(name)
        key.verify(data[len(name) :], signed, ec.ECDSA(hash_of))
        return f"P-{key.key_size}"
    assert isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
    name = ED25519 if isinstance(key, ed25519.Ed25519PublicKey) else ED448
    assert data.startswith(name)
    key.verify(data[len(name) :], signed)
    return type(key).__name__.removesuffix("PublicKey")


def certified_key(sent: list[bytes], test: Json, side: str, date: datetime) -> object:
    """Key of a side's certificate, whose chain is checked. RFC 7296 §3.6."""
    chain = [x509.load_der_x509_certificate(one) for one in sent]
    own = [bytes.fromhex(o) for o in test[side]["authentication"]["certificates"]]
    assert sent == own
    there = "east" if side == "west" else "west"
    for text in test[there]["authentication"]["authorities"]:
        chain.append(x509.load_der_x509_certificate(bytes.fromhex(text)))
    for one, issuer in pairwise(chain):
        one.verify_directly_issued_by(issuer)
        assert one.not_valid_before_utc < date < one.not_valid_after_utc
    names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName)
    (host,) = names.value.get_values_for_type(x509.DNSName)
    assert host.encode().hex() == test[side]["identity"]["data"]
    return chain[0].public_key()


class Proof:
    """One AUTH payload, and what it is over."""

    def __init__(self, test: Json, sa: Json, side: str, step: Json, round: int) -> None:
        self.test, self.side, self.round = test, side, round
        (auth,) = bodies(step, AUTH)
        self.method, self.data = auth[0], auth[4:]
        assert auth[1:4] == bytes(3)
        self.certificates = bodies(step, CERT)
        self.hash = HASHES[sa["prf"]]
        is_west = side == sa["originalInitiator"]
        names = ("nr", "skPi") if is_west else ("ni", "skPr")
        self.nonce, self.sk_p = octets(sa, *names)
        self.plain_sk_p = self.sk_p
        found = {notify_of(body)[0] for body in bodies(step, NOTIFY)}
        if PPK_IDENTITY in found:
            (key,) = octets(test[side]["ppks"][0], "key")
            self.sk_p = mixed(key, self.sk_p, self.hash)
            assert not sa["ppk"] or sa["ppk"][names[1]] == self.sk_p.hex()
        self.real = self.identity = self.int_auth = b""

    @property
    def signed(self) -> bytes:
        """RFC 7296 §2.15, RFC 9242 §3.3.2."""
        maced = hmac.digest(self.sk_p, self.identity, self.hash)
        return self.real + self.nonce + maced + self.int_auth

    def by_secret(self, secret: bytes) -> bytes:
        """RFC 7296 §2.15."""
        key = hmac.digest(secret, b"Key Pad for IKEv2", self.hash)
        return hmac.digest(key, self.signed, self.hash)

    def check(self, date: datetime) -> str:
        """Check the proof; returns what kind it is."""
        given = self.test[self.side]["authentication"] or {"proof": "psk"}
        kind = str(given["proof"])
        if kind == "eap" or self.round > 1:  # RFC 7296 §2.16
            (msk,) = octets(self.test, "msk")
            assert (self.method, self.data) == (PSK, self.by_secret(msk))
            return "eap"
        if kind == "psk":
            (secret,) = octets(self.test, "preSharedKey")
            assert (self.method, self.data) == (PSK, self.by_secret(secret))
            return kind
        if kind == "null":  # RFC 7619 §2.1
            assert (self.method, self.data) == (NULL, self.by_secret(self.sk_p))
            return kind
        assert self.method == DIGITAL_SIGNATURE
        encoding = 15 if kind == "public-key" else 4
        assert {one[0] for one in self.certificates} == {encoding}
        sent = [one[1:] for one in self.certificates]
        key: object
        if kind == "public-key":  # RFC 7670 §3
            (octets_of_key,) = sent
            there = "east" if self.side == "west" else "west"
            known = self.test[there]["authentication"]["publicKeys"]
            assert octets_of_key.hex() in known
            key = serialization.load_der_public_key(octets_of_key)
        else:
            key = certified_key(sent, self.test, self.side, date)
        return f"{kind} {check_signature(key, self.data, self.signed)}"


def mixed(ppk: bytes, key: bytes, name: str) -> bytes:
    """prf+(PPK, key), as long as before. RFC 8784 §3."""
    return hmac.digest(ppk, key + b"\1", name)


def int_auth_of(test: Json) -> bytes:
    """IntAuth_iN | IntAuth_rN | IKE_AUTH_MID of the first IKE SA. RFC 9242 §3.3.2."""
    links, seen = [b"", b""], set()
    for step in said(test):
        ike = step["ike"]
        if ike["exchangeType"] == IKE_AUTH:
            number: bytes = ike["messageId"].to_bytes(4, "big")
            return b"".join(links) + number if seen else b""
        key = ike["messageId"], ike["isResponse"]
        if ike["exchangeType"] != IKE_INTERMEDIATE or key in seen:
            continue
        seen.add(key)
        sa, side = test["ikeSas"][ike["ikeSa"]], int(ike["isResponse"])
        inside = bytes.fromhex(ike["payloads"])
        sizes = [size + len(inside) for size in (32, 4)]
        spis = b"".join(octets(sa, "spiI", "spiR"))
        flags = 0x20 if side else 0x08
        head = spis + struct.pack(">BBBBII", SK, 0x20, 43, flags, key[0], sizes[0])
        head += struct.pack(">BBH", ike["firstPayload"], 0, sizes[1])
        (sk_p,) = octets(sa, ("skPi", "skPr")[side])
        text = links[side] + head + inside
        links[side] = hmac.digest(sk_p, text, HASHES[sa["prf"]])
    return b""


def proofs(test: Json) -> Iterator[Proof]:
    """Every AUTH payload of a session, with the octets that it is over."""
    real: dict[str, bytes] = {}
    int_auth = int_auth_of(test)
    identity: dict[str, bytes] = {}
    rounds: dict[str, int] = {}
    for step in said(test):
        side, ike = step["sender"], step["ike"]
        if ike["exchangeType"] == IKE_SA_INIT:
            real[side] = bytes.fromhex(step["message"])
            rounds = dict.fromkeys(SIDES, 0)
        if ike["exchangeType"] != IKE_AUTH:
            continue
        own = bodies(step, IDI if side == "west" else IDR)
        if own:
            identity[side] = own[0]
            given = test[side]["identity"]
            assert own[0].hex() == f"{given['type']:02x}000000{given['data']}"
        if bodies(step, AUTH):
            rounds[side] += 1
            sa = test["ikeSas"][ike["ikeSa"]]
            proof = Proof(test, sa, side, step, rounds[side])
            proof.real, proof.identity = real[side], identity[side]
            proof.int_auth = int_auth
            yield proof


def test_auth_values() -> None:
    """RFC 7296 §2.15, §2.16: of the octets sent, by every kind of proof there is."""
    kinds: dict[str, int] = {}
    for kind in ("Transcript", "DatagramTranscript"):
        for group, test in grouped("exchange_transcripts", kind):
            date = datetime.fromisoformat(group["date"])
            is_strange = "not trust" in test["comment"]
            for proof in proofs(test):
                if is_strange and proof.side == "west":
                    with pytest.raises(ValueError, match="Issuer"):
                        proof.check(date)
                    continue
                found = proof.check(date)
                kinds[found] = kinds.get(found, 0) + 1
    assert kinds.pop("psk") > 60
    assert kinds.pop("null") == 3
    assert kinds.pop("eap") == 6
    assert set(kinds) == {
        *(f"certificate {key}" for key in ("Ed25519", "Ed448", "RSA")),
        *(f"certificate P-{bits}" for bits in (256, 384, 521)),
        *(f"public-key {key}" for key in ("Ed25519", "P-256")),
    }


def test_ppks_are_mixed_in() -> None:
    """RFC 8784 §3, §5.1: what is said of them, and the AUTH that does without."""
    outcomes = []
    for test in sessions():
        ppks = {side: test[side]["ppks"] for side in SIDES}
        assert bool(ppks["east"]) == ("Ppk" in test["flags"])
        offers = [step["sender"] for step, _ in notifies(test, USE_PPK)]
        assert offers == (["west", "east"] if ppks["west"] else [])
        if not ppks["west"]:
            assert all(sa["ppk"] is None for sa in test["ikeSas"])
            if ppks["east"]:
                assert len(notifies(test, AUTHENTICATION_FAILED)) == 1
                outcomes.append("refused")
            continue
        named = [(s["sender"], data) for s, data in notifies(test, PPK_IDENTITY)]
        without = [data for _, data in notifies(test, NO_PPK_AUTH)]
        ours, theirs = ppks["west"][0], ppks["east"][0]
        is_known = ours["id"] == theirs["id"]
        first = ("west", b"\2" + bytes.fromhex(ours["id"]))
        assert named == [first, ("east", b"")][: 1 + is_known]
        assert bool(without) != ours["isMandatory"]
        (sa, *later) = test["ikeSas"]
        assert bool(sa["ppk"]) == is_known
        assert all(one["ppk"] is None for one in later)
        proof = next(proofs(test))
        proof.sk_p = proof.plain_sk_p
        (secret,) = octets(test, "preSharedKey")
        assert without in ([], [proof.by_secret(secret)])
        if is_known:
            (ppk,) = octets(ours, "key")
            for name in ("skD", "skPi", "skPr"):
                changed = mixed(ppk, bytes.fromhex(sa[name]), HASHES[sa["prf"]])
                assert sa["ppk"][name] == changed.hex()
        outcomes.append("mixed" if is_known else "done without")
    assert sorted(outcomes) == ["done without", "mixed", "mixed", "mixed", "refused"]


def test_authorities_are_asked_for() -> None:
    """RFC 7296 §3.7: SHA-1 of their keys, by whoever takes certificates."""
    seen = 0
    for test in sessions():
        for side in SIDES:
            given = test[side]["authentication"] or {"authorities": [], "accepts": []}
            wanted = b"\4" + b"".join(
                hashlib.sha1(
                    x509.load_der_x509_certificate(bytes.fromhex(one))
                    .public_key()
                    .public_bytes(
                        serialization.Encoding.DER,
                        serialization.PublicFormat.SubjectPublicKeyInfo,
                    )
                ).digest()
                for one in given["authorities"]
            )
            is_taken = "certificate" in given["accepts"]
            kind = IKE_AUTH if side == "west" else IKE_SA_INIT
            asked = {
                body
                for step in said(test)
                if (step["sender"], step["ike"]["exchangeType"]) == (side, kind)
                for body in bodies(step, CERTREQ)
            }
            assert asked == ({wanted} if is_taken else set())
            seen += is_taken
    assert seen > 15


def test_eap_is_of_the_password() -> None:
    """RFC 7296 §3.16, RFC 2759 §8: what is said, and the MSK of it."""
    results = []
    for test in sessions():
        users = (test["east"]["authentication"] or {"users": []})["users"]
        messages = [body for step in said(test) for body in bodies(step, EAP)]
        assert bool(messages) == bool(users) == ("Eap" in test["flags"])
        if not users:
            assert test["msk"] == ""
            continue
        secrets = {
            user["name"].encode(): md4(user["password"].encode("utf-16-le"))
            for user in users
        }
        found = msk_of(messages, secrets)
        assert test["msk"] == found.hex()
        assert messages[-1][0] == (3 if found else 4)
        results.append(bool(found))
        offered = test["west"]["authentication"]["eap"]["offersEapOnly"]
        first = next(s for s in said(test) if s["ike"]["exchangeType"] == IKE_AUTH)
        kinds = [notify_of(body)[0] for body in bodies(first, NOTIFY)]
        assert (16417 in kinds) == offered  # EAP_ONLY_AUTHENTICATION, RFC 5998 §3
    assert sorted(results) == [False, True, True, True]


def notify_of(body: bytes) -> tuple[int, bytes]:
    """Type and data of a Notify that names no SPI. RFC 7296 §3.10."""
    assert body[1] == 0
    return int.from_bytes(body[2:4], "big"), body[4:]


def notifies(test: Json, kind: int) -> list[tuple[Json, bytes]]:
    """Every Notify of a type, with the message that has it."""
    return [
        (step, body[4:])
        for step in said(test)
        for body in bodies(step, NOTIFY)
        if int.from_bytes(body[2:4], "big") == kind
    ]


def test_puzzles_are_solved() -> None:
    """RFC 8019 §7.1.3, §8: four different keys, each with its zero bits."""
    difficulties = []
    for test in sessions():
        puzzles = notifies(test, 16434)
        difficulty = test["east"]["puzzleDifficulty"]
        assert len(puzzles) == (difficulty is not None) == ("Puzzle" in test["flags"])
        if difficulty is None:
            continue
        ((_, puzzle),) = puzzles
        assert puzzle[2] == difficulty
        ((_, cookie), (again, same)) = notifies(test, 16390)
        assert same == cookie
        ((solution),) = bodies(again, PS)
        keys = [solution[at : at + 4] for at in range(0, 16, 4)]
        assert len(set(keys)) == 4
        assert len(solution) == 16
        wanted = (1 << (difficulty or 8)) - 1  # our choice, where it is left to us
        for key in keys:
            result = hmac.digest(key, cookie, HASHES[int.from_bytes(puzzle[:2], "big")])
            assert int.from_bytes(result, "big") & wanted == 0
        difficulties.append(difficulty)
    assert sorted(difficulties) == [0, 6]


def test_tokens_are_digests_of_secret_and_spis() -> None:
    """RFC 6290 §4.1, §5.1: given under protection, and shown in the clear once."""
    shown = 0
    for test in sessions():
        has_secrets = bool(test["west"]["crashSecret"])
        assert has_secrets == ("Crash" in test["flags"])
        given = set()
        for step, token in notifies(test, 16419):
            message, ike = bytes.fromhex(step["message"]), step["ike"]
            spis = message[:16]
            (secret,) = octets(test[step["sender"]], "crashSecret")
            if ike["exchangeType"] == 36:  # it is for the IKE SA that is being made
                spis = rekeyed_spis(test, ike["ikeSa"])
            assert token == hashlib.sha256(secret + spis).digest()
            if ike["ikeSa"] is None:
                assert (ike["exchangeType"], ike["isResponse"]) == (INFORMATIONAL, True)
                assert token in given
                assert bodies(step, NOTIFY)[0] == b"\0\0\0\4"
                shown += 1
            given.add(token)
        if has_secrets:
            assert len(given) == 2 * len(test["ikeSas"])
    assert shown == 1


def rekeyed_spis(test: Json, replaced: int) -> bytes:
    """SPIs of the IKE SA that replaces another."""
    (sa,) = [sa for sa in test["ikeSas"] if sa["replaces"] == replaced]
    return b"".join(octets(sa, "spiI", "spiR"))
