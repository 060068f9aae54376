"""The file ``key_encapsulation_test.json``: ML-KEM as a key exchange method.

What is expected comes from :mod:`plain_ml_kem <iketcp.vectorlib.plain_ml_kem>`; what
our implementation uses is OpenSSL's.

Source: RFC 9370 §2.1
"""

from collections.abc import Iterator

from iketcp.vectorlib import plain_ml_kem
from iketcp.vectorlib.assembly import case, flipped, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "key_encapsulation"
NAMES = {36: "ML_KEM_768", 37: "ML_KEM_1024"}
CIPHERTEXT_SIZES = {36: 1088, 37: 1568}
SPEC = "RFC 9370 §2.1"

HEADER = [
    "ML-KEM (FIPS 203) in key exchanges. method is IANA's number (Transform Type 4).",
    "Decapsulation, the initiator's half: seed is d | z, 64 octets, encapsulationKey"
    " what goes into its KE payload, ciphertext what came in the responder's, and"
    " shared the secret. A ciphertext that nobody made gives a secret, too: it is"
    " valid, and the keys do not fit.",
    "Encapsulation, the responder's half: encapsulationKey came in the initiator's KE"
    " payload. randomness is m of FIPS 203, 32 octets; whoever can feed it must get"
    " ciphertext and shared, whoever cannot checks sizes, and that bad keys are"
    " refused.",
    "Invalid: the value must be refused before anything is derived from it.",
]

NOTES = {
    "ImplicitRejection": (
        "BASIC",
        "A ciphertext of the right size that no encapsulation made.",
        "An error instead of a wrong secret tells an attacker about the key.",
    ),
    "NotReduced": (
        "EDGE_CASE",
        "A coefficient of the encapsulation key is 3329 or more.",
        "Two names for one key; FIPS 203, section 7.2 wants it refused.",
    ),
    "Ordinary": ("BASIC", "A usual exchange.", "No tunnel."),
    "WrongSize": (
        "EDGE_CASE",
        "More or fewer octets than the method has.",
        "Reading beyond the value, or padding what no honest peer sent.",
    ),
}


def build() -> VectorFile:
    """Build the file's contents."""
    groups = []
    for method in NAMES:
        groups.append(_group("Decapsulation", method, list(decapsulations(method))))
        groups.append(_group("Encapsulation", method, list(encapsulations(method))))
    return vector_file(NAME, "IKE-KEY-ENCAPSULATION", HEADER, NOTES, groups)


def _group(kind: str, method: int, tests: list[Json]) -> Json:
    source = "iketcp/key_encapsulation"
    return group(kind, source, tests, method=method, methodName=NAMES[method])


def _wrong_sizes(value: bytes) -> Iterator[tuple[str, bytes]]:
    yield "no octets", b""
    yield "last octet missing", value[:-1]
    yield "a zero behind it", value + b"\0"


def decapsulations(method: int) -> Iterator[Json]:
    """Make the initiator's cases."""
    seed = octets(f"ml-kem {method} seed", 64)
    key = plain_ml_kem.encapsulation_key(method, seed)
    randomness = octets(f"ml-kem {method} randomness", 32)
    ciphertext, secret = plain_ml_kem.encapsulate(method, key, randomness)
    size = CIPHERTEXT_SIZES[method]

    def made(comment: str, flag: str, value: bytes, shared: bytes, **rest: str) -> Json:
        return case(
            comment,
            flag,
            SPEC,
            seed=seed,
            encapsulationKey=key,
            ciphertext=value,
            shared=shared,
            **rest,
        )

    yield made("what the responder sent", "Ordinary", ciphertext, secret)
    for comment, wrong in (
        ("first octet changed by a bit", flipped(ciphertext, 0)),
        ("last octet changed by a bit", flipped(ciphertext, -1)),
        ("zeros only", bytes(size)),
        ("ones only", b"\xff" * size),
    ):
        rejected = plain_ml_kem.rejection_secret(seed, wrong)
        yield made(comment, "ImplicitRejection", wrong, rejected)
    for comment, wrong in _wrong_sizes(ciphertext):
        refusal = {"error": "InvalidPublicValue", "reaction": "refuse"}
        yield made(comment, "WrongSize", wrong, b"", **refusal)


def encapsulations(method: int) -> Iterator[Json]:
    """Make the responder's cases."""
    key = plain_ml_kem.encapsulation_key(method, octets(f"ml-kem {method} other", 64))
    for number in range(3):
        randomness = octets(f"ml-kem {method} m {number}", 32)
        ciphertext, secret = plain_ml_kem.encapsulate(method, key, randomness)
        yield case(
            f"a usual exchange, {number + 1}",
            "Ordinary",
            SPEC,
            encapsulationKey=key,
            randomness=randomness,
            ciphertext=ciphertext,
            shared=secret,
        )
    polynomials = 384 * plain_ml_kem.PARAMETERS[method].k
    at_q = (3329).to_bytes(2, "little")
    wrongs = [
        # 12 bits, little-endian: 3329 is 01 0d, and the second nibble is the next one's
        ("first coefficient 3329", "NotReduced", at_q + key[2:]),
        ("first coefficient 4095", "NotReduced", b"\xff" + b"\x0f" + key[2:]),
        (
            "last coefficient 4095",
            "NotReduced",
            key[: polynomials - 2] + b"\xff\xff" + key[polynomials:],
        ),
        *((comment, "WrongSize", wrong) for comment, wrong in _wrong_sizes(key)),
    ]
    for comment, flag, wrong in wrongs:
        yield case(
            comment,
            flag,
            SPEC,
            error="InvalidPublicValue",
            reaction="refuse",
            encapsulationKey=wrong,
            randomness=b"",
            ciphertext=b"",
            shared=b"",
        )
