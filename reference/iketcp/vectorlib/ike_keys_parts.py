"""Keys that come from one key exchange or from several, as fields of a test.

Source: RFC 7296 §2.17, RFC 7296 §2.18, RFC 9370 §2.2.4
"""

from collections.abc import Sequence

from iketcp.vectorlib import plain
from iketcp.vectorlib.assembly import octets
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.plain import CipherCase, ike_keys


def rekeyed(
    number: int,
    new_prf: int,
    cipher: CipherCase,
    label: str,
    g_ir_size: int,
    further: Sequence[bytes] = (),
) -> Json:
    """Derive the keys of a rekeyed IKE SA, also from further key exchanges.

    Source: RFC 7296 §2.18, RFC 9370 §2.2.4
    """
    old_sk_d = octets(f"{label} sk_d", plain.PRF_SIZES[number])
    g_ir = octets(f"{label} g^ir", g_ir_size)
    ni, nr = octets(f"{label} ni", 32), octets(f"{label} nr", 40)
    spi_i, spi_r = octets(f"{label} spi i", 8), octets(f"{label} spi r", 8)
    skeyseed = plain.prf(number, old_sk_d, b"".join((g_ir, ni, nr, *further)))
    return {
        "cipher": cipher.json(),
        "newPrf": new_prf,
        "oldSkD": old_sk_d,
        "ni": ni,
        "nr": nr,
        "spiI": spi_i,
        "spiR": spi_r,
        "gIr": g_ir,
        **({"further": list(further)} if further else {}),
        "skeyseed": skeyseed,
        **ike_keys(new_prf, cipher, skeyseed, ni + nr + spi_i + spi_r),
    }


def child_keys(
    number: int,
    cipher: CipherCase,
    label: str,
    g_ir_size: int,
    further: Sequence[bytes] = (),
) -> Json:
    """Derive the keys of a Child SA, also from further key exchanges.

    Source: RFC 7296 §2.17, RFC 9370 §2.2.4
    """
    sk_d = octets(f"{label} sk_d", plain.PRF_SIZES[number])
    ni, nr = octets(f"{label} ni", 32), octets(f"{label} nr", 32)
    g_ir = octets(f"{label} g^ir", g_ir_size)
    sizes = (cipher.encryption_key, cipher.integrity_key) * 2
    names = ("encryptionI", "integrityI", "encryptionR", "integrityR")
    seed = b"".join((g_ir, ni, nr, *further))
    keymat = plain.prf_plus(number, sk_d, seed, sum(sizes))
    return {
        "cipher": cipher.json(),
        "skD": sk_d,
        "ni": ni,
        "nr": nr,
        "gIr": g_ir,
        **({"further": list(further)} if further else {}),
        **dict(zip(names, plain.cut(keymat, *sizes), strict=True)),
    }
