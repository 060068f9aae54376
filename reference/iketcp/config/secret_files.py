"""Secrets in files and environment variables; never in the text of a configuration.

Source: RFC 7296 §2.15, RFC 7296 §2.16
"""

import contextlib
import os
import stat
from pathlib import Path

from iketcp.config.reader import Section

_LARGEST = 65536


def read_secret(
    section: Section, name: str, folder: Path, warnings: list[str]
) -> tuple[bytes, str, str] | None:
    """Read what ``<name>_file`` or ``<name>_env`` names, as it stands there.

    Parameters
    ----------
    section : Section
        A table with both keys.
    folder : Path
        Where a path that is not absolute counts from.
    warnings : list[str]
        Grows where every user can read the file.

    Returns
    -------
    tuple[bytes, str, str] or None
        The octets, the key that named them and what to call the place; nothing where
        neither key is there.

    Raises
    ------
    ConfigurationError
        Both keys are there; or the file or variable is missing or too large.
    """
    file, variable = section[f"{name}_file"], section[f"{name}_env"]
    if file is not None and variable is not None:
        sentence = f"cannot stand beside {name}_file; choose one"
        raise section.error(f"{name}_env", sentence)
    if file is not None:
        key = f"{name}_file"
        octets = read_file(section, key, folder / file, str(file))
        warn_if_open(folder / file, str(file), warnings)
        return octets, key, str(file)
    if variable is not None:
        key = f"{name}_env"
        return _read_variable(section, key, variable), key, f"${variable}"
    return None


def read_password(
    section: Section, folder: Path, warnings: list[str]
) -> tuple[str, str, str] | None:
    """Read what ``password_file`` or ``password_env`` names, without a last newline.

    Returns
    -------
    tuple[str, str, str] or None
        As :func:`read_secret` does.

    Raises
    ------
    ConfigurationError
        As :func:`read_secret`; or it is not UTF-8.
    """
    found = read_secret(section, "password", folder, warnings)
    if found is None:
        return None
    octets, key, where = found
    try:
        password = octets.removesuffix(b"\n").removesuffix(b"\r").decode()
    except ValueError:
        raise section.error(key, f"names {where}, which is not UTF-8") from None
    return password, key, where


def read_file(section: Section, key: str, path: Path, where: str) -> bytes:
    """Read a small file that a key names.

    Raises
    ------
    ConfigurationError
        It cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            octets = file.read(_LARGEST + 1)
    except OSError as error:
        sentence = f"names {where}, which cannot be read: {error.strerror}"
        raise section.error(key, sentence) from error
    if len(octets) > _LARGEST:
        raise section.error(key, f"names {where}, which is too large")
    return octets


def warn_if_open(path: Path, where: str, warnings: list[str]) -> None:
    """Warn of a secret that every user can read."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & stat.S_IROTH:
        warnings.append(
            f"{where} can be read by every user (mode {mode:04o}); "
            f"run: chmod 600 {where}"
        )


def make_secret_file(path: Path, octets: bytes) -> None:
    """Write a new file that only its owner can read; never half of one.

    Raises
    ------
    OSError
        It is there already (FileExistsError), or cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        try:
            os.fchmod(file.fileno(), 0o600)
            file.write(octets)
            file.flush()
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            raise


def _read_variable(section: Section, key: str, variable: str) -> bytes:
    value = os.environ.get(variable)
    if value is None:
        sentence = f"names {variable}, which is not in the environment"
        raise section.error(key, sentence)
    return os.fsencode(value)
