"""``iketcp status`` for people: tables of SAs, Child SAs and connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from iketcp.config import ROLES, default_control_socket
from iketcp.errors import ConfigurationError, EnvironmentProblem

ANSWERING = (*ROLES, "relay")
"""Who may have a control socket."""

MOST_SHOWN = 50
"""Choice: connections of a relay that are listed."""


def find_socket(path: Path | None, role: str) -> Path:
    """Return the control socket to ask: the given one, or a role's default.

    Raises
    ------
    ConfigurationError
        No such role.
    EnvironmentProblem
        No socket is where a running peer would have one.
    """
    if path is not None:
        return path
    if role and role not in ANSWERING:
        raise ConfigurationError(f"--role must be one of {', '.join(ANSWERING)}")
    candidates = [default_control_socket(r) for r in ANSWERING if role in ("", r)]
    for candidate in candidates:
        if candidate.is_socket():
            return candidate
    where = " or ".join(map(str, candidates))
    raise EnvironmentProblem(f"no peer is running: there is no socket at {where}")


def render(answer: dict[str, Any], console: Console | None = None) -> None:
    """Print a status answer as tables.

    Names that a peer chose are shown as they are, never read as markup.

    Raises
    ------
    EnvironmentProblem
        The answer is none.
    """
    if "error" in answer:
        raise EnvironmentProblem(f"the peer answers: {answer['error']}")
    console = console or Console(markup=False, highlight=False, emoji=False)
    if answer["role"] == "relay":
        _render_relay(answer, console)
        return
    tunnel, rates = answer["tunnel"], answer["rates"]
    addresses = ", ".join(tunnel["addresses"]) or "no address"
    console.print(
        f"{answer['role']}, up {answer['up_seconds']:g} s; "
        f"{tunnel['device']} MTU {tunnel['mtu']}, {addresses}; "
        f"in {_rate(rates['bits_per_second_in'])}, "
        f"out {_rate(rates['bits_per_second_out'])}"
    )
    if (udp := answer["udp"]) is not None:
        console.print(
            f"UDP on {', '.join(udp['sockets'])}: in {_size(udp['octets_in'])}, "
            f"out {_size(udp['octets_out'])}, {udp['lost_datagrams']} datagrams lost"
        )
    console.print(_ike_table(answer["ike_sas"]))
    console.print(_child_table(answer["child_sas"]))
    console.print(_connection_table(answer["connections"]))
    _print_counts(answer, console)


def _render_relay(answer: dict[str, Any], console: Console) -> None:
    rates, udp, lines = answer["rates"], answer["udp"], answer["connections"]
    console.print(
        f"relay, {answer['direction']} {answer['to']}, up {answer['up_seconds']:g} s"
        + ("; draining" if answer["is_draining"] else "")
    )
    console.print(
        f"TCP: {len(lines)} connections, in {_rate(rates['bits_per_second_in'])}, "
        f"out {_rate(rates['bits_per_second_out'])}"
    )
    if "ports" in udp:
        console.print(
            f"UDP: {udp['ports']} ports, {udp['absent_clients']} clients absent"
        )
    console.print(
        f"UDP: in {_size(udp['octets_in'])}, out {_size(udp['octets_out'])}, "
        f"{udp['lost_datagrams']} datagrams lost"
    )
    table = _table("TCP connections", "id", "remote", "state", "in", "out", "idle")
    for entry in lines[:MOST_SHOWN]:
        state = "half-open" if entry["is_half_open"] else "answered"
        table.add_row(
            str(entry["connection"]),
            entry.get("remote", "connecting"),
            " ".join(filter(None, (state, entry.get("protection", "")))),
            _size(entry.get("octets_in", 0)),
            _size(entry.get("octets_out", 0)),
            f"{entry['idle_seconds']:.0f} s",
        )
    console.print(table)
    if len(lines) > MOST_SHOWN:
        console.print(f"and {len(lines) - MOST_SHOWN} more; --json has them all")
    _print_counts(answer, console)


def _print_counts(answer: dict[str, Any], console: Console) -> None:
    console.print(_half_open_table(answer["half_open"]))
    for reason, count in sorted(answer["closed"].items()):
        console.print(f"closed: {count}, {reason}")
    for reason, count in sorted(answer["dropped"].items()):
        console.print(f"dropped: {count}, {reason}")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _ike_table(entries: list[dict[str, Any]]) -> Table:
    table = _table("IKE SAs", "SPIi / SPIr", "peer", "state", "suite", "conn", "rekey")
    for entry in entries:
        rekey = entry["rekey_in_seconds"]
        table.add_row(
            f"{entry['spi_i']}\n{entry['spi_r']}",
            entry["remote_identity"],
            entry["state"],
            entry["suite"],
            _way(entry),
            "never" if rekey is None else f"{rekey:.0f} s",
        )
    return table


def _way(entry: dict[str, Any]) -> str:
    """Say what carries an IKE SA: a connection by its number, or UDP to somewhere."""
    if (path := entry["udp_path"]) is not None:
        return f"udp {path['remote']}"
    return str(entry["connection"] or "none")


def _child_table(entries: list[dict[str, Any]]) -> Table:
    table = _table(
        "Child SAs",
        "name",
        "SPI in / out",
        "suite",
        "selectors",
        "in",
        "out",
        "dropped",
    )
    for entry in entries:
        drops = {**entry["dropped_in"], **entry["dropped_out"]}
        table.add_row(
            entry["name"],
            f"{entry['spi_in']}\n{entry['spi_out']}",
            entry["suite"],
            f"{', '.join(entry['local_ts'])}\n{', '.join(entry['remote_ts'])}",
            f"{entry['packets_in']} packets\n{_size(entry['octets_in'])}",
            f"{entry['packets_out']} packets\n{_size(entry['octets_out'])}",
            ", ".join(f"{v} {k}" for k, v in drops.items()) or "0",
        )
    return table


def _connection_table(entries: list[dict[str, Any]]) -> Table:
    table = _table("TCP connections", "id", "local", "remote", "state", "in", "out")
    for entry in entries:
        state = "current" if entry["is_current"] else "not current"
        if not entry["has_prefix"]:
            state = "no stream prefix yet"
        elif entry["is_half_open"]:
            state = "half-open"
        if (left := entry["closes_in_seconds"]) is not None:
            state += f", closes in {left:.0f} s"
        if protection := entry.get("protection"):
            state += f"\n{protection}"
        table.add_row(
            str(entry["connection"]),
            entry["local"],
            entry["remote"],
            state,
            _size(entry.get("octets_in", 0)),
            _size(entry.get("octets_out", 0)),
        )
    return table


def _half_open_table(kinds: dict[str, dict[str, Any]]) -> Table:
    table = _table(
        "Half-open",
        "kind",
        "now",
        "limit",
        "per address",
        "refused",
        "timed out",
        "deadline",
    )
    for name, title in (("connections", "connections"), ("ike_sas", "IKE SAs")):
        if (counts := kinds.get(name)) is None:
            continue
        table.add_row(
            title,
            str(counts["now"]),
            str(counts["limit"]),
            str(counts["limit_per_address"]),
            str(counts["refused"]),
            str(counts["timed_out"]),
            f"{counts['deadline_seconds']:g} s",
        )
    return table


def _size(octets: int) -> str:
    if octets < 1024:
        return f"{octets} octets"
    value, units = octets / 1024, ["KiB", "MiB", "GiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]}"


def _rate(bits: float) -> str:
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if bits < 1000:
            return f"{bits:.0f} {unit}"
        bits /= 1000
    return f"{bits:.2f} Gbit/s"
