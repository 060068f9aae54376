"""The ciphers, against published vectors, plain primitives and flipped bits."""

import hmac
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from iketcp.crypto.ciphers import (
    SUPPORTED,
    SUPPORTED_IN_ESP,
    Cipher,
    CipherSpec,
    cipher_spec,
)
from iketcp.errors import IntegrityError
from iketcp.registry import EncryptionAlgorithm, IntegrityAlgorithm

GCM = EncryptionAlgorithm.ENCR_AES_GCM_16
CHACHA = EncryptionAlgorithm.ENCR_CHACHA20_POLY1305
CBC = EncryptionAlgorithm.ENCR_AES_CBC
CTR = EncryptionAlgorithm.ENCR_AES_CTR
SHA256 = IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128
SHA384 = IntegrityAlgorithm.AUTH_HMAC_SHA2_384_192
SHA512 = IntegrityAlgorithm.AUTH_HMAC_SHA2_512_256
HASH_NAMES: Mapping[int, str] = {SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}

# RFC 3602 §4: key, IV, plaintext, ciphertext (of Cases 5 to 8: the ESP packets'
# padded payload data and encrypted data).
CBC_CASES = {
    "Case #1": (
        "06a9214036b8a15b512e03d534120006",
        "3dafba429d9eb430b422da802c9fac41",
        "53696e676c6520626c6f636b206d7367",
        "e353779c1079aeb82708942dbe77181a",
    ),
    "Case #2": (
        "c286696d887c9aa0611bbb3e2025a45a",
        "562e17996d093d28ddb3ba695a2e6f58",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
    ),
    "Case #3": (
        "6c3ea0477630ce21a2ce334aa746c2cd",
        "c782dc4c098c66cbd9cd27d825682c81",
        (
            "5468697320697320612034382d62797465206d65737361676520286578616374"
            "6c7920332041455320626c6f636b7329"
        ),
        (
            "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5"
            "021c19216bad525c8579695d83ba2684"
        ),
    ),
    "Case #4": (
        "56e47a38c5598974bc46903dba290349",
        "8ce82eefbea0da3c44699ed7db51b7d9",
        (
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
            "c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
        ),
        (
            "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e"
            "35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55"
        ),
    ),
    "Case #5": (
        "90d382b410eeba7ad938c46cec1a82bf",
        "e96e8c08ab465763fd098d45dd3ff893",
        (
            "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f1011121314151617"
            "18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637"
            "0102030405060708090a0b0c0d0e0e01"
        ),
        (
            "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856"
            "a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a"
            "a269add047ad2d5913ac19b7cfbad4a6"
        ),
    ),
    "Case #6": (
        "90d382b410eeba7ad938c46cec1a82bf",
        "69d08df7d203329db093fc4924e5bd80",
        "0800b5e8a80a0500a69c083d0b660e0077777777777777777777777701020201",
        "f51995881ec4e0c4488987ce742e8109689bb379d2d750c0d915dca346a89f75",
    ),
    "Case #7": (
        "0123456789abcdef0123456789abcdef",
        "f4e765244f6407adf13dc1380f673f37",
        (
            "45000054090400004001f988c0a87b03c0a87bc808009f76a90a0100b49c083d"
            "02a2040008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
            "2425262728292a2b2c2d2e2f30313233343536370102030405060708090a0a04"
        ),
        (
            "773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a93013c1b0ea1a0cf70f8"
            "e4ecaec78ac53aad7a0f022b859243c647752e94a859352b8a4d4d2decd136e5"
            "c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d"
        ),
    ),
    "Case #8": (
        "0123456789abcdef0123456789abcdef",
        "85d47224b5f3dd5d2101d4ea8dffab22",
        (
            "45000044090c00004001f990c0a87b03c0a87bc80800d63caa0a0200c69c083d"
            "a3de0300ffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffff0102030405060708090a0a04"
        ),
        (
            "15b92683819596a8047232cc00f7048fe45318e11f8a0f62ede3c3fc61203bb5"
            "0f980a08c9843fd3a1b06d5c07ff9639b7eb7dfb3512e5de435e7207ed971ef3"
            "d2726d9b5ef6affc6d17a0decbb13892"
        ),
    ),
}

# RFC 3686 §6: AES key, nonce, AES-CTR IV, plaintext, ciphertext.
CTR_CASES = {
    "Test Vector #1": (
        "ae6852f8121067cc4bf7a5765577f39e",
        "00000030",
        "0000000000000000",
        "53696e676c6520626c6f636b206d7367",
        "e4095d4fb7a7b3792d6175a3261311b8",
    ),
    "Test Vector #2": (
        "7e24067817fae0d743d6ce1f32539163",
        "006cb6db",
        "c0543b59da48d90b",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28",
    ),
    "Test Vector #3": (
        "7691be035e5020a8ac6e618529f9a0dc",
        "00e0017b",
        "27777f3f4a1786f0",
        ("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"),
        ("c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f"),
    ),
    "Test Vector #4": (
        "16af5b145fc9f579c175f93e3bfb0eed863d06ccfdb78515",
        "00000048",
        "36733c147d6d93cb",
        "53696e676c6520626c6f636b206d7367",
        "4b55384fe259c9c84e7935a003cbe928",
    ),
    "Test Vector #5": (
        "7c5cb2401b3dc33c19e7340819e0f69c678c3db8e6f6a91a",
        "0096b03b",
        "020c6eadc2cb500d",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "453243fc609b23327edfaafa7131cd9f8490701c5ad4a79cfc1fe0ff42f4fb00",
    ),
    "Test Vector #6": (
        "02bf391ee8ecb159b959617b0965279bf59b60a786d3e0fe",
        "0007bdfd",
        "5cbd60278dcc0912",
        ("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"),
        ("96893fc55e5c722f540b7dd1ddf7e758d288bc95c69165884536c811662f2188abee0935"),
    ),
    "Test Vector #7": (
        "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c104",
        "00000060",
        "db5672c97aa8f0b2",
        "53696e676c6520626c6f636b206d7367",
        "145ad01dbf824ec7560863dc71e3e0c0",
    ),
    "Test Vector #8": (
        "f6d66d6bd52d59bb0796365879eff886c66dd51a5b6a99744b50590c87a23884",
        "00faac24",
        "c1585ef15a43d875",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "f05e231b3894612c49ee000b804eb2a9b8306b508f839d6a5530831d9344af1c",
    ),
    "Test Vector #9": (
        "ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d",
        "001cc5b7",
        "51a51d70a1c11148",
        ("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"),
        ("eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8"),
    ),
}

# RFC 4868 §2.7.2: key, data, authenticator. For AUTH512-4 the RFC prints five lines
# of a key that it calls 64 octets long; the last four give the printed results.
AUTH_CASES = {
    "AUTH256-1": (
        "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        "4869205468657265",
        "198a607eb44bfbc69903a0f1cf2bbdc5",
    ),
    "AUTH256-2": (
        "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665",
        "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "167f928588c5cc2eef8e3093caa0e87c",
    ),
    "AUTH256-3": (
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        (
            "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
            "dddddddddddddddddddddddddddddddddddd"
        ),
        "cdcb1220d1ecccea91e53aba3092f962",
    ),
    "AUTH256-4": (
        "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
        (
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
        ),
        "372efcf9b40b35c2115b1346903d2ef4",
    ),
    "AUTH384-1": (
        (
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"
        ),
        "4869205468657265",
        "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973",
    ),
    "AUTH384-2": (
        (
            "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665"
            "4a6566654a6566654a6566654a656665"
        ),
        "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184d",
    ),
    "AUTH384-3": (
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        ),
        (
            "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
            "dddddddddddddddddddddddddddddddddddd"
        ),
        "809f439be00274321d4a538652164b53554a508184a0c316",
    ),
    "AUTH384-4": (
        (
            "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
            "0a0b0c0d0e0f10111213141516171819"
        ),
        (
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
        ),
        "5b540085c6e6358096532b2493609ed1cb298f774f87bb5c",
    ),
    "AUTH512-1": (
        (
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"
        ),
        "4869205468657265",
        "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
    ),
    "AUTH512-2": (
        (
            "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665"
            "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665"
        ),
        "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454",
    ),
    "AUTH512-3": (
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        ),
        (
            "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
            "dddddddddddddddddddddddddddddddddddd"
        ),
        "2ee7acd783624ca9398710f3ee05ae41b9f9b0510c87e49e586cc9bf961733d8",
    ),
    "AUTH512-4": (
        (
            "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
            "2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40"
        ),
        (
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
        ),
        "5e6688e5a3daec826ca32eaea224eff5e700628947470e13ad01302561bab108",
    ),
}

# RFC 7634 App. A.
CHACHA_KEYMAT = (
    "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3"
)
CHACHA_IV = "1011121314151617"
CHACHA_AAD = "0102030400000005"
CHACHA_PLAINTEXT = (
    "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10"
    "0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
    "2425262728292a2b2c2d2e2f303132333435363701020204"
)
CHACHA_CIPHERTEXT = (
    "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6"
    "14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3"
    "cbec163fac469b502773f6fb94e664da9165b82829f641e0"
)
CHACHA_TAG = "76aaa8266b7fb0f7b11b369907e1ad43"


def identify(spec: CipherSpec) -> str:
    """Name a combination in test reports."""
    return f"{spec.encr}-{spec.key_bits}-{spec.integ}"


def cipher_of(spec: CipherSpec, fill: int = 1) -> Cipher:
    """Take made-up keys into use."""
    key = bytes((fill + i) % 256 for i in range(spec.key_size))
    integrity_key = bytes((fill + i) % 251 for i in range(spec.integrity_key_size))
    return spec.new(key, integrity_key)


every_spec = pytest.mark.parametrize("spec", SUPPORTED, ids=identify)
combined = [spec for spec in SUPPORTED if spec.is_aead]
plain = [spec for spec in SUPPORTED if not spec.is_aead]


# --- published vectors ----------------------------------------------------------


@pytest.mark.parametrize("name", CBC_CASES)
def test_published_aes_cbc(name: str) -> None:
    """RFC 3602 §4."""
    key, iv, plaintext, ciphertext = map(bytes.fromhex, CBC_CASES[name])
    cipher = cipher_spec(CBC, 128, SHA256).new(key, bytes(32))
    sealed = cipher.seal(iv, plaintext, b"associated")
    assert sealed[:-16] == ciphertext
    assert cipher.open(iv, sealed, b"associated") == plaintext


@pytest.mark.parametrize("name", CTR_CASES)
def test_published_aes_ctr(name: str) -> None:
    """RFC 3686 §6: the nonce is the end of the keying material."""
    key, nonce, iv, plaintext, ciphertext = map(bytes.fromhex, CTR_CASES[name])
    cipher = cipher_spec(CTR, 8 * len(key), SHA256).new(key + nonce, bytes(32))
    sealed = cipher.seal(iv, plaintext, b"associated")
    assert sealed[:-16] == ciphertext
    assert cipher.open(iv, sealed, b"associated") == plaintext


@pytest.mark.parametrize("name", AUTH_CASES)
def test_published_authenticators(name: str) -> None:
    """RFC 4868 §2.7.2: with nothing to encrypt, IV and trailer are the data."""
    key, data, authenticator = map(bytes.fromhex, AUTH_CASES[name])
    integ = {"AUTH256": SHA256, "AUTH384": SHA384, "AUTH512": SHA512}[name[:7]]
    cipher = cipher_spec(CTR, 128, integ).new(bytes(20), key)
    assert cipher.seal(data[:8], b"", b"", data[8:]) == authenticator
    assert cipher.open(data[:8], authenticator, b"", data[8:]) == b""


def test_published_chacha20_poly1305() -> None:
    """RFC 7634 App. A."""
    cipher = cipher_spec(CHACHA, None, None).new(bytes.fromhex(CHACHA_KEYMAT), b"")
    iv, aad = bytes.fromhex(CHACHA_IV), bytes.fromhex(CHACHA_AAD)
    sealed = cipher.seal(iv, bytes.fromhex(CHACHA_PLAINTEXT), aad)
    assert sealed.hex() == CHACHA_CIPHERTEXT + CHACHA_TAG
    assert cipher.open(iv, sealed, aad).hex() == CHACHA_PLAINTEXT


# --- cross-checks where no vector is published ------------------------------------


@pytest.mark.parametrize("spec", combined, ids=identify)
def test_combined_mode_nonce_is_salt_then_iv(spec: CipherSpec) -> None:
    """RFC 4106 §4, RFC 7634 §2: key | salt in, nonce = salt | IV."""
    key, salt, iv = bytes(range(spec.key_size - 4)), b"salt", b"iv-iv-iv"
    primitive = ChaCha20Poly1305(key) if spec.encr == CHACHA else AESGCM(key)
    expected = primitive.encrypt(salt + iv, b"plaintext", b"associated")
    assert spec.new(key + salt, b"").seal(iv, b"plaintext", b"associated") == expected


@pytest.mark.parametrize("spec", plain, ids=identify)
def test_icv_covers_everything_in_order(spec: CipherSpec) -> None:
    """RFC 4303 §3.3.2.1, RFC 7296 §3.14: associated | IV | ciphertext | trailer."""
    integrity_key = bytes(range(100, 100 + spec.integrity_key_size))
    cipher = spec.new(bytes(range(spec.key_size)), integrity_key)
    iv = b"i" * spec.iv_size
    sealed = cipher.seal(iv, b"p" * 32, b"associated", b"high")
    ciphertext, icv = sealed[:32], sealed[32:]
    assert ciphertext != b"p" * 32
    covered = b"associated" + iv + ciphertext + b"high"
    mac = hmac.digest(integrity_key, covered, HASH_NAMES[spec.integ or 0])
    assert icv == mac[: spec.icv_size]
    assert len(icv) * 2 == len(mac)


# --- what every combination does --------------------------------------------------


@st.composite
def sealed_messages(
    draw: st.DrawFn,
) -> tuple[CipherSpec, bytes, bytes, bytes, bytes]:
    """Draw a combination, an IV, a plaintext, associated data and a trailer."""
    spec = draw(st.sampled_from(SUPPORTED))
    iv = draw(st.binary(min_size=spec.iv_size, max_size=spec.iv_size))
    size = spec.block_size * draw(st.integers(0, 160 // spec.block_size))
    plaintext = draw(st.binary(min_size=size, max_size=size))
    trailer = b"" if spec.is_aead else draw(st.binary(max_size=4))
    return spec, iv, plaintext, draw(st.binary(max_size=40)), trailer


@given(sealed_messages())
def test_round_trip(message: tuple[CipherSpec, bytes, bytes, bytes, bytes]) -> None:
    """What was sealed opens again, and is longer by the ICV alone."""
    spec, iv, plaintext, associated, trailer = message
    cipher = cipher_of(spec)
    sealed = cipher.seal(iv, plaintext, associated, trailer)
    assert len(sealed) == len(plaintext) + spec.icv_size
    assert cipher.open(iv, sealed, associated, trailer) == plaintext
    assert cipher_of(spec).open(iv, sealed, associated, trailer) == plaintext
    assert cipher.spec is spec


@given(sealed_messages(), st.integers(0))
def test_any_flipped_bit_is_noticed(
    message: tuple[CipherSpec, bytes, bytes, bytes, bytes], where: int
) -> None:
    """RFC 4303 §3.4.4: one bit anywhere in what is covered is enough."""
    spec, iv, plaintext, associated, trailer = message
    cipher = cipher_of(spec)
    parts = [iv, cipher.seal(iv, plaintext, associated, trailer), associated, trailer]
    bit = where % (8 * sum(map(len, parts)))
    for number, part in enumerate(parts):
        if bit < 8 * len(part):
            value = int.from_bytes(part, "big") ^ (1 << bit)
            parts[number] = value.to_bytes(len(part), "big")
            break
        bit -= 8 * len(part)
    with pytest.raises(IntegrityError):
        cipher.open(parts[0], parts[1], parts[2], parts[3])


@every_spec
def test_another_key_does_not_open(spec: CipherSpec) -> None:
    """A message sealed under one key is refused under another."""
    iv = bytes(spec.iv_size)
    sealed = cipher_of(spec, 1).seal(iv, bytes(32), b"associated")
    with pytest.raises(IntegrityError):
        cipher_of(spec, 2).open(iv, sealed, b"associated")


@every_spec
def test_messages_cut_short_are_refused(spec: CipherSpec) -> None:
    """Any prefix of IV and sealed octets, down to none, is an IntegrityError."""
    cipher, iv = cipher_of(spec), bytes(range(spec.iv_size))
    whole = iv + cipher.seal(iv, bytes(32), b"")
    for size in range(len(whole)):
        cut = whole[:size]
        with pytest.raises(IntegrityError):
            cipher.open(cut[: spec.iv_size], cut[spec.iv_size :], b"")


# --- what is refused --------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 15, 17])
def test_cbc_wants_whole_blocks(size: int) -> None:
    """RFC 3602 §2.4: padding is there before the cipher is."""
    cipher = cipher_of(cipher_spec(CBC, 128, SHA256))
    with pytest.raises(ValueError, match="blocks"):
        cipher.seal(bytes(16), bytes(size), b"")


@pytest.mark.parametrize(
    ("encr", "iv_size", "size"), [(CBC, 16, 17), (CBC, 15, 16), (CTR, 9, 5)]
)
def test_authentic_nonsense_is_refused(encr: int, iv_size: int, size: int) -> None:
    """A peer that authenticates impossible sizes gets no further than any other."""
    spec = cipher_spec(encr, 128, SHA256)
    iv, ciphertext = bytes(iv_size), bytes(size)
    icv = hmac.digest(bytes(32), b"aad" + iv + ciphertext, "sha256")[:16]
    with pytest.raises(IntegrityError):
        spec.new(bytes(spec.key_size), bytes(32)).open(iv, ciphertext + icv, b"aad")


@pytest.mark.parametrize("spec", combined, ids=identify)
def test_combined_modes_take_no_trailer(spec: CipherSpec) -> None:
    """RFC 4106 §5: extended sequence numbers stand in the associated data."""
    cipher = cipher_of(spec)
    sealed = cipher.seal(bytes(8), b"plaintext", b"")
    with pytest.raises(ValueError, match="trailer"):
        cipher.seal(bytes(8), b"plaintext", b"", b"high")
    with pytest.raises(ValueError, match="trailer"):
        cipher.open(bytes(8), sealed, b"", b"high")


@every_spec
def test_keys_of_other_sizes_are_refused(spec: CipherSpec) -> None:
    """RFC 4868 §2.1.1 for integrity keys; encryption keys include the salt."""
    integrity_key = bytes(spec.integrity_key_size)
    for size in (0, spec.key_size - 4, spec.key_size + 1):
        with pytest.raises(ValueError, match="octets"):
            spec.new(bytes(size), integrity_key)
    with pytest.raises(ValueError, match="integrity key"):
        spec.new(bytes(spec.key_size), integrity_key + b"x")


# --- the table --------------------------------------------------------------------


def test_sizes() -> None:
    """RFC 4106 §8.1, RFC 7634 §2, RFC 3602 §2.4, RFC 3686 §3.1, RFC 4868 §2.3."""

    def sizes(encr: int, key_bits: int | None, integ: int | None) -> list[int]:
        spec = cipher_spec(encr, key_bits, integ)
        key_sizes = [spec.key_size, spec.integrity_key_size]
        return [*key_sizes, spec.iv_size, spec.icv_size, spec.block_size]

    assert sizes(GCM, 128, None) == [20, 0, 8, 16, 1]
    assert sizes(GCM, 192, None) == [28, 0, 8, 16, 1]
    assert sizes(GCM, 256, 0) == [36, 0, 8, 16, 1]
    assert sizes(CHACHA, None, None) == [36, 0, 8, 16, 1]
    assert sizes(CBC, 128, SHA256) == [16, 32, 16, 16, 16]
    assert sizes(CBC, 192, SHA384) == [24, 48, 16, 24, 16]
    assert sizes(CTR, 192, SHA384) == [28, 48, 8, 24, 1]
    assert sizes(CTR, 256, SHA512) == [36, 64, 8, 32, 1]


def test_supported_is_complete() -> None:
    """Every AES key length with every integrity algorithm; each entry looks up."""
    assert len(SUPPORTED) == 3 + 1 + 2 * 3 * 3
    assert len(set(SUPPORTED_IN_ESP)) == len(SUPPORTED_IN_ESP) == len(SUPPORTED) + 4
    for spec in SUPPORTED_IN_ESP:
        assert cipher_spec(spec.encr, spec.key_bits, spec.integ) is spec


@pytest.mark.parametrize("spec", SUPPORTED_IN_ESP, ids=identify)
def test_an_implicit_iv_takes_no_room(spec: CipherSpec) -> None:
    """RFC 8750 §4: the same cipher, fed with the sequence number."""
    if spec in SUPPORTED:
        assert not spec.is_iv_implicit
        return
    assert spec.is_iv_implicit
    explicit = cipher_spec(spec.encr - (10 if spec.key_bits else 3), spec.key_bits, 0)
    key, number = bytes(range(spec.key_size)), bytes([0, 0, 0, 0, 0, 0, 0, 9])
    sealed = spec.new(key, b"").seal(number, b"inner", b"before")
    assert explicit.new(key, b"").open(number, sealed, b"before") == b"inner"
    assert (explicit.key_size, explicit.icv_size) == (spec.key_size, spec.icv_size)


def test_only_cbc_wants_unpredictable_ivs() -> None:
    """RFC 3602 §3; the others ask for uniqueness only."""
    for spec in SUPPORTED_IN_ESP:
        assert spec.needs_unpredictable_iv == (spec.encr == CBC)


@pytest.mark.parametrize(
    ("encr", "key_bits", "integ"),
    [
        (GCM, None, None),
        (GCM, 512, None),
        (GCM, 128, SHA256),
        (EncryptionAlgorithm.ENCR_AES_GCM_16_IIV, None, None),
        (EncryptionAlgorithm.ENCR_AES_GCM_16_IIV, 128, SHA256),
        (EncryptionAlgorithm.ENCR_CHACHA20_POLY1305_IIV, 256, None),
        (CHACHA, 256, None),
        (CHACHA, None, SHA256),
        (CBC, None, SHA256),
        (CBC, 128, None),
        (CTR, 128, 0),
        (CBC, 128, IntegrityAlgorithm.AUTH_HMAC_SHA1_96),
        (EncryptionAlgorithm.ENCR_3DES, None, SHA256),
        (EncryptionAlgorithm.ENCR_NULL, None, SHA256),
        (65535, 128, None),
    ],
)
def test_other_combinations_are_refused(
    encr: int, key_bits: int | None, integ: int | None
) -> None:
    """RFC 7296 §3.3.5, RFC 5282 §8, RFC 3686 §2.1, and what is legacy."""
    with pytest.raises(ValueError, match="no cipher"):
        cipher_spec(encr, key_bits, integ)


@every_spec
def test_keys_stay_out_of_repr(spec: CipherSpec) -> None:
    """No secret shows where a cipher is printed."""
    text = repr(spec.new(b"K" * spec.key_size, b"K" * spec.integrity_key_size))
    assert "KKKK" not in text
    assert (b"K" * 4).hex() not in text
