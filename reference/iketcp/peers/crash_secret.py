"""The secret behind the tokens of quick crash detection: read, or made the first time.

Source: RFC 6290 §5.1
"""

import contextlib
import os
import stat
from pathlib import Path

from iketcp.config.secret_files import make_secret_file
from iketcp.errors import EnvironmentProblem
from iketcp.ike.crash_detection import SECRET_SIZE


def read_crash_secret(path: Path) -> tuple[bytes, str | None]:
    """Return QCD_SECRET, 32 octets, and a complaint about its file, if there is one.

    A missing file is made, for its owner only.

    Raises
    ------
    EnvironmentProblem
        The file cannot be read or made, or does not hold 32 octets.

    Source: RFC 6290 §5.1, RFC 6290 §9.1
    """
    try:
        with contextlib.suppress(FileExistsError):  # it stays as it is
            make_secret_file(path, os.urandom(SECRET_SIZE))
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            secret = file.read(SECRET_SIZE + 1)
    except OSError as error:
        raise EnvironmentProblem(
            f"crash_secret_file {path} cannot be read or made: {error.strerror}"
        ) from error
    if len(secret) != SECRET_SIZE:
        raise EnvironmentProblem(
            f"crash_secret_file {path} does not hold {SECRET_SIZE} octets; remove it, "
            "and a new one is made"
        )
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        return secret, (
            f"{path} can be read by others (mode {mode:04o}), who could end every "
            f"tunnel; run: chmod 600 {path}"
        )
    return secret, None
