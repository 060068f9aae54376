"""The file ``exchange_transcripts_test.json`` against hmac and ``cryptography``.

Nothing of ours reads the wire here: public values are made from the draws, keys from
the formulas, and every payload is decrypted, with plain primitives.
"""

import copy
import hashlib
import hmac
import struct
from functools import cache
from ipaddress import ip_address

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x448, x25519
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from iketcp.vectorlib import check_transcripts, plain_ml_kem
from iketcp.vectorlib.envelope import Json
from transcript_support import (
    CREATE_CHILD_SA,
    HASHES,
    IKE_AUTH,
    IKE_FOLLOWUP_KE,
    IKE_INTERMEDIATE,
    IKE_SA_INIT,
    INFORMATIONAL,
    KE,
    NONCE,
    NOTIFY,
    SA,
    SK,
    SKF,
    bodies,
    chain,
    opened,
    said,
    sessions,
    transmitted,
)
from vector_support import document, grouped, octets, spoiled

NAME = "exchange_transcripts"

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


KEM = {36: mlkem.MLKEM768PrivateKey, 37: mlkem.MLKEM1024PrivateKey}


def encapsulated(method: int, ours: bytes, theirs: bytes) -> tuple[bytes, bytes]:
    """Public value of a draw, and the secret: of a seed, or of what is encapsulated.

    The arithmetic of the encapsulation is held against OpenSSL's decapsulation.
    """
    is_initiator = len(ours) == 64
    key = KEM[method].from_seed_bytes(ours if is_initiator else theirs)
    public = key.public_key().public_bytes_raw()
    randomness = theirs if is_initiator else ours
    ciphertext, secret = plain_ml_kem.encapsulate(method, public, randomness)
    assert key.decapsulate(ciphertext) == secret
    return (public if is_initiator else ciphertext), secret


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
    if method in KEM:
        return encapsulated(method, ours, theirs)
    c = x448.X448PrivateKey.from_private_bytes(ours)
    d = x448.X448PrivateKey.from_private_bytes(theirs)
    return c.public_key().public_bytes_raw(), c.exchange(d.public_key())


def check_exchange(test: Json, initiator: str, made: Json) -> bytes:
    """Check g^ir against the draws, and the draws against the wire; return g^ir."""
    if made["keyExchange"]["method"] is None:
        assert made["keyExchange"]["gIr"] == ""
        assert made["furtherKeyExchanges"] == []
        return b""
    return check_one_exchange(test, initiator, made["keyExchange"])


def check_further(test: Json, initiator: str, made: Json) -> bytes:
    """Check the key exchanges of IKE_FOLLOWUP_KE; return SK(1) | SK(2) | …"""
    further = made["furtherKeyExchanges"]
    return b"".join(check_one_exchange(test, initiator, one) for one in further)


def check_one_exchange(test: Json, initiator: str, exchange: Json) -> bytes:
    """Check one of them."""
    responder = "east" if initiator == "west" else "west"
    drawn_i = bytes.fromhex(test[initiator]["entropy"][exchange["drawI"]])
    drawn_r = bytes.fromhex(test[responder]["entropy"][exchange["drawR"]])
    method = exchange["method"]
    public_i, secret = exchanged(method, drawn_i, drawn_r)
    public_r, same = exchanged(method, drawn_r, drawn_i)
    assert secret.hex() == same.hex() == exchange["gIr"]
    for side, public in ((initiator, public_i), (responder, public_r)):
        body = method.to_bytes(2, "big") + bytes(2) + public
        sent = [s for s in said(test) if s["sender"] == side]
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
    """RFC 7296 §2.14, §2.18, RFC 9370 §2.2: SKEYSEED and seven keys, of the draws."""
    for test in sessions():
        for sa in test["ikeSas"]:
            g_ir = check_exchange(test, sa["originalInitiator"], sa)
            ni, nr, spi_i, spi_r = octets(sa, "ni", "nr", "spiI", "spiR")
            if sa["replaces"] is None:
                skeyseed = hmac.digest(ni + nr, g_ir, HASHES[sa["prf"]])
            else:
                old = test["ikeSas"][sa["replaces"]]
                old_sk_d = bytes.fromhex((old["ppk"] or old)["skD"])
                further = check_further(test, sa["originalInitiator"], sa)
                secrets = g_ir + ni + nr + further
                skeyseed = hmac.digest(old_sk_d, secrets, HASHES[old["prf"]])
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
            sk_d = bytes.fromhex((sa["ppk"] or sa)["skD"])
            seed = (
                g_ir + ni + nr + check_further(test, child["exchangeInitiator"], child)
            )
            stream = prf_plus(sa["prf"], sk_d, seed, sum(sizes))
            assert b"".join(keys) == stream, test["tcId"]


def test_nonces_and_spis_are_drawn_and_sent() -> None:
    """RFC 7296 §2.10, §3.3.1: each is among the draws of its side, and on the wire."""
    for test in sessions():
        draws = {side: set(test[side]["entropy"].values()) for side in ("west", "east")}
        nonces: dict[str, set[str]] = {"west": set(), "east": set()}
        proposals = ""
        for step in said(test):
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
                assert is_first(test, sa) or spi in proposals


def is_first(test: Json, sa: Json) -> bool:
    """Whether it is what IKE_SA_INIT began, with whichever keys. RFC 9370 §2.2.2."""
    if sa.get("replaces", 0) is None:
        return True
    return "replaces" in sa and test["ikeSas"][sa["replaces"]]["spiI"] == sa["spiI"]


# --- the wire ---------------------------------------------------------------------


def test_streams_hold_the_messages() -> None:
    """RFC 9329 §3, §4: Length, marker, and the prefix first on each connection."""
    for test in sessions("Transcript"):
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


def test_datagrams_hold_the_messages() -> None:
    """RFC 3948 §2, RFC 7296 §2.23: the marker on port 4500, IKE_SA_INIT on port 500."""
    for test in sessions("DatagramTranscript"):
        (path,) = [step for step in test["steps"] if step["step"] == "path"]
        for step in transmitted(test, "ike", "fragment", "esp"):
            stream, message = octets(step, "octets", "message")
            is_init = step["content"] == "ike" and step["ike"]["exchangeType"] == 34
            port = 500 if is_init else 4500
            receiver = "east" if step["sender"] == "west" else "west"
            ends = [
                {"address": path[side], "port": port}
                for side in (step["sender"], receiver)
            ]
            assert [step["source"], step["target"]] == ends
            is_marked = not is_init and step["content"] != "esp"
            assert stream == (bytes(4) if is_marked else b"") + message


def header_of(message: bytes, ike: Json) -> tuple[int, int]:
    """Compare a header with what the file says; returns Next Payload and flags."""
    kind, version, exchange, flags = message[16:20]
    number, size = struct.unpack(">II", message[20:28])
    assert (exchange, number) == (ike["exchangeType"], ike["messageId"])
    assert (version, size) == (0x20, len(message))
    assert bool(flags & 0x20) == ike["isResponse"]
    return kind, flags


def test_messages_in_the_clear() -> None:
    """RFC 7296 §1.2, RFC 6290 §4.5: IKE_SA_INIT, and the proof of a crash."""
    for test in sessions():
        for step in transmitted(test, "ike"):
            message, ike = bytes.fromhex(step["message"]), step["ike"]
            if ike["ikeSa"] is not None:
                continue
            kind, _ = header_of(message, ike)
            assert (kind, message[28:].hex()) == (ike["firstPayload"], ike["payloads"])
            is_proof = ike["isResponse"] and "Crash" in test["flags"]
            assert ike["exchangeType"] == IKE_SA_INIT or is_proof


def test_protected_messages_open() -> None:
    """RFC 7296 §3.1, §3.14, RFC 7383 §2.5: header, numbers, and SK holds the chain."""
    for test in sessions():
        ivs: dict[tuple[int, str], list[bytes]] = {}
        for step in transmitted(test, "ike", "fragment"):
            message, ike = bytes.fromhex(step["message"]), step[step["content"]]
            if ike["ikeSa"] is None:
                continue
            kind, flags = header_of(message, ike)
            sa = test["ikeSas"][ike["ikeSa"]]
            assert message[:16].hex() == sa["spiI"] + sa["spiR"]
            is_from_initiator = step["sender"] == sa["originalInitiator"]
            assert bool(flags & 0x08) == is_from_initiator
            way = "i" if is_from_initiator else "r"
            keys = octets(sa, f"skE{way}", f"skA{way}")
            at = 32
            if step["content"] == "fragment":
                at = 36
                numbers = struct.unpack(">HH", message[32:36])
                assert numbers == (ike["number"], ike["total"])
                assert (ike["number"] == 1) == (ike["firstPayload"] != 0)
            assert kind == (SK if at == 32 else SKF)
            assert message[28] == ike["firstPayload"]
            iv, text = opened(sa["cipher"], *keys, message[at:], message[:at], "")
            inside = text[: len(text) - 1 - text[-1]]
            assert inside.hex() == ike["payloads" if at == 32 else "piece"]
            seen = ivs.setdefault((ike["ikeSa"], step["sender"]), [])
            if (iv + message) not in seen:
                seen.append(iv + message)
                if sa["cipher"]["encr"] == 12:
                    assert iv.hex() in test[step["sender"]]["entropy"].values()
                else:
                    assert int.from_bytes(iv, "big") == len(seen)
        for step in said(test):
            ike = step["ike"]
            list(chain(ike["firstPayload"], bytes.fromhex(ike["payloads"])))


def test_fragments_are_no_larger_than_agreed() -> None:
    """RFC 7383 §2.3, §2.5.1: in fragments where it is too large, else whole."""
    count = 0
    for group, test in grouped(NAME, "DatagramTranscript"):
        for step in transmitted(test, "ike", "fragment"):
            size = len(step["message"]) // 2
            assert size <= group["fragmentSize"]
            if step["content"] == "fragment":
                count += 1
                is_last = step["fragment"]["number"] == step["fragment"]["total"]
                assert is_last or size == group["fragmentSize"]
    assert count > 10


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
            kind = 4 if inner[0] >> 4 == 4 else 41
            if is_transport(test):
                kind, inner = behind_the_header(inner)
            padding = bytes(range(1, text[-2] + 1))
            assert text[-1] == kind
            assert text == inner + padding + text[-2:]


def is_transport(test: Json) -> bool:
    """Whether a session's Child SAs are in transport mode."""
    return "TransportMode" in test["flags"]


def behind_the_header(packet: bytes) -> tuple[int, bytes]:
    """Protocol and payload of an IP packet without options."""
    if packet[0] >> 4 == 4:
        return packet[9], packet[20:]
    return packet[6], packet[40:]


def test_packets_come_out_as_they_went_in() -> None:
    """What one side's device gave, the other side's gets; and each was carried."""
    for test in sessions():
        if is_transport(test):
            continue
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


def test_transport_mode_gives_packets_the_addresses_of_the_receiver() -> None:
    """RFC 7296 §2.23.1, RFC 3948 §3.1.2: and true checksums, NATs or not."""
    seen = 0
    for test in sessions("Transcript"):
        if not is_transport(test):
            continue
        (ends,) = [step for step in test["steps"] if step["step"] == "connect"]
        outside = ends["seenAs"] or ends
        given = [s for s in test["steps"] if s["step"] == "packet"]
        taken = [s for s in test["steps"] if s["step"] == "deliver"]
        for there, here in zip(given, taken, strict=True):
            sender, receiver = there["side"], here["side"]
            assert sender != receiver
            sent, got = (scapy_packet(step["packet"]) for step in (there, here))
            assert (sent.src, sent.dst) == (
                ends[sender]["address"],
                outside[receiver]["address"],
            )
            assert (got.src, got.dst) == (
                outside[sender]["address"],
                ends[receiver]["address"],
            )
            assert bytes(got[UDP].payload) == bytes(sent[UDP].payload)
            for packet, step in ((sent, there), (got, here)):
                anew = packet.copy()
                del anew[UDP].chksum
                if packet.version == 4:
                    del anew.chksum
                assert bytes(anew).hex() == step["packet"]
            seen += 1
    assert seen == 6


def scapy_packet(octets: str) -> IP | IPv6:
    """An IP packet as scapy sees it."""
    packet = bytes.fromhex(octets)
    return IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)


def test_a_nat_gives_each_side_selectors_of_its_own() -> None:
    """RFC 7296 §2.23.1: the responder's are of the addresses that it knows."""
    views = 0
    for test in sessions():
        ends = [step for step in test["steps"] if step["step"] == "connect"]
        for child in test["childSas"]:
            assert (child["seenByResponder"] is not None) == ("Nat" in test["flags"])
            if not is_transport(test):
                continue
            (connect,) = ends
            outside = connect["seenAs"] or connect
            seen_there = child["seenByResponder"] or child
            addresses = [
                view[name][0]["startAddress"]
                for view in (child, seen_there)
                for name in ("initiatorTs", "responderTs")
            ]
            assert addresses == [
                connect["west"]["address"],
                outside["east"]["address"],
                outside["west"]["address"],
                connect["east"]["address"],
            ]
            views += 1
    assert views == 3


def digests_of(test: Json, message: str) -> dict[bytes, str]:
    """Side by digest, for all ends that a session has. RFC 7296 §2.23."""
    spis = bytes.fromhex(message)[:16]
    steps = test["steps"]
    ends = [
        (side, end["address"], end["port"])
        for step in steps
        if step["step"] == "connect"
        for seen in (step, step["seenAs"] or step)
        for side, end in ((side, seen[side]) for side in ("west", "east"))
    ]
    ends += [
        (side, step[side], port)
        for step in steps
        if step["step"] == "path"
        for side in ("west", "east")
        for port in (500, 4500)
    ]
    return {
        hashlib.sha1(
            spis + ip_address(address).packed + port.to_bytes(2, "big")
        ).digest(): side
        for side, address, port in ends
    }


def test_nat_detection_digests() -> None:
    """RFC 7296 §2.23: SHA-1 of SPIs, address and port, from and to the true ends.

    Over UDP the source is none, so that ESP goes inside UDP.
    """
    for test in sessions():
        is_udp = any(step["step"] == "path" for step in test["steps"])
        for step in transmitted(test, "ike"):
            notifies = bodies(step, NOTIFY)
            if step["ike"]["exchangeType"] != IKE_SA_INIT or bodies(step, SA) == []:
                continue
            # one repeated on another connection is the same octets
            known = digests_of(test, step["message"])
            receiver = "east" if step["sender"] == "west" else "west"
            (source,) = [n[4:] for n in notifies if n[2:4] == b"\x40\x04"]
            (destination,) = [n[4:] for n in notifies if n[2:4] == b"\x40\x05"]
            assert known[destination] == receiver
            if is_udp:
                assert source == bytes(20)
            else:
                assert known[source] == step["sender"]


# --- what there is ----------------------------------------------------------------


def test_every_suite_family_and_exchange_is_there() -> None:
    """One session of each cipher with a PRF and a method; one of each exchange."""
    sas = [sa for test in sessions() for sa in test["ikeSas"]]
    assert {sa["cipher"]["encr"] for sa in sas} == {12, 13, 20, 28}
    children = [child for test in sessions() for child in test["childSas"]]
    assert {c["cipher"]["encr"] for c in children} == {12, 13, 20, 28, 30, 31}
    assert {sa["prf"] for sa in sas} == {5, 6, 7}
    methods = {sa["keyExchange"]["method"] for sa in sas}
    assert methods == {14, 15, 16, 19, 20, 21, 31, 32, 36, 37}
    own = {c["keyExchange"]["method"] for c in children}
    assert own >= {None, 14, 19, 20, 21, 31, 32, 36}
    assert {c["esn"] for c in children} == {True, False}
    assert {test["outerVersion"] for test in sessions()} == {4, 6}
    kinds = {s["ike"]["exchangeType"] for t in sessions() for s in said(t)}
    assert kinds == {
        IKE_SA_INIT,
        IKE_AUTH,
        CREATE_CHILD_SA,
        INFORMATIONAL,
        IKE_INTERMEDIATE,
        IKE_FOLLOWUP_KE,
    }
    further = [x for c in (*sas, *children) for x in c["furtherKeyExchanges"]]
    assert {one["method"] for one in further} == {19, 32, 36}
    # NO_PROPOSAL_CHOSEN, INVALID_KE_PAYLOAD, TS_UNACCEPTABLE, COOKIE, REKEY_SA
    notifies = {
        int.from_bytes(body[2:4], "big")
        for test in sessions()
        for step in said(test)
        for body in bodies(step, NOTIFY)
    }
    assert {14, 17, 38, 16390, 16393} <= notifies


def test_requests_are_repeated_octet_for_octet() -> None:
    """RFC 9329 §6.2, RFC 7296 §2.1: where the flag says so, and nowhere else."""
    for test in sessions():
        times: dict[tuple[str, str], int] = {}
        for step in transmitted(test, "ike", "fragment"):
            if not step[step["content"]]["isResponse"]:
                key = step["sender"], step["message"]
                times[key] = times.get(key, 0) + 1
        is_repeated = any(number > 1 for number in times.values())
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
    assert check_transcripts.problems(document(NAME)) == []


def one_with(**members: object) -> Json:
    """Make a file of one session, a whole one, with changes."""
    return spoiled_file("Transcript", next(sessions()) | members)


def spoiled_file(kind: str, test: Json) -> Json:
    """Make a file of one session."""
    group = next(g for g in document(NAME)["testGroups"] if g["type"] == kind)
    return {"testGroups": [group | {"tests": [test]}]}


@pytest.mark.parametrize("kind", ["Transcript", "DatagramTranscript"])
def test_the_checker_notices_every_octet_of_a_step(kind: str) -> None:
    """Another stream, datagram, packet, close, wish or time is reported."""
    session = next(sessions(kind))
    for index, step in enumerate(session["steps"]):
        for member in ("stream", "octets", "packet", "connection"):
            if member not in step or step["step"] in ("connect", "wish"):
                continue
            steps = copy.deepcopy(session["steps"])
            steps[index][member] = spoiled(step[member])
            changed = spoiled_file(kind, session | {"steps": steps})
            assert check_transcripts.problems(changed), (index, member)


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


@pytest.mark.parametrize(
    ("flag", "change"),
    [
        ("Certificates", {"date": "2100-01-01T00:00:00+00:00"}),
        ("Fragments", {"fragmentSize": 600}),
    ],
)
def test_the_checker_goes_by_what_a_group_says(flag: str, change: Json) -> None:
    """Certificates that have expired, and fragments of another size."""
    kind = "DatagramTranscript"
    test = next(t for t in sessions(kind) if flag in t["flags"])
    changed = spoiled_file(kind, test)
    assert check_transcripts.problems(changed) == []
    changed["testGroups"][0] |= change
    assert len(check_transcripts.problems(changed)) == 2
