"""Key files that let Wireshark decrypt what it captured: two lines, two tables.

Wireshark keeps the keys of IKE SAs and of Child SAs in two tables of its profile, one
line of comma-separated fields per SA. These functions write the lines and nothing
else; who calls them gives every secret of a tunnel away, so that happens on explicit
request only (``--insecure-keylog``).

=========================  ===========================================================
file in the profile        fields of a line
=========================  ===========================================================
``ikev2_decryption_table`` SPIi, SPIr, SK_ei, SK_er, cipher, SK_ai, SK_ar, integrity
``esp_sa``                 IP version, source, destination, SPI, cipher, its key,
                           integrity, its key; for ESN also the width of the sequence
                           number and its upper half
=========================  ===========================================================

Where a cipher takes a salt or nonce, the table wants it at the end of the key, which
is where keying material has it. Wireshark has no ChaCha20-Poly1305 for IKE messages,
and for ESP only in its later versions.

Source: RFC 7296 §2.14, RFC 7296 §2.17
"""

from ipaddress import ip_address

from iketcp.crypto.suite import Suite
from iketcp.registry import EncryptionAlgorithm, IntegrityAlgorithm

IKE_TABLE = "ikev2_decryption_table"
"""Name that Wireshark gives the file of IKE SAs."""

ESP_TABLE = "esp_sa"
"""Name that Wireshark gives the file of ESP SAs."""

_IKE_CIPHERS: dict[tuple[int, int | None], str] = {
    (EncryptionAlgorithm.ENCR_AES_CBC, 128): "AES-CBC-128 [RFC3602]",
    (EncryptionAlgorithm.ENCR_AES_CBC, 192): "AES-CBC-192 [RFC3602]",
    (EncryptionAlgorithm.ENCR_AES_CBC, 256): "AES-CBC-256 [RFC3602]",
    (EncryptionAlgorithm.ENCR_AES_CTR, 128): "AES-CTR-128 [RFC5930]",
    (EncryptionAlgorithm.ENCR_AES_CTR, 192): "AES-CTR-192 [RFC5930]",
    (EncryptionAlgorithm.ENCR_AES_CTR, 256): "AES-CTR-256 [RFC5930]",
    (EncryptionAlgorithm.ENCR_AES_GCM_16, 128): "AES-GCM-128 with 16 octet ICV"
    " [RFC5282]",
    (EncryptionAlgorithm.ENCR_AES_GCM_16, 192): "AES-GCM-192 with 16 octet ICV"
    " [RFC5282]",
    (EncryptionAlgorithm.ENCR_AES_GCM_16, 256): "AES-GCM-256 with 16 octet ICV"
    " [RFC5282]",
}

_IKE_INTEGRITY: dict[int, str] = {
    0: "NONE [RFC4306]",
    IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128: "HMAC_SHA2_256_128 [RFC4868]",
    IntegrityAlgorithm.AUTH_HMAC_SHA2_384_192: "HMAC_SHA2_384_192 [RFC4868]",
    IntegrityAlgorithm.AUTH_HMAC_SHA2_512_256: "HMAC_SHA2_512_256 [RFC4868]",
}

_ESP_CIPHERS: dict[int, str] = {
    EncryptionAlgorithm.ENCR_AES_CBC: "AES-CBC [RFC3602]",
    EncryptionAlgorithm.ENCR_AES_CTR: "AES-CTR [RFC3686]",
    # The plain "AES-GCM [RFC4106]" leaves the ICV's size to the integrity column.
    EncryptionAlgorithm.ENCR_AES_GCM_16: "AES-GCM with 16 octet ICV [RFC4106]",
    EncryptionAlgorithm.ENCR_CHACHA20_POLY1305: "ChaCha20 with Poly1305 [RFC7634]",
}

_ESP_INTEGRITY: dict[int, str] = {
    0: "NULL",
    IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128: "HMAC-SHA-256-128 [RFC4868]",
    IntegrityAlgorithm.AUTH_HMAC_SHA2_384_192: "HMAC-SHA-384-192 [RFC4868]",
    IntegrityAlgorithm.AUTH_HMAC_SHA2_512_256: "HMAC-SHA-512-256 [RFC4868]",
}


def ike_line(
    spi_i: bytes,
    spi_r: bytes,
    sk_ei: bytes,
    sk_er: bytes,
    sk_ai: bytes,
    sk_ar: bytes,
    suite: Suite,
) -> str:
    """Write the line of an IKE SA for ``ikev2_decryption_table``.

    Parameters
    ----------
    spi_i, spi_r : bytes
        IKE SPIs of the original initiator and responder, 8 octets each.
    sk_ei, sk_er : bytes
        Encryption keys, each with its salt or nonce where the cipher has one.
    sk_ai, sk_ar : bytes
        Integrity keys; empty with a combined-mode cipher.
    suite : Suite
        What the peers agreed on.

    Returns
    -------
    str
        The line, newline included; empty where Wireshark does not have the cipher.

    Source: RFC 7296 §2.14
    """
    cipher = _IKE_CIPHERS.get((suite.encr, suite.key_bits))
    if cipher is None:
        return ""
    keys = [each.hex() for each in (spi_i, spi_r, sk_ei, sk_er)]
    integrity = [sk_ai.hex(), sk_ar.hex(), _quoted(_IKE_INTEGRITY[suite.integ or 0])]
    return ",".join([*keys, _quoted(cipher), *integrity]) + "\n"


def esp_line(
    source: str,
    destination: str,
    spi: bytes,
    suite: Suite,
    encryption_key: bytes,
    integrity_key: bytes,
) -> str:
    """Write the line of one SA, so of one direction, for ``esp_sa``.

    Parameters
    ----------
    source, destination : str
        Outer IP addresses of the ESP packets.
    spi : bytes
        SPI in the packets, 4 octets.
    suite : Suite
        What the peers agreed on.
    encryption_key : bytes
        Encryption key, with its salt or nonce where the cipher has one.
    integrity_key : bytes
        Integrity key; empty with a combined-mode cipher.

    Returns
    -------
    str
        The line, newline included. Eight fields, which every version reads; with ESN
        ten, the upper half of the sequence number being zero. Empty where Wireshark
        does not have the cipher: it knows none with implicit IV.

    Raises
    ------
    ValueError
        ``source`` is not an IP address.

    Source: RFC 7296 §2.17, RFC 4303 §2.2.1
    """
    cipher = _ESP_CIPHERS.get(suite.encr)
    if cipher is None:
        return ""
    fields = [
        f"IPv{ip_address(source).version}",
        source,
        destination,
        f"0x{spi.hex()}",
        cipher,
        f"0x{encryption_key.hex()}",
        _ESP_INTEGRITY[suite.integ or 0],
        f"0x{integrity_key.hex()}" if integrity_key else "",
    ]
    if suite.esn:
        fields += ["64-bit", "0"]
    return ",".join(map(_quoted, fields)) + "\n"


def _quoted(text: str) -> str:
    return f'"{text}"'
