"""The command ``iketcp relay``: its options, its signals, its end.

SIGTERM and SIGINT end it in order: nobody new, and those who are there have a while. A
second one ends it at once. SIGHUP makes it read certificates and look up names again.

Source: RFC 9329 §2
"""

from __future__ import annotations

import contextlib
import select
import signal
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from iketcp.relay.policy import RelayPolicy

if TYPE_CHECKING:
    from iketcp.config.relay import RelayConfig
    from iketcp.net.wake import Wake
    from iketcp.peers.relay import Relay

_POLICY = RelayPolicy()
DESCRIPTORS_EACH = 3
"""A connection takes a TCP socket, an event to wake its thread, and a UDP port."""

_LIMITS = "Limits"
_TLS = "TLS"
_RUNNING = "Running"

Listen = Annotated[
    str,
    typer.Option("--listen", metavar="[ADDRESS]:PORT", help="Where clients come to."),
]
To = Annotated[
    str,
    typer.Option("--to", metavar="HOST:PORT", help="The IKE daemon, or the gateway."),
]
Originate = Annotated[
    bool,
    typer.Option("--originate", help="The mirror: UDP comes in, TCP or TLS goes out."),
]
IkePort = Annotated[
    int | None,
    typer.Option(
        help="With --originate: also take IKE on this UDP port, usually 500.",
        min=0,
        max=65535,
    ),
]
ProxyProtocolFrom = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS",
        help="A balancer, which says first for whom it connects (PROXY protocol).",
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option(
        "--tls-certificate",
        metavar="FILE",
        help="Expect TLS, and show this certificate (PEM, with its chain).",
        rich_help_panel=_TLS,
    ),
]
PrivateKey = Annotated[
    Path | None,
    typer.Option(
        "--tls-key", metavar="FILE", help="Its private key.", rich_help_panel=_TLS
    ),
]
UseTls = Annotated[
    bool,
    typer.Option("--tls", help="With --originate: speak TLS.", rich_help_panel=_TLS),
]
Authorities = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca",
        metavar="FILE",
        help="CAs to believe instead of the system's.",
        rich_help_panel=_TLS,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--tls-name",
        metavar="NAME",
        help="Whom the gateway's certificate is for, if not the host of --to.",
        rich_help_panel=_TLS,
    ),
]
Pins = Annotated[
    list[str] | None,
    typer.Option(
        "--tls-pin",
        metavar="sha256:HEX",
        help="The gateway's public key, whoever has certified it.",
        rich_help_panel=_TLS,
    ),
]
Connections = Annotated[
    int,
    typer.Option(help="Connections in all.", min=1, rich_help_panel=_LIMITS),
]
HalfOpen = Annotated[
    int,
    typer.Option(
        help="Connections that have had no answer yet, in all.",
        min=1,
        rich_help_panel=_LIMITS,
    ),
]
HalfOpenPerAddress = Annotated[
    int,
    typer.Option(help="The same, of one address.", min=1, rich_help_panel=_LIMITS),
]
Idle = Annotated[
    str,
    typer.Option(help="Idle connections close; 0: never.", rich_help_panel=_LIMITS),
]
Grace = Annotated[
    str,
    typer.Option(
        help="How long a lost client's UDP port is kept.", rich_help_panel=_LIMITS
    ),
]
Drain = Annotated[
    str,
    typer.Option(
        help="How long connections may go on at the end.", rich_help_panel=_RUNNING
    ),
]
Control = Annotated[
    str,
    typer.Option(
        metavar="PATH",
        help="Unix socket for iketcp status; auto or none.",
        rich_help_panel=_RUNNING,
    ),
]
LogFormat = Annotated[str, typer.Option(help="text or json.", rich_help_panel=_RUNNING)]
Trace = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Write events as JSON Lines; '-': stdout.",
        rich_help_panel=_RUNNING,
    ),
]


def relay(
    context: typer.Context,
    listen: Listen,
    to: To,
    originate: Originate = False,
    ike_port: IkePort = None,
    proxy_protocol_from: ProxyProtocolFrom = None,
    tls_certificate: Certificate = None,
    tls_key: PrivateKey = None,
    tls: UseTls = False,
    tls_ca: Authorities = None,
    tls_name: Name = None,
    tls_pin: Pins = None,
    connections: Connections = _POLICY.connection_limit,
    half_open: HalfOpen = _POLICY.half_open_limit,
    half_open_per_address: HalfOpenPerAddress = _POLICY.half_open_address_limit,
    idle: Idle = f"{_POLICY.idle_seconds:g}s",
    grace: Grace = f"{_POLICY.grace_seconds:g}s",
    drain: Drain = "30s",
    control: Control = "auto",
    log_format: LogFormat = "text",
    trace: Trace = None,
) -> None:
    """Stand between IKE over TCP and an IKE daemon, or client, that has only UDP."""
    from iketcp.config.relay import RelayOptions, build
    from iketcp.errors import ConfigurationError

    if log_format not in ("text", "json"):
        raise ConfigurationError('--log-format must be "text" or "json"')
    names = {field.name for field in fields(RelayOptions)}
    given = {name: value for name, value in context.params.items() if name in names}
    options = RelayOptions(**given)
    _run(lambda: build(options), control, log_format == "json", trace)


def _run(
    read: Callable[[], RelayConfig], control: str, is_json: bool, trace: str | None
) -> None:
    """Run a relay until a signal ends it."""
    from iketcp.config import LogConfig
    from iketcp.console import FAILED, INTERRUPTED, open_sinks
    from iketcp.net.wake import Wake
    from iketcp.peers.relay_tcp_originator import UdpToTcp
    from iketcp.peers.relay_tcp_responder import TcpToUdp

    config = read()
    _warn(config)
    _make_room(config)
    log = LogConfig("info", None, "json" if is_json else "text")
    kind = UdpToTcp if config.is_originator else TcpToUdp
    with (
        contextlib.closing(Wake()) as stop,
        contextlib.closing(Wake()) as again,
        open_sinks(log, trace) as sinks,
    ):
        running = kind(config, sinks)
        signals = _Signals(stop, again, running.hurry)
        with signals.installed():
            try:
                _serve_control(running, control)
                running.start()
                running.on_end(stop.set)
                _wait(running, read, stop, again)
            finally:
                running.stop()
    if signals.are_impatient:
        raise typer.Exit(INTERRUPTED)
    if running.ended_reason is not None:
        typer.echo(f"iketcp: {running.ended_reason}", err=True)
        raise typer.Exit(FAILED)


def _wait(
    running: Relay, read: Callable[[], RelayConfig], stop: Wake, again: Wake
) -> None:
    """Wait for the end, and read everything anew when asked to."""
    from iketcp.errors import ConfigurationError, EnvironmentProblem

    poller = select.poll()
    for wake in (stop, again):
        poller.register(wake.fileno(), select.POLLIN)
    while True:
        poller.poll()
        if stop.is_set():
            return
        again.clear()
        try:
            config = read()
            running.reload(config)
        except (ConfigurationError, EnvironmentProblem) as error:
            running.tell("problem", {"text": f"nothing is changed: {error}"})
        else:
            _warn(config)
            running.tell("reloaded", {})


def _make_room(config: RelayConfig) -> None:
    """Ask for enough file descriptors, and say so if there cannot be enough."""
    from iketcp.net.system import raise_descriptor_limit

    limit = raise_descriptor_limit()
    if limit < config.policy.connection_limit * DESCRIPTORS_EACH:
        enough = limit // DESCRIPTORS_EACH
        typer.echo(
            f"iketcp: warning: the limit on open files, {limit}, is enough for about "
            f"{enough} connections; raise it, or give --connections",
            err=True,
        )


def _warn(config: RelayConfig) -> None:
    for warning in config.warnings:
        typer.echo(f"iketcp: warning: {warning}", err=True)


def _serve_control(running: Relay, control: str) -> None:
    from iketcp.config import default_control_socket
    from iketcp.peers.control import RelayControl

    if control != "none":
        is_auto = control == "auto"
        path = default_control_socket("relay") if is_auto else Path(control)
        server = RelayControl(running, path)
        running.serve("control", server.run, server.stop)


class _Signals:
    """What signals do: end the relay in order, then at once; or have it read anew."""

    def __init__(self, stop: Wake, again: Wake, hurry: Callable[[], None]) -> None:
        self._stop = stop
        self._again = again
        self._hurry = hurry
        self.are_impatient = False

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Heed signals, and put back what was heeded before."""
        heeded = {
            signal.SIGINT: self._end,
            signal.SIGTERM: self._end,
            signal.SIGHUP: self._reload,
        }
        before = {number: signal.signal(number, do) for number, do in heeded.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _reload(self, number: int, frame: FrameType | None) -> None:
        self._again.set()

    def _end(self, number: int, frame: FrameType | None) -> None:
        if not self._stop.is_set():
            self._stop.set()
            return
        self.are_impatient = True
        self._hurry()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
