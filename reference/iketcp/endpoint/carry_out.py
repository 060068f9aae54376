"""From what an IKE SA wants done to effects on connections, tunnel and log.

An IKE SA knows no connections. Here its messages get one: a response to a retransmitted
request goes back the way that request came, everything else goes over the session's
current connection.

Source: RFC 9329 §6.1
Source: RFC 9329 §6.2
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from iketcp.child_sa import ChildSaParameters
from iketcp.crypto.suite import Suite
from iketcp.datagram import MAX_DATAGRAM, ike_datagram
from iketcp.effects import (
    ChildSaInstalled,
    ChildSaRemoved,
    CloseConnection,
    ConfigurationAssigned,
    ConnectionId,
    Effect,
    IkeSaClosed,
    IkeSaEstablished,
    SendDatagrams,
    Trace,
    Transmit,
)
from iketcp.endpoint import traces
from iketcp.endpoint.tables import (
    Carrier,
    DatagramPolicy,
    IkeSession,
    LiveChild,
    Tables,
)
from iketcp.environment import Entropy
from iketcp.errors import ConfigurationError
from iketcp.esp.child_sa import ChildSa
from iketcp.esp.mtu import inner_mtu
from iketcp.esp.spd import OutboundSpd
from iketcp.ike import engine, outputs, upkeep
from iketcp.ike.initial_contact import superseded
from iketcp.ike.nat_detection import Path
from iketcp.ike.sa import IkeSa
from iketcp.mapping import ConnectionMap
from iketcp.stream import MAX_MESSAGE, frame_ike

DEFAULT_PATH_MTU = 1500
"""Choice: assumed while a session has no connection to ask."""

SMALLEST_INNER_MTU = 68
"""Choice: where a path has no room for a tunnel, the stream carries what its limit
would not allow; every IPv4 link takes 68 octets. Source: RFC 9329 §3."""


def mtu_of(path_mtu: int, outer_version: int, suite: Suite) -> int:
    """Return the inner MTU for a path, however small that is [9329-3-limit].

    Source: RFC 9329 §3
    """
    try:
        return inner_mtu(path_mtu, outer_version, suite)
    except ConfigurationError:
        return SMALLEST_INNER_MTU


def largest_inner(suite: Suite, most: int = MAX_MESSAGE) -> int:
    """Return the largest inner packet that one frame can carry [9329-3-max].

    Parameters
    ----------
    most : int
        Octets of the longest message that there can be.

    It is the inner MTU of a path on which UDP could carry the longest message.

    Source: RFC 9329 §3
    """
    headers = 20 + 8
    return inner_mtu(headers + most, 4, suite)


def send_on(target: Carrier, message: outputs.SendMessage) -> list[Effect]:
    """Tell of a message of ours, then send it: no answer can be told of before."""
    told = traces.message_sent(message, target)
    if isinstance(target, Path):
        datagrams = (ike_datagram(m, target.is_encapsulated) for m in message.messages)
        return [told, SendDatagrams(target, tuple(datagrams))]
    return [told, *(Transmit(target, frame_ike(each)) for each in message.messages)]


class OutputCarrier:
    """Turns outputs of IKE SAs into effects, and keeps the tables in step.

    Parameters
    ----------
    tables : Tables
        What the endpoint holds.
    connection_map : ConnectionMap
        Which connection carries which session.
    spd : OutboundSpd
        Which Child SA an inner packet goes into.
    entropy : Entropy
        For ESP.
    new_lock : Callable[[], AbstractContextManager]
        Makes the lock of a Child SA.
    datagrams : DatagramPolicy
        What a path of datagrams takes.
    stream_mtu : int or None
        Largest inner packet over TCP, in octets; None: what UDP could carry as well.
    """

    def __init__(
        self,
        tables: Tables,
        connection_map: ConnectionMap,
        spd: OutboundSpd,
        entropy: Entropy,
        new_lock: Callable[[], AbstractContextManager[object]],
        datagrams: DatagramPolicy = DatagramPolicy(),
        stream_mtu: int | None = None,
    ) -> None:
        self._datagrams = datagrams
        self._stream_mtu = stream_mtu
        self._tables = tables
        self._map = connection_map
        self._spd = spd
        self._entropy = entropy
        self._new_lock = new_lock

    def run(
        self,
        sa: IkeSa,
        session: IkeSession,
        came_on: Carrier | None,
        now: float,
        effects: list[Effect],
    ) -> None:
        """Carry out everything that ``sa`` left behind.

        Parameters
        ----------
        came_on : Carrier or None
            How the message came that caused it, if one did.
        effects : list[Effect]
            Where the effects go, in order.
        """
        sa.stir()
        if session.udp_path is not None and sa.nat.is_local_behind_nat:
            self._tables.behind_nat[session] = None
        for output in sa.take_outputs():
            match output:
                case outputs.SendMessage():
                    self._send(output, session, came_on, effects)
                case outputs.MessageAccepted():
                    effects.append(traces.message_received(output, came_on))
                case outputs.KeysDerived():
                    effects.extend(traces.ike_keys(output.sa))
                case outputs.Established():
                    self._established(sa, session, output, now, effects)
                case outputs.Closed():
                    self._closed(sa, session, output, now, effects)
                case _:
                    self._change(sa, session, output, effects)

    def prefer(self, child: ChildSa) -> None:
        """Send on this Child SA from now on. Source: RFC 7296 §2.8."""
        self._spd.prefer(child)

    def _send(
        self,
        message: outputs.SendMessage,
        session: IkeSession,
        came_on: Carrier | None,
        effects: list[Effect],
    ) -> None:
        """Send on one connection: the current one [9329-6.1-send-one].

        A stored response goes back where the request came from; the mapping has not
        moved for it [9329-6.1-reply-path]. So does every
        response over UDP. Without a connection nothing is sent: a request is repeated
        on the next one, a response when it is asked for again.

        Source: RFC 7296 §2.11, RFC 9329 §6.1
        """
        is_back = message.is_repetition or (
            message.header.is_response and isinstance(came_on, Path)
        )
        target = came_on if is_back else session.carrier
        if target is None:
            return
        session.has_sent = True
        effects += send_on(target, message)

    def _change(
        self,
        sa: IkeSa,
        session: IkeSession,
        output: outputs.Output,
        effects: list[Effect],
    ) -> None:
        match output:
            case outputs.SuccessorMade():
                new = output.successor
                self._tables.add_ike_sa(new, session)
            case outputs.HandedOver():
                session.ike = output.heir
                effects.append(traces.ike_sa_rekeyed(sa, output.heir))
            case outputs.ChildInstalled():
                self._install(sa, session, output, effects)
            case outputs.ChildPreferred():
                self._with_child(output.spi_in, self._spd.prefer)
            case outputs.ChildSendingStopped():
                self._with_child(output.spi_in, self._spd.remove)
            case outputs.ChildRemoved():
                self._remove(output.spi_in, effects)
            case outputs.ChildFailed():
                effects.append(
                    Trace(
                        "child-sa-failed",
                        {"child": output.name, "reason": output.reason},
                    )
                )
            case outputs.Assigned():
                effects.append(
                    ConfigurationAssigned(output.addresses, output.dns_servers)
                )
            case outputs.Note():  # pragma: no branch - there are no others
                effects.append(traces.note(sa, output))

    def _established(
        self,
        sa: IkeSa,
        session: IkeSession,
        output: outputs.Established,
        now: float,
        effects: list[Effect],
    ) -> None:
        """Let a session count, and end those that its peer has left behind.

        What the peer has lost ends without a word, for nobody would answer; what policy
        replaces ends with DELETE.

        Source: RFC 7296 §2.4
        """
        session.was_established = True
        self._tables.note_peer(session, output.remote_identity)
        self._tables.end_half_open(session)
        effects.append(IkeSaEstablished(sa.spi_local, output.remote_identity))
        effects.append(traces.ike_sa_established(sa))
        for older, its_session in superseded(sa, self._tables.others_of_peer(session)):
            if sa.is_initial_contact:
                older.close("its peer has begun anew")
            else:
                upkeep.expire(older, "its peer has another IKE SA")
                engine.begin_next(older, now)
            self.run(older, its_session, None, now, effects)

    def _install(
        self,
        sa: IkeSa,
        session: IkeSession,
        output: outputs.ChildInstalled,
        effects: list[Effect],
    ) -> None:
        """Make a Child SA carry packets; it receives before its answer is sent.

        TFC padding is kept within the inner MTU, so that it makes no packet too large.

        Source: RFC 7296 §2.8
        """
        parameters = output.parameters
        suite = parameters.suite
        path, path_mtu, most = self._way_of(sa, session)
        largest = largest_inner(suite, most)
        mtu = mtu_of(path_mtu, path.remote_address.version, suite)
        if self._stream_mtu is not None and session.udp_path is None:
            mtu = min(self._stream_mtu, largest)
        if parameters.tfc_pad_to > mtu:
            parameters = replace(parameters, tfc_pad_to=mtu)
        is_deferred = output.is_sending_deferred or (
            not sa.is_original_initiator and self._has_older(session, parameters)
        )
        esp = ChildSa(parameters, self._entropy, self._new_lock(), is_deferred)
        live = LiveChild(esp, session, parameters.name, mtu, largest)
        self._tables.children[parameters.spi_in] = live
        self._spd.add(esp)
        installed = ChildSaInstalled(parameters, mtu, path, sa.remote_identity)
        effects.append(installed)
        effects += traces.child_installed(parameters, output.replaces, mtu)

    def _has_older(self, session: IkeSession, parameters: ChildSaParameters) -> bool:
        """Tell whether a peer that begins anew has a Child SA like this one already.

        Then we go on sending on that one, as after a rekey: our answer, which tells the
        peer of the new one, may come after what is sent on it.

        Source: RFC 7296 §2.8, RFC 7296 §2.8.3
        """
        return any(
            child.parameters.local_ts == parameters.local_ts
            and child.parameters.remote_ts == parameters.remote_ts
            for sa, older in self._tables.others_of_peer(session)
            if older.carrier is not None
            for child in sa.children.values()
        )

    def _way_of(self, sa: IkeSa, session: IkeSession) -> tuple[Path, int, int]:
        """Return a session's path, its path MTU, and the longest message it takes."""
        if session.udp_path is not None:
            return session.udp_path, self._datagrams.path_mtu, MAX_DATAGRAM
        stream = self._tables.streams.get(session.current or ConnectionId(-1))
        if stream is None:
            return sa.path, DEFAULT_PATH_MTU, MAX_MESSAGE
        return stream.path, stream.path_mtu, MAX_MESSAGE

    def _with_child(self, spi_in: bytes, act: Callable[[ChildSa], None]) -> None:
        live = self._tables.children.get(spi_in)
        if live is not None:
            act(live.esp)

    def _remove(self, spi_in: bytes, effects: list[Effect]) -> None:
        """Stop carrying packets; the keys are dropped, nobody is shown them again."""
        live = self._tables.children.pop(spi_in)
        self._tables.retire(spi_in)
        self._spd.remove(live.esp)
        live.esp.forget_keys()
        effects.append(ChildSaRemoved(live.esp.parameters))
        effects.append(traces.child_removed(live.esp))

    def _closed(
        self,
        sa: IkeSa,
        session: IkeSession,
        output: outputs.Closed,
        now: float,
        effects: list[Effect],
    ) -> None:
        """Forget an IKE SA; with the one that exchanges are begun on the session ends.

        What a rekey left beside it ends too.

        Source: RFC 9329 §6.1
        """
        self._tables.remove_ike_sa(sa, session)
        effects.append(traces.ike_sa_closed(sa, output.reason))
        if session.ike is not sa:
            return
        session.ike = None
        self._tables.forget_peer(session)
        self._tables.behind_nat.pop(session, None)
        is_timed_out = sa.state_deadline is not None and now >= sa.state_deadline
        self._tables.end_half_open(session, is_timed_out)
        session.was_unheard = output.is_unheard
        effects.append(
            IkeSaClosed(
                sa.spi_local, output.reason, output.is_unheard, session.is_spare
            )
        )
        for connection in self._map.ended(session, now):
            effects.append(CloseConnection(connection, "its session is deleted"))
        for other in list(session.ike_sas):
            other.close("its session is deleted")
            self.run(other, session, None, now, effects)
