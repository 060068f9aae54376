"""The command line: ``iketcp COMMAND``; ``iketcp --help`` lists the commands.

Exit codes: 0 all went well; 1 it ran and failed (the peer refused, a step of the demo
did not happen); 2 it could not begin (wrong configuration, missing privilege, no
running peer); 130 interrupted where that is not the normal end. Modules are imported
only when a command needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from iketcp.bench_command import bench_app
from iketcp.console import FAILED, INTERRUPTED, UNUSABLE, open_sinks
from iketcp.relay_command import relay
from iketcp.vectorlib.commands import vectors_app

if TYPE_CHECKING:
    from iketcp.net.wake import Wake
    from iketcp.peers import Peer
    from iketcp.peers.sinks import KeyLog


app = typer.Typer(
    name="iketcp",
    help="IKE and IPsec over TCP (RFC 9329): reference implementation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(vectors_app)
app.add_typer(bench_app)
app.command()(relay)

psk_app = typer.Typer(name="psk", help="Pre-shared keys.", no_args_is_help=True)
app.add_typer(psk_app)

tls_app = typer.Typer(name="tls", help="Certificates for TLS.", no_args_is_help=True)
app.add_typer(tls_app)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="TOML configuration.")
]
TraceOption = Annotated[
    str | None,
    typer.Option(
        "--trace", metavar="FILE", help="Write events as JSON Lines; '-': stdout."
    ),
]
KeyLogOption = Annotated[
    Path | None,
    typer.Option(
        "--insecure-keylog",
        metavar="DIR",
        help="Write keys for Wireshark; whoever has them reads everything.",
    ),
]


def main() -> None:
    """Run the command line; expected failures end in one sentence and an exit code."""
    from iketcp.errors import ConfigurationError, EnvironmentProblem

    try:
        app()
    except (ConfigurationError, EnvironmentProblem) as error:
        typer.echo(f"iketcp: {error}", err=True)
        sys.exit(UNUSABLE)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.")
    ] = False,
) -> None:
    if version:
        from iketcp import __version__

        typer.echo(f"iketcp {__version__}")
        raise typer.Exit


@app.command()
def initiator(
    config: ConfigOption,
    trace: TraceOption = None,
    insecure_keylog: KeyLogOption = None,
) -> None:
    """Connect to a responder and hold the tunnel until Ctrl-C."""
    _run_peer("initiator", config, trace, insecure_keylog)


@app.command()
def responder(
    config: ConfigOption,
    trace: TraceOption = None,
    insecure_keylog: KeyLogOption = None,
) -> None:
    """Listen for initiators and serve them until Ctrl-C."""
    _run_peer("responder", config, trace, insecure_keylog)


def _run_peer(
    role: Literal["initiator", "responder"],
    config: Path,
    trace: str | None,
    keylog: Path | None,
) -> None:
    from iketcp.config import load
    from iketcp.net.system import raise_descriptor_limit
    from iketcp.net.wake import Wake
    from iketcp.peers import Initiator, Responder

    configuration = load(config, role)
    raise_descriptor_limit()  # a responder needs two for each connection
    for warning in configuration.warnings:
        typer.echo(f"iketcp: warning: {warning}", err=True)
    kind = Initiator if role == "initiator" else Responder
    with (
        contextlib.closing(Wake()) as stop,
        open_sinks(configuration.log, trace) as sinks,
        _signals(stop) as signals,
    ):
        peer = kind(configuration, sinks, _key_log(keylog))
        signals.hurry = peer.hurry
        try:
            _serve_control(peer, stop)
            peer.start()
            peer.on_end(stop.set)
            stop.wait()
        finally:
            peer.stop()
    if signals.are_impatient:
        sys.exit(INTERRUPTED)
    if peer.ended_reason is not None:
        typer.echo(f"iketcp: {peer.ended_reason}", err=True)
        sys.exit(FAILED)


def _serve_control(peer: Peer, stop: Wake) -> None:
    from iketcp.peers.control import ControlServer

    path = peer.configuration.control.socket
    if path is not None:
        control = ControlServer(peer, path, stop.set)
        peer.serve("control", control.run, control.stop)


class _Signals:
    """What signals do: the first ends the peer in order, the second without waiting.

    The third does what it does to any program.
    """

    def __init__(self, stop: Wake) -> None:
        self._stop = stop
        self._before: dict[int, Any] = {}
        self.are_impatient = False
        self.hurry: Callable[[], None] = lambda: None

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            is_ignored = signal.getsignal(number) == signal.SIG_IGN
            if number == signal.SIGHUP and is_ignored:
                continue  # nohup
            self._before[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._stop.is_set():
            self._stop.set()
            return
        self.are_impatient = True
        self.hurry()
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)


@contextlib.contextmanager
def _signals(stop: Wake) -> Iterator[_Signals]:
    """Let signals end the peer; a closed terminal does so, too."""
    signals = _Signals(stop)
    signals.install()
    try:
        yield signals
    finally:
        signals.restore()


def _key_log(folder: Path | None) -> KeyLog | None:
    if folder is None:
        return None
    from iketcp.errors import EnvironmentProblem
    from iketcp.peers.sinks import KeyLog

    typer.echo(
        f"iketcp: warning: keys are written to {folder}; "
        "whoever reads them reads the tunnel",
        err=True,
    )
    try:
        return KeyLog(folder)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write keys: {error}") from error


@app.command()
def status(
    socket: Annotated[
        Path | None,
        typer.Option("--socket", metavar="PATH", help="Control socket to ask."),
    ] = None,
    role: Annotated[
        str, typer.Option(help="Whose default socket: initiator, responder or relay.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show SAs, connections, counters and rates of a running peer."""
    from iketcp.peers.control import ask
    from iketcp.status_view import find_socket, render

    answer = ask(find_socket(socket, role), {"command": "status"})
    if as_json and "error" not in answer:
        typer.echo(json.dumps(answer, indent=2))
    else:
        render(answer)


@psk_app.command()
def new(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write it into a new file that only its owner can read.",
        ),
    ] = None,
) -> None:
    """Make a strong secret; psk_file and ppk_file take it as it is printed."""
    from iketcp.config.psk import new_psk, write_psk

    if output is None:
        typer.echo(new_psk())
    else:
        write_psk(output)


@tls_app.command("new")
def new_tls(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write.")],
    names: Annotated[
        list[str],
        typer.Option(
            "--name",
            "-n",
            metavar="NAME",
            help="Host name or IP address of the server; as often as it has some.",
        ),
    ],
) -> None:
    """Make a CA and a certificate of it for a server, for demos: [tls] names them."""
    from iketcp.config.issuing import write_tls_files
    from iketcp.net.tls import pin_of

    certificate = write_tls_files(folder, names)
    end = certificate.not_valid_after_utc
    typer.echo(f"The responder's: {folder / 'server.pem'}, {folder / 'server.key'}")
    typer.echo(f"The initiator's: {folder / 'ca.pem'}")
    typer.echo(f"Or its pin:      sha256:{pin_of(certificate).hex()}")
    typer.echo(f"Valid until {end:%Y-%m-%d}; the CA's key is not kept.")


@app.command()
def demo(
    pcap: Annotated[
        Path | None,
        typer.Option("--pcap", metavar="FILE", help="Capture the wire as pcapng."),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="auto, root, user (namespace) or memory.")
    ] = "auto",
    scenario: Annotated[
        str, typer.Option(help="What is special: psk (nothing), eap, cert or pq.")
    ] = "psk",
    tls: Annotated[bool, typer.Option("--tls", help="Put TLS around it.")] = False,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="Put a web proxy between them.")
    ] = False,
    relay: Annotated[
        bool,
        typer.Option("--relay", help="Let the responder have UDP, and a relay TCP."),
    ] = False,
) -> None:
    """Run two peers on this machine and tell what happens between them."""
    from iketcp.demo import DemoOptions, run_demo
    from iketcp.demo.wrapping import Wrapping

    wrapping = Wrapping(tls, proxy, relay)
    sys.exit(run_demo(DemoOptions(pcap, mode, scenario=scenario, wrapping=wrapping)))


if __name__ == "__main__":
    main()
