"""Ways in which the two sites of the demonstration can get to know each other.

A scenario adds lines to both configurations and writes the files that they name. What
happens afterwards is the same in all of them.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from iketcp.config.issuing import write_certificates
from iketcp.config.secret_files import make_secret_file
from iketcp.demo.scenery import EAST, SITES, WEST
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
    further: str = ""
    """Keywords behind the key exchange of every proposal."""
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
        make_secret_file(folder / name, text.encode())


def _write_certificates(folder: Path) -> None:
    """Issue a certificate to each site."""
    write_certificates(folder, {site: f"{site}.example" for site in SITES})


def _certificate_of(site: str) -> str:
    files = f'certificate = "{site}.pem"\nprivate_key = "{site}.key"\n'
    return f'auth = "certificate"\n{files}'


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
        Scenario(
            "cert",
            "Both sites prove themselves by certificates of one CA (ECDSA, P-256).",
            local={site: _certificate_of(site) for site in SITES},
            remote=dict.fromkeys(SITES, 'auth = "certificate"\nca = "ca.pem"\n'),
            prepare=_write_certificates,
        ),
        Scenario(
            "pq",
            "Beside Curve25519 all keys come of ML-KEM-768, which a quantum computer "
            "does not undo; both sites prove themselves by one pre-shared key.",
            further="-ke1_mlkem768",
        ),
    )
}
"""Every scenario, by its name."""
