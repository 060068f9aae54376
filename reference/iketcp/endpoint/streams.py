"""TCP: octets of a stream in, messages of it handed on.

One thread feeds each stream. Its messages are found by :mod:`iketcp.stream`; where they
cannot be found any more, the connection closes, or the next one is searched for. The
counterpart for UDP is :mod:`iketcp.endpoint.datagrams`.

Source: RFC 9329 §3
Source: RFC 9329 §6.1
Source: RFC 9329 §10
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from iketcp.effects import Effect
from iketcp.endpoint import traces
from iketcp.endpoint.arrival import OverTcp
from iketcp.endpoint.data_plane import runs
from iketcp.endpoint.esp_messages import EspMessages
from iketcp.endpoint.frame_search import FrameSearch
from iketcp.endpoint.ike_messages import IkeMessages
from iketcp.endpoint.resync import Resync
from iketcp.endpoint.tables import Counters, Stream
from iketcp.mapping import ConnectionMap
from iketcp.stream import MessageKind


class Streams:
    """The part of an endpoint that reads TCP streams.

    Parameters
    ----------
    connection_map : ConnectionMap
        Which connection carries which session.
    counters : Counters
        What was dropped.
    ike, esp : IkeMessages, EspMessages
        Whom messages are handed to.
    control_lock : AbstractContextManager
        Held for everything but ESP.
    resync : Resync
        Searches a stream that is out of step.
    """

    def __init__(
        self,
        connection_map: ConnectionMap,
        counters: Counters,
        ike: IkeMessages,
        esp: EspMessages,
        control_lock: AbstractContextManager[object],
        resync: Resync,
    ) -> None:
        self._map = connection_map
        self._counters = counters
        self._ike = ike
        self._esp = esp
        self._control_lock = control_lock
        self._resync = resync

    def received(
        self, stream: Stream, octets: bytes, now: float, effects: list[Effect]
    ) -> str | None:
        """Take what a connection delivered; returns why to close it, if so.

        Source: RFC 9329 §3, RFC 9329 §10
        """
        if stream.search is None:
            return self._decode(stream, octets, now, effects)
        return self._search(stream, stream.search, octets, now, effects)

    def _decode(
        self, stream: Stream, octets: bytes, now: float, effects: list[Effect]
    ) -> str | None:
        """Find messages and hand each on; returns why to close, if so.

        Source: RFC 9329 §3, RFC 9329 §10
        """
        had_prefix = stream.decoder.has_prefix
        found = stream.decoder.feed_runs(octets)
        if self._resync.longest_run == 1:
            found = [(kind, (message,)) for kind, run in found for message in run]
        if not had_prefix and stream.decoder.has_prefix:
            effects.append(traces.stream_prefix(stream.connection.id, "received"))
        for begin, kind, run in runs(found, self._resync.longest_run):
            if kind is MessageKind.ESP:
                arrival = OverTcp(self._map, stream)
                reason = self._esp.take(arrival, run[0][:4], run, now, effects)
            else:
                reason = self._take_other(stream, kind, run[0], now, effects)
            if reason is None:
                continue
            search = self._resync.begin(stream, found[begin:], reason)
            if search is None:
                return reason
            return self._search(stream, search, b"", now, effects)
        failure = stream.decoder.failure
        return None if failure is None else str(failure)

    def _search(
        self,
        stream: Stream,
        search: FrameSearch,
        octets: bytes,
        now: float,
        effects: list[Effect],
    ) -> str | None:
        """Look for the next message of a stream out of step [9329-10-resync].

        Source: RFC 9329 §10
        """
        with self._control_lock:
            found = self._resync.search(stream, search, octets)
        if not found:
            return search.verdict
        skipped = len(search.octets) - len(found)
        self._counters.drop("octets before the next message", skipped)
        return self._decode(stream, found, now, effects)

    def _take_other(
        self,
        stream: Stream,
        kind: MessageKind,
        octets: bytes,
        now: float,
        effects: list[Effect],
    ) -> str | None:
        if kind is MessageKind.IKE:
            with self._control_lock:
                return self._ike.take(OverTcp(self._map, stream), octets, now, effects)
        if kind is MessageKind.UNPARSEABLE:
            self._counters.drop("unparseable message")
            return self._map.unparseable(stream.connection)
        # keepalives and empty messages pass without a trace [9329-6.6-drop]; we send
        # neither [9329-6.6-send]
        return None
