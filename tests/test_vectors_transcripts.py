"""The file ``exchange_transcripts_test.json`` against hmac and ``cryptography``.

Nothing of ours reads the wire here: public values are made from the draws, keys from
the formulas, and every payload is decrypted, with plain primitives.
"""

import copy
import hashlib
import hmac
import struct
from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from iketcp.vectorlib import check_transcripts
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped, octets, spoiled

HASHES = {5: "sha256", 6: "sha384", 7: "sha512"}
INTEGRITY = {12: ("sha256", 16), 13: ("sha384", 24), 14: ("sha512", 32)}
SEVEN = ("skD", "skAi", "skAr", "skEi", "skEr", "skPi", "skPr")
# RFC 3526 §3, §4, §5: bits of the prime, and the constant of its formula.
MODP = {14: (2048, 124476), 15: (3072, 1690314), 16: (4096, 240904)}
# Orders of the curves of RFC 5903 §3, as SEC 2 and FIPS 186 list them.
CURVES: dict[int, tuple[ec.EllipticCurve, int]] = {
    19: (
        ec.SECP256R1(),
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    ),
    20: (
        ec.SECP384R1(),
        int(
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf"
            "581a0db248b0a77aecec196accc52973",
            16,
        ),
    ),
    21: (
        ec.SECP521R1(),
        int(
            f"01{64 * 'f'}"
            "fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
            16,
        ),
    ),
}
SA, KE, IDI, IDR, AUTH, NONCE, NOTIFY, SK = 33, 34, 35, 36, 39, 40, 41, 46
IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = 34, 35, 36, 37


def sessions() -> Iterator[Json]:
    """Every session."""
    for _, test in grouped("exchange_transcripts", "Transcript"):
        yield test


def transmitted(test: Json, content: str) -> Iterator[Json]:
    """Every message of a kind, arriving or not."""
    for step in test["steps"]:
        if step["step"] == "transmit" and step["content"] == content:
            yield step


def chain(kind: int, text: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk a chain of payloads: type and body of each. RFC 7296 §3.2."""
    while kind:
        following, size = text[0], int.from_bytes(text[2:4], "big")
        yield kind, text[4:size]
        kind, text = following, text[size:]
    assert text == b""


def bodies(step: Json, kind: int) -> list[bytes]:
    """Bodies of all payloads of a type in a message."""
    ike = step["ike"]
    found = chain(ike["firstPayload"], bytes.fromhex(ike["payloads"]))
    return [body for each, body in found if each == kind]


# --- key exchange -----------------------------------------------------------------


@cache
def prime(method: int) -> int:
    """2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + c). RFC 3526 §3."""
    bits, constant = MODP[method]
    one = 1 << (bits + 64)

    def inverse_tangent(x: int) -> int:
        total = term = one // x
        divisor, sign = 1, 1
        while term:
            term //= x * x
            divisor, sign = divisor + 2, -sign
            total += sign * (term // divisor)
        return total

    pi = 4 * (4 * inverse_tangent(5) - inverse_tangent(239))
    shifted = pi >> (64 + 130)
    return (1 << bits) - (1 << (bits - 64)) - 1 + ((shifted + constant) << 64)


def exchanged(method: int, ours: bytes, theirs: bytes) -> tuple[bytes, bytes]:
    """Public value of a draw, and the secret it shares with another draw."""
    if method in MODP:
        p = prime(method)
        size = MODP[method][0] // 8
        x, y = (
            int.from_bytes(bytes([d[0] | 0x80]) + d[1:], "big") for d in (ours, theirs)
        )
        return pow(2, x, p).to_bytes(size, "big"), pow(2, x * y, p).to_bytes(
            size, "big"
        )
    if method in CURVES:
        curve, order = CURVES[method]
        mine, other = (
            ec.derive_private_key(1 + int.from_bytes(d, "big") % (order - 1), curve)
            for d in (ours, theirs)
        )
        point = mine.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        return point[1:], mine.exchange(ec.ECDH(), other.public_key())
    if method == 31:
        a = x25519.X25519PrivateKey.from_private_bytes(ours)
        b = x25519.X25519PrivateKey.from_private_bytes(theirs)
        return a.public_key().public_bytes_raw(), a.exchange(b.public_key())
    c = x448.X448PrivateKey.from_private_bytes(ours)
    d = x448.X448PrivateKey.from_private_bytes(theirs)
    return c.public_key().public_bytes_raw(), c.exchange(d.public_key())


def check_exchange(test: Json, initiator: str, made: Json) -> bytes:
    """Check g^ir against the draws, and the draws against the wire; return g^ir."""
    exchange = made["keyExchange"]
    if exchange["method"] is None:
        assert exchange["gIr"] == ""
        return b""
    responder = "east" if initiator == "west" else "west"
    drawn_i = bytes.fromhex(test[initiator]["entropy"][exchange["drawI"]])
    drawn_r = bytes.fromhex(test[responder]["entropy"][exchange["drawR"]])
    method = exchange["method"]
    public_i, secret = exchanged(method, drawn_i, drawn_r)
    public_r, same = exchanged(method, drawn_r, drawn_i)
    assert secret.hex() == same.hex() == exchange["gIr"]
    for side, public in ((initiator, public_i), (responder, public_r)):
        body = method.to_bytes(2, "big") + bytes(2) + public
        sent = [s for s in transmitted(test, "ike") if s["sender"] == side]
        assert any(body in bodies(step, KE) for step in sent)
    return secret


def prf_plus(prf: int, key: bytes, seed: bytes, size: int) -> bytes:
    """Compute prf+. RFC 7296 §2.13."""
    out = last = b""
    for count in range(1, 256):
        last = hmac.digest(key, last + seed + bytes([count]), HASHES[prf])
        out += last
    return out[:size]


def test_keys_of_ike_sas() -> None:
    """RFC 7296 §2.14, §2.18: SKEYSEED and the seven keys, of draws and formulas."""
    for test in sessions():
        for sa in test["ikeSas"]:
            g_ir = check_exchange(test, sa["originalInitiator"], sa)
            ni, nr, spi_i, spi_r = octets(sa, "ni", "nr", "spiI", "spiR")
            if sa["replaces"] is None:
                skeyseed = hmac.digest(ni + nr, g_ir, HASHES[sa["prf"]])
            else:
                old = test["ikeSas"][sa["replaces"]]
                old_sk_d = bytes.fromhex(old["skD"])
                skeyseed = hmac.digest(old_sk_d, g_ir + ni + nr, HASHES[old["prf"]])
            assert sa["skeyseed"] == skeyseed.hex()
            keys = octets(sa, *SEVEN)
            width = hashlib.new(HASHES[sa["prf"]]).digest_size
            cipher = sa["cipher"]
            encryption = cipher["encryptionKeySize"]
            integrity = cipher["integrityKeySize"]
            sizes = [width, integrity, integrity, encryption, encryption, width, width]
            assert [len(key) for key in keys] == sizes
            stream = prf_plus(sa["prf"], skeyseed, ni + nr + spi_i + spi_r, sum(sizes))
            assert b"".join(keys) == stream, test["tcId"]


def test_keys_of_child_sas() -> None:
    """RFC 7296 §2.17: KEYMAT, to the exchange's responder first."""
    for test in sessions():
        for child in test["childSas"]:
            sa = test["ikeSas"][child["ikeSa"]]
            g_ir = check_exchange(test, child["exchangeInitiator"], child)
            ni, nr = octets(child, "ni", "nr")
            names = ("encryptionKey", "integrityKey")
            keys = octets(child["toResponder"], *names)
            keys += octets(child["toInitiator"], *names)
            cipher = child["cipher"]
            sizes = [cipher["encryptionKeySize"], cipher["integrityKeySize"]] * 2
            assert [len(key) for key in keys] == sizes
            sk_d = bytes.fromhex(sa["skD"])
            stream = prf_plus(sa["prf"], sk_d, g_ir + ni + nr, sum(sizes))
            assert b"".join(keys) == stream, test["tcId"]


def test_nonces_and_spis_are_drawn_and_sent() -> None:
    """RFC 7296 §2.10, §3.3.1: each is among the draws of its side, and on the wire."""
    for test in sessions():
        draws = {side: set(test[side]["entropy"].values()) for side in ("west", "east")}
        nonces: dict[str, set[str]] = {"west": set(), "east": set()}
        proposals = ""
        for step in transmitted(test, "ike"):
            nonces[step["sender"]] |= {body.hex() for body in bodies(step, NONCE)}
            proposals += "".join(body.hex() for body in bodies(step, SA))
        for sa, role in [(s, "originalInitiator") for s in test["ikeSas"]] + [
            (c, "exchangeInitiator") for c in test["childSas"]
        ]:
            first = sa[role]
            second = "east" if first == "west" else "west"
            for side, nonce in ((first, sa["ni"]), (second, sa["nr"])):
                assert nonce in draws[side] & nonces[side]
            if role == "originalInitiator":
                spis = [(first, sa["spiI"]), (second, sa["spiR"])]
            else:
                spis = [
                    (first, sa["toInitiator"]["spi"]),
                    (second, sa["toResponder"]["spi"]),
                ]
            for side, spi in spis:
                assert spi in draws[side]
                first_sa = sa.get("replaces", 0) is None
                assert first_sa or spi in proposals


# --- the wire ---------------------------------------------------------------------


def opened(
    cipher: Json,
    key: bytes,
    integrity_key: bytes,
    body: bytes,
    before: bytes,
    high: str,
) -> tuple[bytes, bytes]:
    """Verify and decrypt; returns IV and plaintext. ``high``: of the ESN, or empty."""
    iv, sealed = body[: cipher["ivSize"]], body[cipher["ivSize"] :]
    if cipher["integ"] is None:
        aead: Any = AESGCM if cipher["encr"] == 20 else ChaCha20Poly1305
        if high:
            before = before[:4] + bytes.fromhex(high) + before[4:]
        return iv, aead(key[:-4]).decrypt(key[-4:] + iv, sealed, before)
    name, size = INTEGRITY[cipher["integ"]]
    ciphertext, icv = sealed[:-size], sealed[-size:]
    covered = before + iv + ciphertext + bytes.fromhex(high)
    assert hmac.digest(integrity_key, covered, name)[:size] == icv
    mode: modes.CBC | modes.CTR = modes.CBC(iv)
    if cipher["encr"] == 13:
        key, mode = key[:-4], modes.CTR(key[-4:] + iv + b"\0\0\0\1")
    decryptor = Cipher(algorithms.AES(key), mode).decryptor()
    return iv, decryptor.update(ciphertext) + decryptor.finalize()


def test_streams_hold_the_messages() -> None:
    """RFC 9329 §3, §4: Length, marker, and the prefix first on each connection."""
    for test in sessions():
        begun = set()
        for step in test["steps"]:
            if step["step"] != "transmit":
                continue
            stream, message = octets(step, "stream", "message")
            key = step["connection"]
            if step["content"] == "prefix":
                assert (stream, message) == (b"IKETCP", b"")
                assert step["sender"] == "west"
                assert key not in begun
                begun.add(key)
                continue
            assert key in begun
            marker = bytes(4) if step["content"] == "ike" else b""
            size = 2 + len(marker) + len(message)
            assert stream == size.to_bytes(2, "big") + marker + message


def test_protected_messages_open() -> None:
    """RFC 7296 §3.1, §3.14: the header says what the file says, SK holds the chain."""
    for test in sessions():
        ivs: dict[tuple[int, str], list[bytes]] = {}
        for step in transmitted(test, "ike"):
            message, ike = bytes.fromhex(step["message"]), step["ike"]
            kind, version, exchange, flags = message[16:20]
            number, size = struct.unpack(">II", message[20:28])
            assert (exchange, number) == (ike["exchangeType"], ike["messageId"])
            assert (version, size) == (0x20, len(message))
            assert bool(flags & 0x20) == ike["isResponse"]
            chain_of = bytes.fromhex(ike["payloads"])
            if ike["ikeSa"] is None:
                assert exchange == IKE_SA_INIT
                assert (kind, message[28:]) == (ike["firstPayload"], chain_of)
                continue
            sa = test["ikeSas"][ike["ikeSa"]]
            assert message[:16].hex() == sa["spiI"] + sa["spiR"]
            is_from_initiator = step["sender"] == sa["originalInitiator"]
            assert bool(flags & 0x08) == is_from_initiator
            way = "i" if is_from_initiator else "r"
            key, integrity_key = octets(sa, f"skE{way}", f"skA{way}")
            assert (kind, message[28]) == (SK, ike["firstPayload"])
            iv, text = opened(
                sa["cipher"], key, integrity_key, message[32:], message[:32], ""
            )
            assert text[: len(text) - 1 - text[-1]] == chain_of
            list(chain(ike["firstPayload"], chain_of))
            seen = ivs.setdefault((ike["ikeSa"], step["sender"]), [])
            if (iv + message) not in seen:
                seen.append(iv + message)
                if sa["cipher"]["encr"] == 12:
                    assert iv.hex() in test[step["sender"]]["entropy"].values()
                else:
                    assert int.from_bytes(iv, "big") == len(seen)


def test_esp_packets_open() -> None:
    """RFC 4303 §2: SPI and number in front, the inner packet inside."""
    for test in sessions():
        for step in transmitted(test, "esp"):
            packet, esp = bytes.fromhex(step["message"]), step["esp"]
            child = test["childSas"][esp["childSa"]]
            is_to_responder = step["sender"] == child["exchangeInitiator"]
            way = child["toResponder" if is_to_responder else "toInitiator"]
            assert packet[:4].hex() == way["spi"]
            assert int.from_bytes(packet[4:8], "big") == esp["sequence"]
            key, integrity_key = octets(way, "encryptionKey", "integrityKey")
            high = "00000000" if child["esn"] else ""
            _, text = opened(
                child["cipher"], key, integrity_key, packet[8:], packet[:8], high
            )
            inner = bytes.fromhex(esp["innerPacket"])
            padding = bytes(range(1, text[-2] + 1))
            assert text[-1] == (4 if inner[0] >> 4 == 4 else 41)
            assert text == inner + padding + text[-2:]


def test_packets_come_out_as_they_went_in() -> None:
    """What one side's device gave, the other side's gets; and each was carried."""
    for test in sessions():
        given = [
            (s["side"], s["packet"]) for s in test["steps"] if s["step"] == "packet"
        ]
        taken = [
            ("east" if s["side"] == "west" else "west", s["packet"])
            for s in test["steps"]
            if s["step"] == "deliver"
        ]
        carried = [
            (s["sender"], s["esp"]["innerPacket"]) for s in transmitted(test, "esp")
        ]
        assert given == taken == carried


def test_auth_values() -> None:
    """RFC 7296 §2.15: both AUTH payloads, by pre-shared key, of the octets sent."""
    checked = 0
    for test in sessions():
        if not test["ikeSas"]:
            continue
        sa = test["ikeSas"][0]
        name = HASHES[sa["prf"]]
        secret = bytes.fromhex(test["preSharedKey"])
        key = hmac.digest(secret, b"Key Pad for IKEv2", name)
        first: dict[str, bytes] = {}
        for step in transmitted(test, "ike"):
            side = step["sender"]
            if step["ike"]["exchangeType"] == IKE_SA_INIT:
                first[side] = bytes.fromhex(step["message"])
            if step["ike"]["exchangeType"] != IKE_AUTH:
                continue
            is_west = side == "west"
            (identity,) = bodies(step, IDI if is_west else IDR)[:1]
            given = test[side]["identity"]
            assert identity.hex() == f"{given['type']:02x}000000{given['data']}"
            nonce, sk_p = octets(sa, *(("nr", "skPi") if is_west else ("ni", "skPr")))
            signed = first[side] + nonce + hmac.digest(sk_p, identity, name)
            (auth,) = bodies(step, AUTH)
            assert auth == b"\2\0\0\0" + hmac.digest(key, signed, name)
            checked += 1
    assert checked > 60


def test_nat_detection_digests() -> None:
    """RFC 7296 §2.23: SHA-1 of SPIs, address and port, from and to the true ends."""
    for test in sessions():
        ends = {s["connection"]: s for s in test["steps"] if s["step"] == "connect"}
        for step in transmitted(test, "ike"):
            notifies = bodies(step, NOTIFY)
            if step["ike"]["exchangeType"] != IKE_SA_INIT or bodies(step, SA) == []:
                continue
            # one repeated on another connection is the same octets
            candidates = set()
            for end in ends.values():
                for side in ("west", "east"):
                    address = ip_address(end[side]["address"]).packed
                    port = end[side]["port"].to_bytes(2, "big")
                    spis = bytes.fromhex(step["message"])[:16]
                    digest = hashlib.sha1(spis + address + port).digest()
                    candidates.add((side, digest))
            sender = step["sender"]
            receiver = "east" if sender == "west" else "west"
            sources = [n[4:] for n in notifies if n[2:4] == b"\x40\x04"]
            destinations = [n[4:] for n in notifies if n[2:4] == b"\x40\x05"]
            assert [(sender, d) in candidates for d in sources] == [True]
            assert [(receiver, d) in candidates for d in destinations] == [True]


# --- what there is ----------------------------------------------------------------


def test_every_suite_family_and_exchange_is_there() -> None:
    """One session of each cipher with a PRF and a method; one of each exchange."""
    sas = [sa for test in sessions() for sa in test["ikeSas"]]
    assert {sa["cipher"]["encr"] for sa in sas} == {12, 13, 20, 28}
    assert {sa["prf"] for sa in sas} == {5, 6, 7}
    methods = {sa["keyExchange"]["method"] for sa in sas}
    assert methods == {14, 15, 16, 19, 20, 21, 31, 32}
    own = {c["keyExchange"]["method"] for test in sessions() for c in test["childSas"]}
    assert own >= {None, 14, 19, 20, 21, 31, 32}
    assert {c["esn"] for test in sessions() for c in test["childSas"]} == {True, False}
    assert {test["outerVersion"] for test in sessions()} == {4, 6}
    kinds = {
        s["ike"]["exchangeType"] for t in sessions() for s in transmitted(t, "ike")
    }
    assert kinds == {IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL}
    # NO_PROPOSAL_CHOSEN, INVALID_KE_PAYLOAD, TS_UNACCEPTABLE, COOKIE, REKEY_SA
    notifies = {
        int.from_bytes(body[2:4], "big")
        for test in sessions()
        for step in transmitted(test, "ike")
        for body in bodies(step, NOTIFY)
    }
    assert {14, 17, 38, 16390, 16393} <= notifies


def test_requests_are_repeated_octet_for_octet() -> None:
    """RFC 9329 §6.2: where the flag says so, the same request goes out twice."""
    for test in sessions():
        messages: dict[tuple[str, str], set[int]] = {}
        for step in transmitted(test, "ike"):
            if not step["ike"]["isResponse"]:
                key = step["sender"], step["message"]
                messages.setdefault(key, set()).add(step["connection"])
        is_repeated = any(len(ids) > 1 for ids in messages.values())
        assert is_repeated == ("Repetition" in test["flags"]), test["comment"]


def test_every_draw_is_named_and_used() -> None:
    """Numbers of a label count from 0 without a gap; nothing depends on a clock."""
    for test in sessions():
        for side in ("west", "east"):
            labels: dict[str, list[int]] = {}
            for name in test[side]["entropy"]:
                label, _, number = name.partition("#")
                labels.setdefault(label, []).append(int(number))
            assert all(n == list(range(len(n))) for n in labels.values())
            assert not any(label.endswith(".jitter") for label in labels)


def test_ours_agrees() -> None:
    """Our endpoint, as west and as east, does what the file says."""
    assert check_transcripts.problems(document("exchange_transcripts")) == []


def one_with(**members: object) -> Json:
    """Make a file of one session, a whole one, with changes."""
    test = copy.deepcopy(next(sessions()))
    return {"testGroups": [{"type": "Transcript", "tests": [test | members]}]}


def test_the_checker_notices_every_octet_of_a_step() -> None:
    """Another stream, packet, close, wish or time is reported."""
    (group,) = document("exchange_transcripts")["testGroups"]
    session = next(iter(group["tests"]))
    for index, step in enumerate(session["steps"]):
        for member in ("stream", "packet", "connection"):
            if member not in step or step["step"] in ("connect", "wish"):
                continue
            changed = spoiled(step[member])
            steps = copy.deepcopy(session["steps"])
            steps[index][member] = changed
            assert check_transcripts.problems(one_with(steps=steps)), (index, member)


@pytest.mark.parametrize("member", ["ikeSas", "childSas"])
def test_the_checker_notices_other_keys(member: str) -> None:
    """An SA too few, and a changed key, are reported for both sides."""
    found = copy.deepcopy(next(sessions()))[member]
    assert len(check_transcripts.problems(one_with(**{member: found[1:]}))) == 2
    key = found[0]
    holder = key if member == "ikeSas" else key["toResponder"]
    name = "skD" if member == "ikeSas" else "encryptionKey"
    holder[name] = spoiled(holder[name])
    assert len(check_transcripts.problems(one_with(**{member: found}))) == 2


def test_the_checker_notices_draws_left_over_and_steps_too_few() -> None:
    """A draw nobody makes, and an output that no step asks for."""
    west = copy.deepcopy(next(sessions()))["west"]
    west["entropy"]["ike.nonce#99"] = "00" * 32
    assert check_transcripts.problems(one_with(west=west)) == [
        "tcId 1, west: other draws than those of the file"
    ]
    steps = copy.deepcopy(next(sessions()))["steps"][:3]
    found = check_transcripts.problems(one_with(steps=steps))
    assert any("at the end" in text for text in found)
