"""The configuration file: TOML in, one frozen :class:`Configuration` out.

Read it in this order: ``tables`` (what can be configured), ``values`` (how values are
written), ``reader`` (how a file is held against the tables), ``builder`` (what comes
of it). ``documentation`` writes ``docs/configuration.md`` from the same tables.

Source: RFC 9329 §2 (TCP is used by configuration)
"""

from pathlib import Path

from iketcp.config.builder import build, default_control_socket
from iketcp.config.model import (
    ROLES,
    Configuration,
    ControlConfig,
    HooksConfig,
    LocalConfig,
    LogConfig,
    ProxyConfig,
    RemoteConfig,
    Role,
    TlsConfig,
    TlsUse,
    TransportConfig,
    TunConfig,
)
from iketcp.config.reader import read
from iketcp.errors import ConfigurationError

__all__ = [
    "ROLES",
    "Configuration",
    "ControlConfig",
    "HooksConfig",
    "LocalConfig",
    "LogConfig",
    "ProxyConfig",
    "RemoteConfig",
    "Role",
    "TlsConfig",
    "TlsUse",
    "TransportConfig",
    "TunConfig",
    "default_control_socket",
    "load",
    "parse",
]


def load(path: str | Path, role: Role) -> Configuration:
    """Read a configuration file.

    Parameters
    ----------
    path : str or Path
        The file; other paths in it count from its folder.
    role : Role
        The command that reads it.

    Raises
    ------
    ConfigurationError
        The file cannot be read, is not UTF-8, or :func:`parse` refuses it.
    """
    path = Path(path)
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: this file cannot be read: {error.strerror}"
        ) from error
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: this is not UTF-8 text") from error
    return parse(text, role, str(path))


def parse(text: str, role: Role, name: str) -> Configuration:
    """Read a configuration from text.

    Parameters
    ----------
    text : str
        What the file holds.
    role : Role
        The command that reads it.
    name : str
        What errors call the file; paths in the text count from its folder.

    Raises
    ------
    ConfigurationError
        The text is not TOML; a table or key is unknown, missing, wrong by itself or
        beside others; or a secret cannot be read. The text of the error is one
        sentence after ``name:line:``.
    """
    return build(read(text, role, name), Path(name).parent)
