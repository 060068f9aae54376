"""Published encryptions with AES-CBC, alone and inside ESP packets.

Source: RFC 3602 §4
"""

from iketcp.vectorlib.assembly import case, group
from iketcp.vectorlib.envelope import Json

KIND = "CbcEncryption"

_PING = "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
_PING += "202122232425262728292a2b2c2d2e2f3031323334353637"

# Name, key, IV, payload, Next Header of ESP or none, ciphertext.
_CASES: tuple[tuple[str, str, str, str, int | None, str], ...] = (
    (
        "one block",
        "06a9214036b8a15b512e03d534120006",
        "3dafba429d9eb430b422da802c9fac41",
        b"Single block msg".hex(),
        None,
        "e353779c1079aeb82708942dbe77181a",
    ),
    (
        "two blocks",
        "c286696d887c9aa0611bbb3e2025a45a",
        "562e17996d093d28ddb3ba695a2e6f58",
        bytes(range(32)).hex(),
        None,
        "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
    ),
    (
        "three blocks",
        "6c3ea0477630ce21a2ce334aa746c2cd",
        "c782dc4c098c66cbd9cd27d825682c81",
        b"This is a 48-byte message (exactly 3 AES blocks)".hex(),
        None,
        "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5"
        "021c19216bad525c8579695d83ba2684",
    ),
    (
        "four blocks",
        "56e47a38c5598974bc46903dba290349",
        "8ce82eefbea0da3c44699ed7db51b7d9",
        bytes(range(0xA0, 0xE0)).hex(),
        None,
        "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e"
        "35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
    ),
    (
        "transport mode, a ping",
        "90d382b410eeba7ad938c46cec1a82bf",
        "e96e8c08ab465763fd098d45dd3ff893",
        "08000ebda70a00008e9c083db95b0700" + _PING,
        1,
        "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856"
        "a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a"
        "a269add047ad2d5913ac19b7cfbad4a6",
    ),
    (
        "transport mode, a short ping",
        "90d382b410eeba7ad938c46cec1a82bf",
        "69d08df7d203329db093fc4924e5bd80",
        "0800b5e8a80a0500a69c083d0b660e00" + "77" * 12,
        1,
        "f51995881ec4e0c4488987ce742e8109689bb379d2d750c0d915dca346a89f75",
    ),
    (
        "tunnel mode, a ping",
        "0123456789abcdef0123456789abcdef",
        "f4e765244f6407adf13dc1380f673f37",
        "45000054090400004001f988c0a87b03c0a87bc8"
        "08009f76a90a0100b49c083d02a20400" + _PING,
        4,
        "773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a93013c1b0ea1a0cf70f8"
        "e4ecaec78ac53aad7a0f022b859243c647752e94a859352b8a4d4d2decd136e5"
        "c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d",
    ),
    (
        "tunnel mode, a short ping",
        "0123456789abcdef0123456789abcdef",
        "85d47224b5f3dd5d2101d4ea8dffab22",
        "45000044090c00004001f990c0a87b03c0a87bc8"
        "0800d63caa0a0200c69c083da3de0300" + "ff" * 32,
        4,
        "15b92683819596a8047232cc00f7048fe45318e11f8a0f62ede3c3fc61203bb5"
        "0f980a08c9843fd3a1b06d5c07ff9639b7eb7dfb3512e5de435e7207ed971ef3"
        "d2726d9b5ef6affc6d17a0decbb13892",
    ),
)


def published_cbc() -> Json:
    """Import the eight cases of RFC 3602, which have no ICV.

    Source: RFC 3602 §4
    """
    tests = []
    for comment, key, iv, payload, next_header, ciphertext in _CASES:
        size = len(payload) // 2
        padding = bytes(range(1, 1 + (0 if next_header is None else -(size + 2) % 16)))
        tests.append(
            case(
                comment,
                "Published",
                "RFC 3602 §4",
                encryptionKey=key,
                iv=iv,
                payload=payload,
                padding=padding,
                nextHeader=next_header,
                ciphertext=ciphertext,
            )
        )
    return group(KIND, "RFC 3602 §4", tests)
