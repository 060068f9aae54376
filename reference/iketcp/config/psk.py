"""Pre-shared keys, from files and environment variables; never from the text itself.

Source: RFC 7296 §2.15
"""

import base64
import binascii
import os
import stat
from pathlib import Path

from iketcp.config.reader import Section

WEAK_BELOW = 16
"""Octets under which a secret draws a warning: 128 bits at the very best.

Source: RFC 7296 §2.15 (as much unpredictability as the strongest key negotiated)
"""

_LARGEST = 65536


def read_psk(section: Section, folder: Path) -> tuple[bytes | None, list[str]]:
    """Read the secret that a table names.

    Parameters
    ----------
    section : Section
        A table with ``psk_file`` and ``psk_env``.
    folder : Path
        Where a path that is not absolute counts from.

    Returns
    -------
    tuple[bytes | None, list[str]]
        The secret, ``None`` where the table names none, and warnings.

    Raises
    ------
    ConfigurationError
        Both keys are there; or the file or variable is missing, empty, too large, or
        not what its prefix announces.

    Source: RFC 7296 §2.15
    """
    file, variable = section["psk_file"], section["psk_env"]
    if file is not None and variable is not None:
        raise section.error("psk_env", "cannot stand beside psk_file; choose one")
    warnings: list[str] = []
    if file is not None:
        key, where = "psk_file", str(file)
        octets = _read_file(section, folder / file, where, warnings)
    elif variable is not None:
        key, where = "psk_env", f"${variable}"
        octets = _read_variable(section, variable)
    else:
        return None, []
    try:
        secret = decode_psk(octets)
    except ValueError as error:
        raise section.error(key, f"is wrong: {where} {error}") from error
    if len(secret) < WEAK_BELOW:
        warnings.append(
            f"{where} holds a secret of {len(secret)} octets; "
            f"fewer than {WEAK_BELOW} can be guessed"
        )
    return secret, warnings


def decode_psk(octets: bytes) -> bytes:
    """Turn what a file or variable holds into the secret.

    One newline at the end is not part of it. After ``0x`` come hexadecimal digits,
    after ``0s`` Base64; anything else is the secret itself.

    Raises
    ------
    ValueError
        Nothing is there, or the digits are wrong. The text goes on after the name of
        the file and shows no part of the secret.
    """
    octets = octets.removesuffix(b"\n").removesuffix(b"\r")
    prefix, digits = octets[:2], octets[2:]
    try:
        if prefix == b"0x":
            octets = binascii.unhexlify(digits)
        elif prefix == b"0s":
            octets = base64.b64decode(digits, validate=True)
    except ValueError:
        encoding = "hexadecimal" if prefix == b"0x" else "Base64"
        raise ValueError(
            f"begins with {prefix.decode()} but is not {encoding}"
        ) from None
    if not octets:
        raise ValueError("is empty")
    return octets


def _read_file(section: Section, path: Path, where: str, warnings: list[str]) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            octets = file.read(_LARGEST + 1)
    except OSError as error:
        sentence = f"names {where}, which cannot be read: {error.strerror}"
        raise section.error("psk_file", sentence) from error
    if len(octets) > _LARGEST:
        raise section.error("psk_file", f"names {where}, which is too large")
    if mode & stat.S_IROTH:
        warnings.append(
            f"{where} can be read by every user (mode {mode:04o}); "
            f"run: chmod 600 {where}"
        )
    return octets


def _read_variable(section: Section, variable: str) -> bytes:
    value = os.environ.get(variable)
    if value is None:
        sentence = f"names {variable}, which is not in the environment"
        raise section.error("psk_env", sentence)
    return os.fsencode(value)
