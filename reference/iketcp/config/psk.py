"""Pre-shared keys, from files and environment variables; never from the text itself.

Source: RFC 7296 §2.15
"""

import base64
import binascii
from pathlib import Path

from iketcp.config.reader import Section
from iketcp.config.secret_files import read_secret

WEAK_BELOW = 16
"""Octets under which a secret draws a warning: 128 bits at the very best.

Source: RFC 7296 §2.15 (as much unpredictability as the strongest key negotiated)
"""


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
    warnings: list[str] = []
    found = read_secret(section, "psk", folder, warnings)
    if found is None:
        return None, []
    octets, key, where = found
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
