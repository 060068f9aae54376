"""What happens to a stream that is out of step, other than closing it; off by default.

When somebody changes a Length on the way, every later message boundary is lost. The
remedy is to close the connection and to connect again. The alternative is to search for
the next message of the SAs that the connection carries, and to go on there.

What is searched begins with the message that could not be read, for a Length that was
made larger hides good messages behind it. Nothing changes in any SA until the decoder
has begun anew and hands the message on in the usual way.

A search is an invitation to attackers, so everything about it is limited
[9329-10-limit]: the octets it holds, the candidates it tries, and how many a connection
may have. It begins only where the connection would be closed otherwise, and only after
a valid message on it. A Length of 0 or 1 closes all the same, because RFC 9329 §3
leaves no choice, unless a message before it has already shown that the stream is out of
step: then those two octets are no Length.

Source: RFC 9329 §10
Source: RFC 9329 §6.1
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from iketcp.endpoint.frame_search import FrameSearch, signs_of
from iketcp.endpoint.tables import IkeSession, Stream, Tables
from iketcp.mapping import MappingPolicy
from iketcp.stream import (
    NON_ESP_MARKER,
    MessageKind,
    StreamDecoder,
    StreamRun,
    frame_esp,
    frame_ike,
)


class Resync:
    """Begins and continues searches.

    Parameters
    ----------
    tables : Tables
        What the endpoint holds.
    policy : MappingPolicy
        Limits.
    is_genuine_ike : Callable[[IkeSession, bytes], bool]
        Tells whether an IKE message is authentic for a session; changes nothing.
    """

    def __init__(
        self,
        tables: Tables,
        policy: MappingPolicy,
        is_genuine_ike: Callable[[IkeSession, bytes], bool],
    ) -> None:
        self._tables = tables
        self._policy = policy
        self._is_genuine_ike = is_genuine_ike
        self.longest_run = 1 if policy.resync_limit else sys.maxsize
        """So many packets may be opened together: one, if it must be known which of
        them failed."""

    def begin(
        self, stream: Stream, found: Sequence[StreamRun], reason: str
    ) -> FrameSearch | None:
        """Begin a search if one is allowed; without one the connection is to be closed.

        Parameters
        ----------
        found : Sequence[StreamRun]
            What the decoder gave last, from the message that could not be read on.
        reason : str
            Why the connection would be closed.

        Source: RFC 9329 §10
        """
        policy, connection = self._policy, stream.connection
        session = connection.session
        if (
            stream.searches >= policy.resync_limit
            or connection.is_half_open
            or not isinstance(session, IkeSession)
        ):
            return None
        children = list(self._tables.children.items())
        signs = signs_of(
            [spi for spi, live in children if live.session is session],
            [sa.spi_i for sa in session.ike_sas],
        )
        stream.searches += 1
        stream.search = search = FrameSearch(signs, policy.resync_octets, reason)
        search.octets += b"".join(
            _framed(kind, message) for kind, run in found for message in run
        )
        search.octets += stream.decoder.give_back()
        return search

    def search(self, stream: Stream, search: FrameSearch, octets: bytes) -> bytes:
        """Go on with a search [9329-10-resync].

        Returns
        -------
        bytes
            What the stream's decoder, now a new one, is to be fed with; none while
            nothing is found.

        Source: RFC 9329 §10
        """
        session = stream.connection.session
        if not isinstance(session, IkeSession):
            search.octet_limit = 0  # it has ended meanwhile: nothing to look for
            return b""
        found = search.feed(octets, _Known(session, self._tables, self._is_genuine_ike))
        if found:
            stream.search = None
            stream.decoder = StreamDecoder(expects_prefix=False)
        return found


class _Known:
    """What is known of the SAs of one session. RFC 9329 §10."""

    def __init__(
        self,
        session: IkeSession,
        tables: Tables,
        is_genuine_ike: Callable[[IkeSession, bytes], bool],
    ) -> None:
        self._session = session
        self._tables = tables
        self._is_genuine_ike = is_genuine_ike

    def is_plausible(self, packet: bytes) -> bool:
        """Tell whether an ESP packet may begin with these eight octets."""
        live = self._tables.children.get(packet[:4])
        return live is not None and live.esp.is_plausible(packet)

    def is_genuine(self, message: bytes) -> bool:
        """Tell whether a message, marker included, is authentic; change nothing."""
        if message.startswith(NON_ESP_MARKER):
            ike_message = message[len(NON_ESP_MARKER) :]
            return self._is_genuine_ike(self._session, ike_message)
        live = self._tables.children.get(message[:4])
        return (
            live is not None
            and live.session is self._session
            and live.esp.is_genuine(message)
        )


def _framed(kind: MessageKind, octets: bytes) -> bytes:
    """Undo what the decoder did."""
    return frame_ike(octets) if kind is MessageKind.IKE else frame_esp(octets)
