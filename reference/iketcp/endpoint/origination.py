"""What an initiator begins: its session, the next one, and one to take its place.

An initiator has one session with its peer. When that ends without our wish, another is
begun. When the peers are to authenticate each other anew, another is begun beside it,
over a connection of its own, for IKE SAs never share one [9329-6.1-share]; when all its
Child SAs are there, the first session is deleted. So there is no moment without a
tunnel, and what is still under way in the old one arrives.

The control lock is held whenever something here is called.

Source: RFC 7296 §2.8.3
Source: RFC 9329 §6.1
"""

from __future__ import annotations

from iketcp.effects import Effect, OpenConnection
from iketcp.endpoint import traces
from iketcp.endpoint.carry_out import OutputCarrier
from iketcp.endpoint.datagrams import Datagrams
from iketcp.endpoint.tables import IkeSession, Stream, Tables
from iketcp.environment import Entropy, jitter
from iketcp.ike import engine
from iketcp.ike.context import IkeContext
from iketcp.ike.exchanges.create_child_sa import CreateChild
from iketcp.ike.exchanges.informational import DeleteIkeSa
from iketcp.ike.nat_detection import Path
from iketcp.ike.reauthentication import is_reauthentication_due
from iketcp.ike.sa import IkeSa
from iketcp.mapping import ConnectionMap

RECONNECT_JITTER = 0.5
"""Choice: the largest share by which a pause is shortened at random."""

OVERLAP_SECONDS = 2.0
"""Choice: so long the old session stays when the new one stands, for what is under
way on it."""

RETRY_SECONDS = 30.0
"""Choice: pause before a reauthentication that failed is tried again."""


class Origination:
    """The sessions that we begin, and when.

    Parameters
    ----------
    tables : Tables
        What the endpoint holds.
    connection_map : ConnectionMap
        Which connection carries which session.
    context : IkeContext
        Shared by all IKE SAs.
    carrier : OutputCarrier
        Carries out what an IKE SA wants.
    datagrams : Datagrams
        Begins over UDP.
    entropy : Entropy
        For pauses.
    """

    def __init__(
        self,
        tables: Tables,
        connection_map: ConnectionMap,
        context: IkeContext,
        carrier: OutputCarrier,
        datagrams: Datagrams,
        entropy: Entropy,
    ) -> None:
        self._tables = tables
        self._map = connection_map
        self._context = context
        self._carrier = carrier
        self._datagrams = datagrams
        self._entropy = entropy
        self._session: IkeSession | None = None
        self._spare: IkeSession | None = None
        """Begun to take the place of ``_session``."""
        self._not_before = 0.0
        """No other is begun before then, in seconds."""
        self.is_wanted = False
        """We are an initiator, and not on the way out."""

    # --- the session ------------------------------------------------------------------

    def initiate(self) -> list[Effect]:
        """Begin: ask for a connection."""
        self.is_wanted = True
        return [OpenConnection()]

    def adopt(self, session: IkeSession) -> None:
        """Take a session that is established for the one that we began."""
        self._session, self.is_wanted = session, True

    def _own_session(self) -> IkeSession:
        """Return the session we begin; a new one if it has ended."""
        if self._session is None or self._session.has_ended:
            self._session = IkeSession(is_tcp_originator=True)
        return self._session

    def session_of_connection(self) -> IkeSession:
        """Return whose a new connection is: the first that has none, or the newest."""
        session, spare = self._own_session(), self._spare
        is_spares = spare is not None and spare.current is None
        if spare is not None and is_spares and session.current is not None:
            return spare
        return session

    def go_over(
        self, session: IkeSession, stream: Stream, now: float, effects: list[Effect]
    ) -> None:
        """Begin a session over its connection, or go on with it.

        Source: RFC 9329 §6.1
        """
        if session.ike is None:
            is_only = not self._tables.ike_sas
            session.ike = engine.start(self._context, stream.path, now, is_only)
            self._tables.add_ike_sa(session.ike, session)
            session.use(stream.fragment_size)
        else:
            session.use(stream.fragment_size)
            _resume(session, now)
        for sa in list(session.ike_sas):
            self._carrier.run(sa, session, stream.connection.id, now, effects)

    def begin_over_udp(
        self, path: Path, encapsulated: Path, now: float, effects: list[Effect]
    ) -> None:
        """Begin the session over UDP that was to be begun. Source: RFC 7296 §1.2."""
        if not self.is_wanted:
            return
        for session in (self._own_session(), self._spare):
            if session is not None and session.ike is None:
                self._datagrams.begin(session, path, encapsulated, now, effects)
                return

    # --- without a connection ---------------------------------------------------------

    def connection_failed(self, now: float) -> list[Effect]:
        """Note that an attempt to connect failed; another follows after a pause.

        If it was for a session beside the one that there is, that one is given up.
        """
        session, spare = self._own_session(), self._spare
        if spare is None or spare.current is not None or session.carrier is None:
            return self._reconnect(session)
        effects: list[Effect] = []
        if spare.ike is not None:
            spare.ike.close("no connection")
            self._carrier.run(spare.ike, spare, None, now, effects)
        spare.has_ended = True
        return effects + self.go_on(now)

    def lost(self, session: IkeSession, now: float) -> list[Effect]:
        """Note that a session has no connection any more, and ask for another.

        One that has been replaced needs none: it ends here.

        Source: RFC 9329 §6.1
        """
        if not session.is_spare:
            return self._reconnect(session)
        if session is self._spare:
            return [OpenConnection(is_beside=True)] if self.is_wanted else []
        effects: list[Effect] = []
        for sa in list(session.ike_sas):
            sa.close("replaced, and its connection is lost")
            self._carrier.run(sa, session, None, now, effects)
        return effects

    def _reconnect(self, session: IkeSession) -> list[Effect]:
        """Ask for a new connection, as only its TCP Originator does.

        The pause is the mapping's, less a random share of it [9329-6.1-reestablish].

        Source: RFC 9329 §6.1
        """
        if not self.is_wanted:
            return []
        pause = self._map.reconnect_delay(session)
        pause = jitter(self._entropy, "reconnect.jitter", pause, RECONNECT_JITTER)
        return [OpenConnection(pause)]

    # --- the next session -------------------------------------------------------------

    @property
    def may_go_on(self) -> bool:
        """:meth:`go_on` may have something to do; to be asked without the lock."""
        session = self._session
        return self._spare is not None or (session is not None and session.has_ended)

    def go_on(self, now: float) -> list[Effect]:
        """Let the next session stand where one has ended, or has to.

        Choice: a session that was never established is not tried again: what failed
        would fail again; but one whose first datagrams nobody answered is, as an
        attempt to connect would be. RFC 7296 §2.8 leaves both to us.
        """
        session, spare = self._session, self._spare
        if session is None:
            return []
        if not session.has_ended:
            return self._look_at_spare(session, now)
        self._session = self._spare = None
        if spare is not None and not spare.has_ended:
            self._session, spare.is_spare = spare, False
            return []
        deserves_another = session.was_established or session.was_unheard
        if not self.is_wanted or not deserves_another:
            return []
        new = self._own_session()
        new.reconnects = 1  # not at once: the peer had its reasons
        return self._reconnect(new)

    # --- authentication anew ----------------------------------------------------------

    def time_passed(self, now: float) -> list[Effect]:
        """Begin another session where the peers have to authenticate each other anew.

        Source: RFC 7296 §2.8.3
        """
        effects = self.go_on(now)
        session = self._session
        if session is None or session.ike is None or session.carrier is None:
            return effects
        is_due = is_reauthentication_due(session.ike, now) and now >= self._not_before
        if self.is_wanted and self._spare is None and is_due:
            self._spare = IkeSession(is_tcp_originator=True, is_spare=True)
            effects += [
                traces.reauthentication(session.ike, "begun"),
                OpenConnection(is_beside=True),
            ]
        return effects

    def next_deadline(self, now: float) -> float | None:
        """Return when what failed is to be tried again, or ``None``."""
        return self._not_before if self._not_before > now else None

    def _look_at_spare(self, session: IkeSession, now: float) -> list[Effect]:
        """See what has become of the session that is to take the place of ours."""
        spare, sa = self._spare, session.ike
        if spare is None or sa is None:
            return []
        if spare.has_ended:
            self._spare = None
            pause = jitter(self._entropy, "reauth.jitter", RETRY_SECONDS, 0.5)
            self._not_before = now + pause
            return [traces.reauthentication(sa, "failed")]
        if not _stands(spare):
            return []
        self._session, self._spare = spare, None
        spare.is_spare, session.is_spare = False, True
        effects: list[Effect] = [traces.reauthentication(sa, "done")]
        self._part_from(session, sa, now, effects)
        return effects

    def _part_from(
        self, old: IkeSession, sa: IkeSa, now: float, effects: list[Effect]
    ) -> None:
        """Delete an IKE SA that another one has replaced, a moment later.

        Source: RFC 7296 §2.8.3
        """
        if old.carrier is None or not sa.is_usable:
            sa.close("replaced by a new one", is_local_wish=True)
        else:
            sa.tasks.clear()
            sa.want(DeleteIkeSa("replaced by a new one"), now + OVERLAP_SECONDS)
        self._carrier.run(sa, old, None, now, effects)


def _stands(session: IkeSession) -> bool:
    """Tell whether a session has all the Child SAs that it is to have."""
    sa = session.ike
    return (
        sa is not None
        and sa.is_usable
        and bool(sa.children)
        and not sa.is_wanted(CreateChild)
    )


def _resume(session: IkeSession, now: float) -> None:
    """Go on over a new connection, with every IKE SA that waits for an answer.

    A request under way is repeated [9329-6.2-reconnect], also that of an IKE SA
    which a rekey has replaced; an empty INFORMATIONAL comes first, or after it
    [9329-6.1-resume-msg]. It belongs to an IKE SA that the peer has for certain:
    our answer to its rekey may have been lost with the connection.

    Source: RFC 9329 §6.1, RFC 9329 §6.2
    """
    shared = session.shared()
    for sa in session.ike_sas:
        if sa is shared:
            engine.resume(sa, now)
        else:
            engine.repeat_request(sa)
