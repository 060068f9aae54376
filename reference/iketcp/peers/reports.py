"""What a peer or a relay tells others: events to sinks, keys to a key log, figures.

No log is worth a tunnel: one that fails is given up, and that is said.

Source: RFC 7296 §2.14
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from iketcp.environment import Clock
from iketcp.net.connection import Connection
from iketcp.net.tls_options import KeyLogLine
from iketcp.peers.sinks import KeyLog, Sink
from iketcp.peers.threads import describe_surprise


class Reports:
    """The sinks and the key log of a peer; callable from any thread.

    Parameters
    ----------
    sinks : Iterable[Sink]
        Who is told of events.
    key_log : KeyLog or None
        Where keys go.
    clock : Clock
        What time it is.
    """

    def __init__(
        self, sinks: Iterable[Sink], key_log: KeyLog | None, clock: Clock
    ) -> None:
        self._sinks = tuple(sinks)
        self._key_log = key_log
        self._clock = clock

    @property
    def tls_key_log(self) -> KeyLogLine | None:
        """What to tell the secrets of TLS, if keys are wanted."""
        return None if self._key_log is None else self._log_tls_secret

    def tell(self, kind: str, fields: Mapping[str, object]) -> None:
        """Tell every sink of an event."""
        now = self._clock.now()
        for sink in self._sinks:
            try:
                sink(now, kind, fields)
            except Exception as error:  # a log is not worth a tunnel
                self._sinks = tuple(s for s in self._sinks if s is not sink)
                self.complain(f"a log is given up: {describe_surprise(error)}")

    def complain(self, sentence: str) -> None:
        """Tell of a problem."""
        self.tell("problem", {"text": sentence})

    def log_keys(self, write: Callable[[KeyLog], None]) -> None:
        """Have keys written, where they are wanted."""
        if self._key_log is None:
            return
        try:
            write(self._key_log)
        except OSError as error:
            self._key_log = None
            self.complain(f"keys are no longer written: {error}")

    def _log_tls_secret(self, line: bytes) -> None:
        self.log_keys(lambda log: log.tls_secret(line))


def connection_figures(connection: Connection) -> dict[str, Any]:
    """Return what ``iketcp status`` says of any connection."""
    return {
        "octets_in": connection.octets_in,
        "octets_out": connection.octets_out,
        "queued_octets": connection.queue_depth,
        "dropped_batches": connection.dropped_batches,
        "protection": connection.protection,
    }
