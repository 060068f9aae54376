"""The sessions of ``exchange_transcripts_test.json``, read with plain primitives.

Nothing of ours reads the wire here.
"""

import hmac
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from iketcp.vectorlib.envelope import Json
from vector_support import grouped

KINDS = ("Transcript", "DatagramTranscript")
HASHES = {5: "sha256", 6: "sha384", 7: "sha512"}
INTEGRITY = {12: ("sha256", 16), 13: ("sha384", 24), 14: ("sha512", 32)}
SA, KE, IDI, IDR, CERT, CERTREQ, AUTH = 33, 34, 35, 36, 37, 38, 39
NONCE, NOTIFY, SK, EAP, SKF, PS = 40, 41, 46, 48, 53, 54
IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = 34, 35, 36, 37
IKE_INTERMEDIATE, IKE_FOLLOWUP_KE = 43, 44


def sessions(*kinds: str) -> Iterator[Json]:
    """Every session, or those of some types of group."""
    for kind in kinds or KINDS:
        for _, test in grouped("exchange_transcripts", kind):
            yield test


def transmitted(test: Json, *contents: str) -> Iterator[Json]:
    """Every message of some kinds, arriving or not, over TCP and over UDP."""
    for step in test["steps"]:
        if step["step"] in ("transmit", "datagram") and step["content"] in contents:
            yield step


def said(test: Json) -> Iterator[Json]:
    """Every IKE message; one that went in fragments is put together first."""
    pieces: dict[tuple[object, ...], dict[int, Json]] = {}
    for step in transmitted(test, "ike", "fragment"):
        if step["content"] == "ike":
            yield step
            continue
        fragment = step["fragment"]
        names = ("ikeSa", "exchangeType", "messageId", "isResponse")
        key = (step["sender"], *(fragment[name] for name in names))
        found = pieces.setdefault(key, {})
        is_new = fragment["number"] not in found
        found[fragment["number"]] = fragment
        if is_new and len(found) == fragment["total"]:
            in_order = [found[number] for number in sorted(found)]
            whole = {name: fragment[name] for name in names} | {
                "firstPayload": in_order[0]["firstPayload"],
                "payloads": "".join(one["piece"] for one in in_order),
            }
            yield step | {"message": "", "ike": whole}


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
        aead: Any = AESGCM if cipher["encr"] in (20, 30) else ChaCha20Poly1305
        # RFC 8750 §4: the whole number, whose lower half the packet shows
        nonce = iv or bytes.fromhex(high or "00000000") + before[4:8]
        if high:
            before = before[:4] + bytes.fromhex(high) + before[4:]
        return iv, aead(key[:-4]).decrypt(key[-4:] + nonce, sealed, before)
    name, size = INTEGRITY[cipher["integ"]]
    ciphertext, icv = sealed[:-size], sealed[-size:]
    covered = before + iv + ciphertext + bytes.fromhex(high)
    assert hmac.digest(integrity_key, covered, name)[:size] == icv
    mode: modes.CBC | modes.CTR = modes.CBC(iv)
    if cipher["encr"] == 13:
        key, mode = key[:-4], modes.CTR(key[-4:] + iv + b"\0\0\0\1")
    decryptor = Cipher(algorithms.AES(key), mode).decryptor()
    return iv, decryptor.update(ciphertext) + decryptor.finalize()
