"""The file ``ike_keys_test.json``: from a shared secret to every key of an SA.

Source: RFC 7296 §2.14, RFC 7296 §2.17, RFC 7296 §2.18, RFC 8784 §3
"""

from collections.abc import Iterator

from iketcp.vectorlib import ike_keys_further, plain
from iketcp.vectorlib.assembly import case, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile
from iketcp.vectorlib.ike_keys_parts import child_keys, rekeyed
from iketcp.vectorlib.plain import CIPHERS, FAMILIES, CipherCase, ike_keys

NAME = "ike_keys"
SPEC = "RFC 7296 §2.13, §2.14"
REKEY_SPEC = "RFC 7296 §2.18, §2.14"
CHILD_SPEC = "RFC 7296 §2.17"
PPK_SPEC = "RFC 8784 §3; RFC 7296 §2.13"

HEADER = [
    "Keys of IKE SAs and Child SAs. cipher tells the sizes, in octets:"
    " encryptionKeySize with the salt or nonce behind the key, integrityKeySize 0 with"
    " a combined-mode cipher. SK_d, SK_pi and SK_pr are as long as the prf's output.",
    "IkeKeys: skeyseed = prf(ni | nr, gIr), and the seven keys are cut from prf+"
    "(skeyseed, ni | nr | spiI | spiR) in the order of the members.",
    "RekeyedIkeKeys: skeyseed = prf(oldSkD, gIr | ni | nr) with the group's prf, which"
    " is the old IKE SA's; newPrf then gives the keys. SPIs are the new IKE SA's.",
    "ChildKeys: prf+(skD, gIr | ni | nr), where gIr is empty without a key exchange of"
    " the Child SA's own; i keys go from the exchange's initiator to its responder.",
    "Nonces are the payload's contents, without its header.",
    "PpkKeys: skD = prf+(ppk, skDWithout), and skPi and skPr likewise, each as long as"
    " before; the other four keys of the IKE SA stay as they are.",
    *ike_keys_further.HEADER,
]

NOTES = {
    **ike_keys_further.NOTES,
    "LeadingZero": (
        "EDGE_CASE",
        "The shared secret begins with octets of zero, which count.",
        "Other keys than the peer's, once in 256 exchanges.",
    ),
    "LongPpk": (
        "EDGE_CASE",
        "A PPK longer than a block of the hash.",
        "A PPK cut short, or refused.",
    ),
    "NewPrf": (
        "EDGE_CASE",
        "The rekey changes the pseudorandom function.",
        "Taking the new one for SKEYSEED gives other keys than the peer's.",
    ),
    "NonceSize": (
        "EDGE_CASE",
        "Nonces of the smallest and largest size, or of two sizes.",
        "Buffers too small, or nonces cut.",
    ),
    "Ordinary": ("BASIC", "What every SA derives.", "No tunnel."),
    "OwnKeyExchange": (
        "BASIC",
        "The Child SA has a key exchange of its own.",
        "Leaving it out gives other keys and no forward secrecy.",
    ),
}


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §2.14, RFC 7296 §2.17, RFC 7296 §2.18, RFC 8784 §3, RFC 9370 §2.2
    """
    groups = []
    for kind, cases in (
        ("IkeKeys", ike_cases),
        ("RekeyedIkeKeys", rekey_cases),
        ("ChildKeys", child_cases),
        ("PpkKeys", ppk_cases),
        ("UpdatedIkeKeys", ike_keys_further.update_cases),
        ("FollowedUpIkeKeys", ike_keys_further.rekey_cases),
        ("FollowedUpChildKeys", ike_keys_further.child_cases),
    ):
        for number in plain.PRFS:
            groups.append(
                group(
                    kind,
                    "iketcp/ike_keys",
                    list(cases(number)),
                    prf=number,
                    prfName=plain.PRF_NAMES[number],
                )
            )
    return vector_file(NAME, "IKE-KEYS", HEADER, NOTES, groups)


def ike_cases(number: int) -> Iterator[Json]:
    """Derive the keys of first IKE SAs."""
    for cipher in CIPHERS if number == 5 else FAMILIES:
        yield ike_case(number, cipher, cipher.name, "Ordinary")
    gcm = CIPHERS[2]
    for sizes in ((16, 16), (256, 256), (16, 256), (33, 48)):
        comment = f"nonces of {sizes[0]} and {sizes[1]} octets"
        yield ike_case(number, gcm, comment, "NonceSize", sizes)
    comment = "shared secret with leading zeros"
    secret = bytes(2) + octets("leading zeros", 30)
    yield ike_case(number, gcm, comment, "LeadingZero", g_ir=secret)


def ike_case(
    number: int,
    cipher: CipherCase,
    comment: str,
    flags: str,
    sizes: tuple[int, int] = (32, 32),
    g_ir: bytes = b"",
) -> Json:
    """Derive the keys of one first IKE SA."""
    label = f"ike keys {number} {comment}"
    ni, nr = octets(f"{label} ni", sizes[0]), octets(f"{label} nr", sizes[1])
    spi_i, spi_r = octets(f"{label} spi i", 8), octets(f"{label} spi r", 8)
    g_ir = g_ir or octets(f"{label} g^ir", 32)
    skeyseed = plain.prf(number, ni + nr, g_ir)
    return case(
        comment,
        flags,
        SPEC,
        cipher=cipher.json(),
        ni=ni,
        nr=nr,
        spiI=spi_i,
        spiR=spi_r,
        gIr=g_ir,
        skeyseed=skeyseed,
        **ike_keys(number, cipher, skeyseed, ni + nr + spi_i + spi_r),
    )


def rekey_cases(number: int) -> Iterator[Json]:
    """Derive the keys of IKE SAs that take the place of an old one."""
    for new_prf in plain.PRFS:
        for cipher in (CIPHERS[0], CIPHERS[6]):
            label = f"rekey {number} {new_prf} {cipher.name}"
            yield case(
                f"to {plain.PRF_NAMES[new_prf]}, {cipher.name}",
                "Ordinary" if new_prf == number else "NewPrf",
                REKEY_SPEC,
                **rekeyed(number, new_prf, cipher, label, 64),
            )


def child_cases(number: int) -> Iterator[Json]:
    """Derive the keys of Child SAs, with and without a key exchange."""
    for cipher in CIPHERS if number == 5 else FAMILIES:
        yield child_case(number, cipher, has_exchange=False)
    for cipher in FAMILIES:
        yield child_case(number, cipher, has_exchange=True)


def child_case(number: int, cipher: CipherCase, has_exchange: bool) -> Json:
    """Derive the keys of one Child SA."""
    own = "with" if has_exchange else "without"
    label = f"child {number} {cipher.name} {own}"
    return case(
        f"{cipher.name}, {own} a key exchange of its own",
        "OwnKeyExchange" if has_exchange else "Ordinary",
        CHILD_SPEC,
        **child_keys(number, cipher, label, 32 if has_exchange else 0),
    )


def ppk_cases(number: int) -> Iterator[Json]:
    """Mix PPKs of several sizes into the keys of first IKE SAs."""
    for size in (1, 16, 32, 64, 200):
        label = f"ppk {number} {size}"
        ppk, width = octets(f"{label} ppk", size), plain.PRF_SIZES[number]
        names = ("skD", "skPi", "skPr")
        before = {name: octets(f"{label} {name}", width) for name in names}
        keys: Json = {f"{name}Without": before[name] for name in names}
        for name in names:
            keys[name] = plain.prf_plus(number, ppk, before[name], width)
        yield case(
            f"PPK of {size} octets",
            "LongPpk" if size > 128 else "Ordinary",
            PPK_SPEC,
            ppk=ppk,
            **keys,
        )
