"""Test groups of the keys that additional key exchanges make.

They stand in ``ike_keys_test.json``, behind those of a single key exchange.

Source: RFC 9370 §2.2.2, RFC 9370 §2.2.4
"""

from collections.abc import Iterator

from iketcp.vectorlib import plain
from iketcp.vectorlib.assembly import case, octets
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.ike_keys_parts import child_keys, rekeyed
from iketcp.vectorlib.plain import CIPHERS, FAMILIES, CipherCase, ike_keys

UPDATE_SPEC = "RFC 9370 §2.2.2; RFC 7296 §2.14"
REKEY_SPEC = "RFC 9370 §2.2.4; RFC 7296 §2.18, §2.14"
CHILD_SPEC = "RFC 9370 §2.2.4; RFC 7296 §2.17"

HEADER = [
    "UpdatedIkeKeys: after an IKE_INTERMEDIATE with the shared secret gIr, skeyseed ="
    " prf(skDBefore, gIr | ni | nr), and the seven keys as ever; ni, nr and the SPIs"
    " are those of IKE_SA_INIT.",
    "FollowedUpIkeKeys, FollowedUpChildKeys: as RekeyedIkeKeys and ChildKeys, with the"
    " shared secrets of IKE_FOLLOWUP_KE, further, one behind the other after ni | nr.",
]

NOTES = {
    "Further": (
        "BASIC",
        "Keys of additional key exchanges.",
        "No tunnel with a peer that asks for them.",
    ),
}

SIZES = {"ML-KEM": 32, "Curve448": 56, "2048-bit MODP": 256}
"""Octets of a shared secret."""


def secrets(label: str, names: tuple[str, ...]) -> list[bytes]:
    """Draw shared secrets, each of another size."""
    return [octets(f"{label} {name}", SIZES[name]) for name in names]


SERIES = (("ML-KEM",), ("ML-KEM", "Curve448"), ("2048-bit MODP", "ML-KEM", "Curve448"))


def update_cases(number: int) -> Iterator[Json]:
    """Update the keys of an IKE SA, one exchange after the other."""
    for cipher in (CIPHERS[2], CIPHERS[6]):
        label = f"update {number} {cipher.name}"
        sk_d = octets(f"{label} sk_d", plain.PRF_SIZES[number])
        ni, nr = octets(f"{label} ni", 32), octets(f"{label} nr", 48)
        spi_i, spi_r = octets(f"{label} spi i", 8), octets(f"{label} spi r", 8)
        for count, (name, size) in enumerate(SIZES.items(), 1):
            shared = octets(f"{label} {name}", size)
            if count == 1:
                shared = b"\0\0" + shared[2:]
            skeyseed = plain.prf(number, sk_d, shared + ni + nr)
            keys = ike_keys(number, cipher, skeyseed, ni + nr + spi_i + spi_r)
            yield case(
                f"{cipher.name}, exchange {count}: {name}",
                "Further LeadingZero" if count == 1 else "Further",
                UPDATE_SPEC,
                cipher=cipher.json(),
                skDBefore=sk_d,
                ni=ni,
                nr=nr,
                spiI=spi_i,
                spiR=spi_r,
                gIr=shared,
                skeyseed=skeyseed,
                **keys,
            )
            sk_d = keys["skD"]


def rekey_cases(number: int) -> Iterator[Json]:
    """Derive the keys of rekeyed IKE SAs."""
    for names in SERIES:
        for new_prf in plain.PRFS:
            yield rekey_case(number, new_prf, names)


def rekey_case(number: int, new_prf: int, names: tuple[str, ...]) -> Json:
    """Derive the keys of one rekeyed IKE SA."""
    cipher, label = CIPHERS[0], f"followed up {number} {new_prf} {names}"
    return case(
        f"{', '.join(names)}; to {plain.PRF_NAMES[new_prf]}",
        "Further" if new_prf == number else "Further NewPrf",
        REKEY_SPEC,
        **rekeyed(number, new_prf, cipher, label, 32, secrets(label, names)),
    )


def child_cases(number: int) -> Iterator[Json]:
    """Derive the keys of Child SAs."""
    for names, cipher in zip((*SERIES, SERIES[0]), FAMILIES, strict=True):
        yield child_case(number, cipher, names)


def child_case(number: int, cipher: CipherCase, names: tuple[str, ...]) -> Json:
    """Derive the keys of one Child SA."""
    label = f"followed up child {number} {cipher.name}"
    return case(
        f"{cipher.name}; {', '.join(names)}",
        "Further OwnKeyExchange",
        CHILD_SPEC,
        **child_keys(number, cipher, label, 32, secrets(label, names)),
    )
