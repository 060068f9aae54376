"""Ways in which the two sites of the demonstration can get to know each other.

A scenario adds lines to both configurations and writes the files that they name. What
happens afterwards is the same in all of them.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from iketcp.demo.scenery import EAST, WEST
from iketcp.errors import ConfigurationError

USER = "alice@west.example"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One of them; texts by site."""

    name: str
    about: str
    """A sentence for who watches."""
    local: Mapping[str, str] = field(default_factory=dict)
    """Lines of ``[local]``."""
    remote: Mapping[str, str] = field(default_factory=dict)
    """Lines of ``[remote]``."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """Whole tables."""
    prepare: Callable[[Path], None] = lambda folder: None
    """Writes files into the folder of the configurations; the pre-shared key, ``psk``,
    is there already."""


def scenario(name: str) -> Scenario:
    """Find a scenario.

    Raises
    ------
    ConfigurationError
        There is none of this name.
    """
    if name not in SCENARIOS:
        raise ConfigurationError(
            f"--scenario is one of {', '.join(SCENARIOS)}, not {name!r}"
        )
    return SCENARIOS[name]


def _write_user(folder: Path) -> None:
    """Give one user a password that nobody has to remember."""
    password = secrets.token_urlsafe(16)
    for name, text in (
        ("password", password),
        ("users.toml", f'"{USER}" = "{password}"\n'),
    ):
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text, "utf-8")


SCENARIOS: Mapping[str, Scenario] = {
    each.name: each
    for each in (
        Scenario("psk", "Both sites prove themselves by one pre-shared key."),
        Scenario(
            "eap",
            "East proves itself by a pre-shared key, then a user at west does by name "
            "and password (EAP-MSCHAPv2).",
            local={WEST: 'auth = "eap"\n'},
            remote={EAST: 'auth = "eap"\n'},
            tables={
                WEST: f'[eap]\nidentity = "{USER}"\npassword_file = "password"\n',
                EAST: '[eap]\nusers_file = "users.toml"\n',
            },
            prepare=_write_user,
        ),
    )
}
"""Every scenario, by its name."""
