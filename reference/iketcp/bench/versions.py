"""Versions of the programs that take part, as they tell them themselves."""

from __future__ import annotations

import re
import subprocess

from iketcp.bench.programs import require_program
from iketcp.errors import EnvironmentProblem

ASKED = {
    "iperf3": "--version",
    "ocserv": "--version",
    "openconnect": "--version",
    "openvpn": "--version",
    "swanctl": "--help",
}
"""Each program's option that makes it print its version."""

VERSION = re.compile(r"\d+\.\d+[\w.]*")


def found() -> dict[str, str]:
    """Return the version of each program that is installed."""
    versions = {}
    for name, option in ASKED.items():
        try:
            path = require_program(name, name)
        except EnvironmentProblem:
            continue
        done = subprocess.run(
            [path, option], capture_output=True, text=True, check=False
        )
        versions[name] = parse(done.stdout + done.stderr)
    return versions


def parse(text: str) -> str:
    """Find the first version in what a program prints."""
    match = VERSION.search(text)
    return match[0] if match else "unknown"


__all__ = ["found", "parse"]
