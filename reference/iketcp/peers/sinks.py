"""Where events go: log lines, JSON Lines for programs, key tables for Wireshark.

A sink is told of every trace event, in the thread where it happened. Key material
reaches a sink only through :class:`KeyLog`, which its user has to ask for by a name
that says what it is.

Source: RFC 7296 §2.14
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from iketcp.child_sa import ChildSaParameters
from iketcp.effects import IkeKeysDerived
from iketcp.keylog import esp_line, ike_line

Sink = Callable[[float, str, Mapping[str, object]], None]
"""Called with the time in seconds, the kind of event and its fields."""

_WARNINGS = frozenset(
    {
        "child-sa-failed",
        "connect-failed",
        "exchange-failed",
        "ppk-unused",
        "problem",
        "refused",
    }
)
_DETAILS = frozenset({"ike-message", "ike-keys", "child-keys", "nat-detection"})


class JsonLines:
    """Writes one JSON object a line, each flushed at once.

    Parameters
    ----------
    stream : TextIO
        Where to; it belongs to the caller.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_read = True
        self._lock = threading.Lock()

    def __call__(self, now: float, kind: str, fields: Mapping[str, object]) -> None:
        """Write one event; a reader that has gone away is no error."""
        event = {"time": round(now, 6), "kind": kind, **fields}
        line = json.dumps(event, default=str)
        with self._lock:
            if not self._is_read:
                return
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                # Gone, full or closed: what was lost in between would not be noticed.
                self._is_read = False


class LogLines:
    """Writes one line an event to a logger: kind, then fields as ``name=value``.

    Parameters
    ----------
    logger : logging.Logger
        Messages and keys (by name) go out at level DEBUG, trouble at WARNING, the rest
        at INFO.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def __call__(self, now: float, kind: str, fields: Mapping[str, object]) -> None:
        """Write one event."""
        level = logging.INFO
        if kind in _WARNINGS:
            level = logging.WARNING
        elif kind in _DETAILS:
            level = logging.DEBUG
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s %s", kind, _text(fields))


_PLAIN = re.compile(r"[!#-~]+")
"""Visible ASCII without quotation marks and spaces."""


def _text(fields: Mapping[str, object]) -> str:
    """Write fields; whatever a peer put into them, they stay on one line."""
    parts = []
    for name, value in fields.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        quoted = text if _PLAIN.fullmatch(text) else json.dumps(text)
        parts.append(f"{name}={quoted}")
    return " ".join(parts)


class KeyLog:
    """Writes Wireshark's key tables; whoever reads them reads the traffic.

    Parameters
    ----------
    folder : Path
        Receives ``ikev2_decryption_table`` and ``esp_sa`` and, once there is TLS,
        ``tls_secrets``, readable by their owner only.

    Raises
    ------
    OSError
        The folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ike = folder / "ikev2_decryption_table"
        self._esp = folder / "esp_sa"
        self._tls = folder / "tls_secrets"
        self._lock = threading.Lock()
        self._append(self._ike)
        self._append(self._esp)

    def ike_keys(self, derived: IkeKeysDerived) -> None:
        """Add one IKE SA."""
        keys = derived.keys
        self._append(
            self._ike,
            ike_line(
                derived.spi_i,
                derived.spi_r,
                keys.sk_ei,
                keys.sk_er,
                keys.sk_ai,
                keys.sk_ar,
                derived.suite,
            ),
        )

    def child_keys(
        self, parameters: ChildSaParameters, local: str, remote: str
    ) -> None:
        """Add both halves of a Child SA, between two outer addresses."""
        suite = parameters.suite
        inbound = esp_line(
            remote,
            local,
            parameters.spi_in,
            suite,
            parameters.encryption_key_in,
            parameters.integrity_key_in,
        )
        outbound = esp_line(
            local,
            remote,
            parameters.spi_out,
            suite,
            parameters.encryption_key_out,
            parameters.integrity_key_out,
        )
        self._append(self._esp, inbound, outbound)

    def tls_secret(self, line: bytes) -> None:
        """Add a secret of TLS, in NSS's key log format (``SSLKEYLOGFILE``)."""
        self._append(self._tls, line.decode("ascii"))

    def _append(self, path: Path, *lines: str | None) -> None:
        """Append lines; what Wireshark has no name for comes as ``None``.

        A file that is there already may have been readable by others. It is closed to
        them before a key goes in.
        """
        with self._lock, open(path, "a", opener=_open_private) as file:
            os.fchmod(file.fileno(), 0o600)
            file.writelines(line.rstrip("\n") + "\n" for line in lines if line)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
