"""Post-quantum preshared keys: what ``[[ppk]]`` says.

Source: RFC 8784 §2, RFC 8784 §6
"""

from pathlib import Path

from iketcp.config.psk import decode_psk, weakness
from iketcp.config.reader import Document, Section
from iketcp.config.secret_files import read_secret
from iketcp.ike.credentials import Ppk

STRONG = 32
"""Octets: with 256 bits there are 128 left before a quantum computer.

Source: RFC 8784 §6
"""


def read_ppks(document: Document, folder: Path, warnings: list[str]) -> tuple[Ppk, ...]:
    """Read every PPK, in the order of the file.

    Parameters
    ----------
    folder : Path
        Where a path that is not absolute counts from.
    warnings : list[str]
        Grows with keys that look weak, or that others can read.

    Raises
    ------
    ConfigurationError
        A key cannot be read, or is given twice; or one that is all that proves an
        identity is not required.

    Source: RFC 8784 §2
    """
    ppks: list[Ppk] = []
    for section in document.all("ppk"):
        ppk = Ppk(
            section["id"].encode(),
            _read_key(section, folder, warnings),
            section["identity"],
            section["required"],
        )
        if any((each.id, each.peer) == (ppk.id, ppk.peer) for each in ppks):
            raise section.error("id", f"{section['id']} has a key already")
        ends = (document.one("local"), document.one("remote"))
        if "null" in [end["auth"] for end in ends] and not ppk.is_mandatory:
            # RFC 8784 §5.2.3
            raise section.error("required", 'must be true with auth = "null"')
        ppks.append(ppk)
    return tuple(ppks)


def _read_key(section: Section, folder: Path, warnings: list[str]) -> bytes:
    found = read_secret(section, "ppk", folder, warnings)
    if found is None:
        sentence = "[[ppk]] needs one of the keys 'ppk_file' and 'ppk_env'"
        raise section.source.error(section.path, sentence)
    octets, key, where = found
    try:
        secret = decode_psk(octets)
    except ValueError as error:
        raise section.error(key, f"is wrong: {where} {error}") from error
    reason = weakness(secret, STRONG)
    if reason is not None:
        warnings.append(f"{where} holds a secret {reason}")
    return secret
