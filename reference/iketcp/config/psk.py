"""Pre-shared keys, from files and environment variables; never from the text itself.

Source: RFC 7296 §2.15
"""

import base64
import binascii
import math
import secrets
import string
from itertools import pairwise
from pathlib import Path

from iketcp.config.reader import Section
from iketcp.config.secret_files import make_secret_file, read_secret
from iketcp.errors import EnvironmentProblem

WEAK_BELOW = 16
"""Octets under which a secret draws a warning: 128 bits at the very best.

Source: RFC 7296 §2.15 (as much unpredictability as the strongest key negotiated)
"""

FEW_DISTINCT = 8
"""Choice: 16 random octets have fewer distinct ones once in some 10**15 times."""

NEW_OCTETS = 32
"""Choice: 256 bits, as much as the strongest key that can be negotiated here.

Source: RFC 7296 §2.15
"""

_ALPHABETS = tuple(
    frozenset(characters.encode())
    for characters in (
        string.digits,
        string.digits + "abcdef",
        string.digits + "ABCDEF",
        string.ascii_lowercase,
        string.ascii_uppercase,
        string.digits + string.ascii_lowercase,
        string.digits + string.ascii_uppercase,
        string.ascii_letters,
        string.digits + string.ascii_letters,
        "".join(map(chr, range(0x20, 0x7F))),
    )
)
"""What people write secrets with, the smallest set first."""


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
    reason = weakness(secret)
    if reason is not None:
        warnings.append(f"{where} holds a secret {reason}")
    return secret, warnings


def weakness(secret: bytes, least: int = WEAK_BELOW) -> str | None:
    """Say why a secret can be guessed, where that can be seen from outside.

    Whoever speaks with us once can try guesses at leisure, for AUTH shows which one is
    right. No look at a secret can tell that it is good: a sentence of many words may
    stand in a book.

    Parameters
    ----------
    least : int
        Octets of a random secret that would be good enough.

    Returns
    -------
    str or None
        What goes on after "a secret", and shows none of it; ``None``: nothing seen.

    Source: RFC 7296 §2.15, RFC 7296 §5
    """
    if len(secret) < least:
        return f"of {len(secret)} octets; fewer than {least} can be guessed"
    if len(set(secret)) < FEW_DISTINCT:
        return f"with fewer than {FEW_DISTINCT} distinct octets; it can be guessed"
    if len({(b - a) % 256 for a, b in pairwise(secret)}) == 1:
        return "that only counts up or down; it can be guessed"
    periods = range(1, min(least, len(secret) // 2 + 1))  # ends may be alike by chance
    if any(secret[n:] == secret[:-n] for n in periods):
        return f"that repeats fewer than {least} octets; it can be guessed"
    alphabet = next((each for each in _ALPHABETS if each.issuperset(secret)), None)
    bits = 8 if alphabet is None else math.log2(len(alphabet))
    if len(secret) * bits < least * 8:
        kind = "one kind of characters" if bits < 6 else "characters"
        return f"too short for {kind}: under {least * 8} bits; it can be guessed"
    return None


def new_psk() -> str:
    """Draw a secret, in the form that files and variables hold: ``0s`` and Base64.

    Source: RFC 7296 §2.15
    """
    return "0s" + base64.b64encode(secrets.token_bytes(NEW_OCTETS)).decode()


def write_psk(path: Path) -> None:
    """Write a new secret into a file that only its owner can read.

    The file is new, or it would take the place of a secret that a peer still has.

    Raises
    ------
    EnvironmentProblem
        The file is there already, or cannot be written.
    """
    try:
        make_secret_file(path, new_psk().encode() + b"\n")
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {path}: {error.strerror}") from error


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
