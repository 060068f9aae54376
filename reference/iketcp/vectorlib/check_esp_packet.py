"""Runs ``esp_packet_test.json`` against our ESP.

Source: RFC 4303 §3.3, RFC 4303 §3.4, RFC 3602 §2
"""

from dataclasses import replace

from iketcp.crypto.suite import Suite
from iketcp.environment import ScriptedEntropy
from iketcp.errors import DropError
from iketcp.esp.packet import alignment, split_payload, trailers
from iketcp.esp.protection import InboundSa, OutboundSa
from iketcp.registry import EncryptionAlgorithm, IntegrityAlgorithm
from iketcp.vectorlib.check_ike_keys import cipher_problems, suite_of
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, error_name, unhex

INTEG = IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128
"""Brings the ICV that our AES-CBC does not go without."""

WINDOW = 64
"""Width of the replay window, as the file's header says."""


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, "EspPacket"):
        suite = suite_of(group["cipher"], None)
        found += cipher_problems({**test, "cipher": group["cipher"]}, suite)
        found += check_open(group, test)
        if test["canonical"]:
            found += check_seal(group, test)
    for _, test in each(document, "CbcEncryption"):
        found += check_cbc(test)
    return found


def check_cbc(test: Json) -> list[str]:
    """Encrypt and decrypt a payload, with an ICV that is then cut off.

    Source: RFC 3602 §2
    """
    key, iv, payload = unhex(test, "encryptionKey", "iv", "payload")
    spec = Suite(EncryptionAlgorithm.ENCR_AES_CBC, 8 * len(key), integ=INTEG).cipher
    cipher = spec.new(key, bytes(spec.integrity_key_size))
    plaintext = payload
    if test["nextHeader"] is not None:
        tails = trailers(test["nextHeader"], alignment(spec))
        plaintext += tails[len(payload) % alignment(spec)]
    sealed = cipher.seal(iv, plaintext, b"")
    found = compare(test, "ciphertext", sealed[: -spec.icv_size].hex())
    if test["nextHeader"] is not None:
        opened = split_payload(cipher.open(iv, sealed, b""))
        found += compare(test, "nextHeader", opened[0])
        found += compare(test, "payload", opened[1].hex())
    return found


def check_open(group: Json, test: Json) -> list[str]:
    """Open a packet as a receiver that has seen all numbers up to ``highest``."""
    suite = replace(suite_of(group["cipher"], None), esn=group["esn"])
    spi, key, integrity_key = unhex(group, "spi", "encryptionKey", "integrityKey")
    sa = InboundSa(spi, suite, key, integrity_key, lambda _: True, WINDOW)
    highest = int(test["highest"], 16)
    for number in range(max(1, highest - WINDOW + 1), highest + 1):
        sa.window.advance(number)
    try:
        inner = sa.open(bytes.fromhex(test["packet"]))
    except DropError as error:
        found = compare(test, "error", error_name(error))
    else:
        found = compare(test, "error", None)
        if inner is None:
            found += compare(test, "nextHeader", 59)
        else:
            found += compare(test, "inner", inner.hex())
            found += compare(test, "nextHeader", 4 if inner[0] >> 4 == 4 else 41)
    return found + compare(test, "isAuthentic", sa.authentic == 1)


def check_seal(group: Json, test: Json) -> list[str]:
    """Seal a packet as its sender, with the file's IV in place of the next one."""
    suite = replace(suite_of(group["cipher"], None), esn=group["esn"])
    spi, key, integrity_key = unhex(group, "spi", "encryptionKey", "integrityKey")
    inner, iv = unhex(test, "inner", "iv")
    sequence = int(test["sequence"], 16)
    is_counted = not suite.cipher.needs_unpredictable_iv
    if is_counted and iv != sequence.to_bytes(8, "big"):
        # our IVs are the sequence number: only the receiver can be tried
        return []
    entropy = ScriptedEntropy("unused", {"esp.iv": iv})
    size = len(inner) + test["tfcPadding"]
    sa = OutboundSa(spi, suite, key, integrity_key, entropy, size)
    sa.sequence = sequence - 1
    sealed = sa.seal_dummy() if test["nextHeader"] == 59 else sa.seal(inner)
    return compare(test, "packet", sealed.hex())
