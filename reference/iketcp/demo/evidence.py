"""What both peers' traces prove.

No step of the demonstration counts because somebody says so. A message was exchanged
if one side's trace says sent and the other's says received; keys agree if both sides
name the same SPIs and suite; a Child SA is up if each side's outbound SPI is the
other's inbound one. These functions look, and never wait.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from iketcp.demo.explanations import purpose
from iketcp.demo.scenery import EAST, SITES, WEST

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response, each seen by both sides."""

    request: Event
    """As its sender's trace has it."""
    response: Event
    """As its receiver's trace has it."""


class Evidence:
    """Every trace event of both sites, in the order of each trace."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = defaultdict(list)
        self.is_direct = True
        """Both sides see each other's address: there is no proxy between them."""
        self.gate = EAST
        """Who takes west's TCP connections: the eastern peer, or a relay before it."""

    def add(self, site: str, event: Event) -> None:
        """Take an event of a site's trace."""
        self.events[site].append(event)

    def mark(self) -> dict[str, int]:
        """Remember this moment, for ``since``."""
        return {site: len(self.events[site]) for site in {*SITES, self.gate}}

    def of(
        self,
        site: str,
        kind: str,
        since: Mapping[str, int] | None = None,
        **fields: object,
    ) -> list[Event]:
        """Return a site's events of one kind whose fields have these values."""
        first = since[site] if since else 0
        return [
            event
            for event in self.events[site][first:]
            if event["kind"] == kind
            and all(event.get(name) == value for name, value in fields.items())
        ]

    def connection(self, since: Mapping[str, int] | None = None) -> Event | None:
        """Return a connection from west to east that both opened, as west has it.

        Its prefix must have been sent and, unless a relay takes it, received too.
        """
        for opened in self.of(WEST, "connection-opened", since, is_tcp_originator=True):
            seen = {"remote": opened["local"]} if self.is_direct else {}
            accepted = self.of(self.gate, "connection-opened", since, **seen)
            sent = self._prefix(WEST, "sent", opened, since)
            if sent and any(
                self.gate != EAST or self._prefix(EAST, "received", each, since)
                for each in accepted
            ):
                return opened
        return None

    def are_closed(self, since: Mapping[str, int]) -> bool:
        """Tell whether both ends of a TCP connection have seen its end."""
        ends = (WEST, self.gate)
        return all(self.of(end, "connection-closed", since) for end in ends)

    def has_returned(self, since: Mapping[str, int]) -> bool:
        """Tell whether who takes connections has recognised west on another one."""
        kind = "mapping-moved" if self.gate == EAST else "client-returned"
        return bool(self.of(self.gate, kind, since))

    def protections(self, since: Mapping[str, int] | None = None) -> set[str]:
        """Return how both sides say that connections are protected.

        Empty until each has said so.
        """
        said = [self.of(site, "tls", since) for site in SITES]
        if not all(said):
            return set()
        return {str(event["protection"]) for events in said for event in events}

    def _prefix(
        self,
        site: str,
        direction: str,
        opened: Event,
        since: Mapping[str, int] | None,
    ) -> bool:
        number = opened["connection"]
        found = self.of(
            site, "stream-prefix", since, direction=direction, connection=number
        )
        return bool(found)

    def exchange(
        self, requester: str, about: str, since: Mapping[str, int] | None = None
    ) -> Exchange | None:
        """Return a whole exchange: request and response, both sent and received.

        Parameters
        ----------
        requester : str
            The site that sent the request.
        about : str
            Its purpose: an exchange's name, ``"DELETE"`` or ``"EMPTY"``.
        since : Mapping or None
            A mark; only events after it count.
        """
        responder = EAST if requester == WEST else WEST
        for request in self._messages(requester, "sent", False, since):
            if purpose(request) != about:
                continue
            if not self._same(request, self._messages(responder, "received", False)):
                continue
            answered = self._same(
                request, self._messages(responder, "sent", True, since)
            )
            response = self._same(
                request, self._messages(requester, "received", True, since)
            )
            if answered and response:
                return Exchange(request, response)
        return None

    def _messages(
        self,
        site: str,
        direction: str,
        is_response: bool,
        since: Mapping[str, int] | None = None,
    ) -> list[Event]:
        return self.of(
            site, "ike-message", since, direction=direction, is_response=is_response
        )

    def _same(self, request: Event, messages: Iterable[Event]) -> Event | None:
        """Find the message that belongs to a request; SPIr is not yet in the first."""
        names = ("exchange", "message_id", "spi_i")
        for message in messages:
            if all(message.get(name) == request.get(name) for name in names):
                return message
        return None

    def agreed_keys(self) -> Event | None:
        """Return west's ``ike-keys`` if east has the same SPIs and suite."""
        for ours in self.of(WEST, "ike-keys"):
            same = {name: ours[name] for name in ("spi_i", "spi_r", "suite", "keys")}
            if self.of(EAST, "ike-keys", **same):
                return ours
        return None

    def established(self) -> Event | None:
        """Return west's ``ike-sa-established`` if east has the same IKE SA."""
        for ours in self.of(WEST, "ike-sa-established"):
            same = {name: ours[name] for name in ("spi_i", "spi_r")}
            if self.of(EAST, "ike-sa-established", **same):
                return ours
        return None

    def child(
        self, kind: str = "child-sa-installed", since: Mapping[str, int] | None = None
    ) -> Event | None:
        """Return west's Child SA event if east has its mirror image."""
        for ours in self.of(WEST, kind, since):
            mirror = {"spi_in": ours["spi_out"], "spi_out": ours["spi_in"]}
            if self.of(EAST, kind, since, **mirror):
                return ours
        return None

    def is_removed(self, child: Event, since: Mapping[str, int] | None = None) -> bool:
        """Tell whether both sites have removed a Child SA, given west's event of it."""
        spi_in, spi_out = child["spi_in"], child["spi_out"]
        west = self.of(WEST, "child-sa-removed", since, spi_in=spi_in, spi_out=spi_out)
        east = self.of(EAST, "child-sa-removed", since, spi_in=spi_out, spi_out=spi_in)
        return bool(west and east)
