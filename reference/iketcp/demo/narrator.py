"""The account of what happens: trace events of two peers, told as one story.

Both peers write traces, and most things leave one on each side. The story tells each
once, from the side that did it: a message where it was sent, a connection where it was
opened, the mapping where it moved. The other side's trace is evidence and is checked
elsewhere.

Telling is in two parts: :class:`Story` turns events into lines and knows nothing of
terminals; :class:`Narrator` puts lines on one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from iketcp.demo.explanations import Explanation, explain, purpose
from iketcp.demo.picture import picture, to_ascii
from iketcp.demo.scenery import EAST, WEST

Event = Mapping[str, Any]

HOLD_SECONDS = 0.05
"""How long an event waits for an earlier one that comes by another pipe."""

_TROUBLE = {"problem", "child-sa-failed", "exchange-failed", "refused"}
_ELAPSED_WIDTH = 8
_WHO_WIDTH = 14


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story."""

    time: float
    who: str
    """A site; for what goes from one to the other, its sender."""
    towards: str
    """The receiving site, or empty."""
    title: str
    details: tuple[str, ...] = ()
    explanation: Explanation | None = None
    is_trouble: bool = False


class Story:
    """Turns trace events into lines, in order of their times."""

    def __init__(self) -> None:
        self._held: list[tuple[float, str, Event]] = []
        self._told: set[Explanation] = set()
        self._purposes: dict[tuple[str, str, int], str] = {}

    def add(self, site: str, event: Event) -> None:
        """Take an event of a site's trace."""
        self._held.append((float(event.get("time", 0.0)), site, event))

    def due(self, now: float) -> list[Line]:
        """Return the lines of all events that are old enough to be in order."""
        before = now - HOLD_SECONDS
        ready = [held for held in self._held if held[0] <= before]
        self._held = [held for held in self._held if held[0] > before]
        asked = {
            _exchange(site, event): time
            for time, site, event in ready
            if _is_sent(event) and not event.get("is_response")
        }
        ready.sort(key=lambda held: _place(held, asked))
        lines = (self._line(site, event) for _, site, event in ready)
        return [line for line in lines if line is not None]

    def _line(self, site: str, event: Event) -> Line | None:
        """Tell one event, or nothing if the other side tells it."""
        kind = event["kind"]
        told = _tell(site, event)
        if told is None:
            return None
        title, details, is_crossing = told
        about = self._purpose(site, event) if kind == "ike-message" else ""
        explanation = explain(event, about)
        if explanation in self._told:
            explanation = None
        elif explanation is not None:
            self._told.add(explanation)
        return Line(
            time=float(event.get("time", 0.0)),
            who=site,
            towards=_other(site) if is_crossing else "",
            title=title,
            details=details,
            explanation=explanation,
            is_trouble=kind in _TROUBLE,
        )

    def _purpose(self, site: str, event: Event) -> str:
        """Name the purpose of a message's exchange: that of its request."""
        key = _exchange(site, event)
        if event.get("is_response"):
            return self._purposes.pop(key, purpose(event))
        self._purposes[key] = purpose(event)
        return self._purposes[key]


def _is_sent(event: Event) -> bool:
    return event["kind"] == "ike-message" and event.get("direction") == "sent"


def _exchange(site: str, event: Event) -> tuple[str, str, int]:
    """Name the exchange that a message of ``site`` belongs to."""
    requester = _other(site) if event.get("is_response") else site
    return requester, str(event.get("spi_i")), int(event.get("message_id", 0))


def _place(
    held: tuple[float, str, Event], asked: dict[tuple[str, str, int], float]
) -> tuple[float, bool]:
    """Order by time, but no response before its request.

    A quick answer may be on its way before the other side notes down what it asked.
    """
    time, site, event = held
    is_answer = _is_sent(event) and bool(event.get("is_response"))
    if is_answer:
        time = max(time, asked.get(_exchange(site, event), time))
    return time, is_answer


def _other(site: str) -> str:
    return EAST if site == WEST else WEST


Told = tuple[str, tuple[str, ...], bool]
"""Title, details, and whether it went from one site to the other."""


def _tell(site: str, event: Event) -> Told | None:
    kind = event["kind"]
    if kind in _TROUBLE:
        rest = {key: value for key, value in event.items() if key not in _COMMON}
        return f"{kind}: {', '.join(map(str, rest.values()))}", (), False
    if kind == "ike-message":
        return _tell_message(event) if event.get("direction") == "sent" else None
    if site != (EAST if kind == "mapping-moved" else WEST) and kind != "tunnel-device":
        return None
    teller = _TELLERS.get(kind)
    return None if teller is None else teller(event)


_COMMON = {"kind", "time", "spi_i", "spi_r"}


def _tell_message(event: Event) -> Told:
    what = "response" if event["is_response"] else "request"
    again = ", again" if event.get("is_retransmission") else ""
    title = (
        f"{event['exchange']} {what}, Message ID {event['message_id']}{again}"
        f" ({event['octets']} octets)"
    )
    payloads = " · ".join(event["payloads"]) or "no payloads"
    return title, (payloads,), True


def _tell_opened(event: Event) -> Told:
    where = f"{event['local']} to {event['remote']}"
    return f"TCP connection {event['connection']}: {where}", (), True


def _tell_prefix(event: Event) -> Told | None:
    if event["direction"] != "sent":
        return None
    return "stream prefix IKETCP", (), True


def _tell_tls(event: Event) -> Told:
    title = f"TLS around connection {event['connection']}: {event['protection']}"
    return title, (), False


def _tell_ike_keys(event: Event) -> Told:
    details = (f"{event['suite']}", f"SPIi {event['spi_i']}, SPIr {event['spi_r']}")
    return f"keys agreed: {', '.join(event['keys'])}", details, False


def _tell_child_keys(event: Event) -> Told:
    names = ", ".join(event["keys"])
    return f"keys of Child SA {event['child']}: {names}", (event["suite"],), False


def _tell_established(event: Event) -> Told:
    return f"IKE SA with {event['remote_identity']} established", (), False


def _tell_child(event: Event) -> Told:
    verb = "rekeyed" if event["kind"] == "child-sa-rekeyed" else "up"
    spis = f"SPI in {event['spi_in']}, out {event['spi_out']}"
    details = [spis]
    if "local_ts" in event:
        ours, theirs = (", ".join(event[f"{end}_ts"]) for end in ("local", "remote"))
        details.append(f"{ours}  to  {theirs}")
    return f"Child SA {event['child']} {verb}", tuple(details), False


def _tell_removed(event: Event) -> Told:
    spis = f"SPI in {event['spi_in']}, out {event['spi_out']}"
    return f"Child SA {event['child']} removed ({spis})", (), False


def _tell_device(event: Event) -> Told:
    addresses = ", ".join(event["addresses"]) or "no address yet"
    title = f"tunnel device {event['name']}, MTU {event['mtu']}: {addresses}"
    return title, (), False


def _tell_closed(event: Event) -> Told:
    return f"TCP connection {event['connection']} ended: {event['reason']}", (), False


def _tell_moved(event: Event) -> Told:
    origin = f"from connection {event['from']} " if event["from"] else ""
    return f"IKE SA moved {origin}to connection {event['to']}", (), False


def _tell_ike_closed(event: Event) -> Told:
    return f"IKE SA closed: {event['reason']}", (), False


_TELLERS = {
    "connection-opened": _tell_opened,
    "stream-prefix": _tell_prefix,
    "tls": _tell_tls,
    "ike-keys": _tell_ike_keys,
    "child-keys": _tell_child_keys,
    "ike-sa-established": _tell_established,
    "child-sa-installed": _tell_child,
    "child-sa-rekeyed": _tell_child,
    "child-sa-removed": _tell_removed,
    "tunnel-device": _tell_device,
    "connection-closed": _tell_closed,
    "mapping-moved": _tell_moved,
    "ike-sa-closed": _tell_ike_closed,
}


class Narrator:
    """Puts the story on a terminal, with the time since the start before each line.

    Parameters
    ----------
    console : Console
        Where to.
    started : float
        The moment that is zero, on the clock of the events.
    """

    def __init__(self, console: Console, started: float) -> None:
        self._console = console
        self._started = started
        self._is_ascii = console.options.ascii_only

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self._console.print()
        self._console.print(Text(self._plain(text), style="bold"))

    def tell(self, lines: Iterable[Line]) -> None:
        """Show lines of the story."""
        for line in lines:
            self._console.print(self._render(line))

    def say(self, now: float, text: str, who: str = "", style: str = "") -> None:
        """Show a remark of the demonstration itself."""
        self._console.print(
            self._row(now, Text(who), Text(self._plain(text), style=style))
        )

    def picture(self, has_namespaces: bool) -> None:
        """Draw the two sites, the wire and the tunnel."""
        self._console.print(Padding(Text(picture(self._is_ascii, has_namespaces)), 1))

    def _render(self, line: Line) -> RenderableType:
        style = "bold red" if line.is_trouble else "bold" if line.towards else ""
        text = Text(self._plain(line.title), style=style)
        for detail in line.details:
            text.append(f"\n{self._plain(detail)}", style="not bold")
        if line.explanation is not None:
            told, section = line.explanation.text, line.explanation.section
            text.append(f"\n{self._plain(told)}", style="not bold dim italic")
            text.append(f" [{self._plain(section)}]", style="not bold dim cyan")
        return self._row(line.time, self._who(line), text)

    def _who(self, line: Line) -> Text:
        colour = "green" if line.who == WEST else "magenta"
        if not line.towards:
            return Text(line.who, style=colour)
        return Text(self._plain(f"{line.who} ──▶ {line.towards}"), style=colour)

    def _row(self, now: float, who: Text, text: Text) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=_ELAPSED_WIDTH, justify="right", no_wrap=True)
        grid.add_column(width=_WHO_WIDTH, no_wrap=True)
        grid.add_column()
        elapsed = Text(f"{now - self._started:.3f}", style="dim")
        grid.add_row(elapsed, who, text)
        return grid

    def _plain(self, text: str) -> str:
        return to_ascii(text) if self._is_ascii else text
