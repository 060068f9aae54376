"""The file ``prf_test.json``: pseudorandom functions, ``prf+``, integrity algorithms.

Source: RFC 7296 §2.13, RFC 4231 §4, RFC 4868 §2.7
"""

from collections.abc import Iterator

from iketcp.vectorlib import plain
from iketcp.vectorlib.assembly import case, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile
from iketcp.vectorlib.prf_published import FULL_KEY_CASES, HMAC_CASES

NAME = "prf"

HEADER = [
    "Groups of type Prf: output = prf(key, data). prf is IANA's number of the"
    " pseudorandom function (Transform Type 2).",
    "Groups of type PrfPlus: output = the first size octets of prf+(key, seed). An"
    " invalid one asks for more than 255 blocks and must be refused; its output is"
    " empty.",
    "Groups of type Integrity: icv = the truncated HMAC of data under key. integ is"
    " IANA's number of the integrity algorithm (Transform Type 3).",
    "A group whose source names an RFC holds that RFC's values.",
]

NOTES = {
    "Misprint": (
        "BASIC",
        "The RFC prints 16 octets too many before this key; without them the published"
        " output comes out.",
        "None, if the key is taken as it stands here.",
    ),
    "Ordinary": ("BASIC", "Keys and data of usual sizes.", "No peer interoperates."),
    "Published": ("BASIC", "A value printed in an RFC.", "No peer interoperates."),
    "ShortOutput": (
        "EDGE_CASE",
        "output holds only the first octets; the function gives more.",
        "None: compare as many octets as there are.",
    ),
    "TooLong": (
        "EDGE_CASE",
        "The one-octet counter of prf+ cannot number so many blocks.",
        "A counter that wraps repeats key material.",
    ),
    "Uneven": (
        "EDGE_CASE",
        "The size asked for is no multiple of the output size.",
        "Keys cut from the stream at the wrong place.",
    ),
}


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §2.13, RFC 4231 §4, RFC 4868 §2.7.2
    """
    groups = [hmac_group(place, number) for place, number in enumerate(plain.PRFS)]
    groups += [full_key_group(number) for number in plain.PRFS]
    groups += [stream_group(number) for number in plain.PRFS]
    groups += [integrity_group(integ) for integ in plain.INTEGRITY_HASHES]
    return vector_file(NAME, "IKE-PRF", HEADER, NOTES, groups)


def hmac_group(place: int, number: int) -> Json:
    """Import RFC 4231 for one hash."""
    tests = []
    for section, key, data, outputs in HMAC_CASES:
        is_short = len(outputs[place]) < 2 * plain.PRF_SIZES[number]
        tests.append(
            case(
                f"test case of {section}",
                "Published ShortOutput" if is_short else "Published",
                f"{section}; RFC 7296 §2.13",
                key=key,
                data=data,
                output=outputs[place],
            )
        )
    return group("Prf", "RFC 4231 §4", tests, **prf_parameters(number))


def full_key_group(number: int) -> Json:
    """Import RFC 4868's test cases, whose keys are as long as the output."""
    tests = [
        case(
            f"test case {name}",
            flags_of(name),
            "RFC 4868 §2.7.2",
            key=key,
            data=data,
            output=output,
        )
        for bits, name, key, data, output, _ in FULL_KEY_CASES
        if bits == 8 * plain.PRF_SIZES[number]
    ]
    return group("Prf", "RFC 4868 §2.7.2", tests, **prf_parameters(number))


def integrity_group(integ: int) -> Json:
    """Import RFC 4868's truncated outputs."""
    hash_name = plain.INTEGRITY_HASHES[integ]
    tests = [
        case(
            f"test case {name}",
            flags_of(name),
            "RFC 4868 §2.3, §2.7.2",
            key=key,
            data=data,
            icv=icv,
        )
        for bits, name, key, data, _, icv in FULL_KEY_CASES
        if hash_name == f"sha{bits}"
    ]
    return group("Integrity", "RFC 4868 §2.7.2", tests, integ=integ)


def flags_of(name: str) -> str:
    """Return the flags of a test case of RFC 4868."""
    return "Published Misprint" if name == "AUTH512-4" else "Published"


def stream_group(number: int) -> Json:
    """Stretch keys with ``prf+``."""
    tests = list(stream_cases(number))
    return group("PrfPlus", "iketcp/prf", tests, **prf_parameters(number))


def stream_cases(number: int) -> Iterator[Json]:
    """Try sizes round the edges of a block, and one that is out of reach."""
    width = plain.PRF_SIZES[number]
    sizes = (1, width - 1, width, width + 1, 3 * width, 7 * width + 5)
    for size in sizes:
        key = octets(f"prf+ key {number}", width)
        seed = octets(f"prf+ seed {number}", 48)
        yield case(
            f"{size} octets of {width}-octet blocks",
            "Uneven" if size % width else "Ordinary",
            "RFC 7296 §2.13",
            key=key,
            seed=seed,
            size=size,
            output=plain.prf_plus(number, key, seed, size),
        )
    yield case(
        "one octet more than 255 blocks",
        "TooLong",
        "RFC 7296 §2.13",
        error="TooLong",
        reaction="refuse",
        key=octets(f"prf+ key {number}", width),
        seed=b"",
        size=255 * width + 1,
        output=b"",
    )


def prf_parameters(number: int) -> Json:
    """Say which pseudorandom function a group is about."""
    return {"prf": number, "prfName": plain.PRF_NAMES[number]}
