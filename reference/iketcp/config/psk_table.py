"""Many pre-shared keys in one file: who, and the secret, on one line each.

::

    # whoever calls itself so
    @laptop.example     0s2hD1k9vZ0S5nT0c7Qm4oYx8dJbG6wqUe3rLfVtApNhE=
    C=CH, O=Example, CN=phone   0x5b3f...
    # wherever peers are
    192.0.2.0/24        0s...
    # all others
    *                   0s...

Source: RFC 7296 §2.15
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from iketcp.config.psk import decode_psk, weakness
from iketcp.config.reader import Section
from iketcp.config.secret_files import read_file, warn_if_open
from iketcp.errors import ConfigurationError
from iketcp.ike.identity import Identity

Network = IPv4Network | IPv6Network

ALL_OTHERS = "*"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Pre-shared keys, by whose they are."""

    by_identity: dict[Identity | None, bytes] = field(default_factory=dict, repr=False)
    """That of all other peers is under ``None``."""
    by_network: dict[Network, bytes] = field(default_factory=dict, repr=False)

    def add(self, owner: Identity | Network | None, secret: bytes) -> bool:
        """Take a secret; False if its owner has one."""
        if isinstance(owner, Network):
            return self.by_network.setdefault(owner, secret) is secret
        return self.by_identity.setdefault(owner, secret) is secret


def read_psk_table(
    section: Section, folder: Path, secrets: Secrets, warnings: list[str]
) -> None:
    """Read the file that ``psk_table`` names, if there is one, into ``secrets``.

    Parameters
    ----------
    section : Section
        The table with that key.
    folder : Path
        Where a path that is not absolute counts from.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or a line of it is wrong or gives somebody a second
        secret. No part of a secret is shown.

    Source: RFC 7296 §2.15
    """
    path = section["psk_table"]
    if path is None:
        return
    octets = read_file(section, "psk_table", folder / path, str(path))
    warn_if_open(folder / path, str(path), warnings)
    for number, line in enumerate(octets.splitlines(), 1):
        where = f"{path}, line {number}"
        words = line.strip().rsplit(None, 1)
        if not words or words[0].startswith(b"#"):
            continue
        try:
            owner, secret = _read_line(words)
        except (ConfigurationError, ValueError) as error:
            raise section.error("psk_table", f"is wrong: {where} {error}") from None
        if not secrets.add(owner, secret):
            sentence = f"is wrong: {where} gives a second secret to {owner or 'others'}"
            raise section.error("psk_table", sentence)
        reason = weakness(secret)
        if reason is not None:
            warnings.append(f"{where} holds a secret {reason}")


def _read_line(words: list[bytes]) -> tuple[Identity | Network | None, bytes]:
    """Read one line, cut at its last white space.

    Raises
    ------
    ConfigurationError, ValueError
        The text goes on after the name of the file and the number of the line.
    """
    if len(words) != 2:
        raise ValueError("has no white space between a peer and its secret")
    try:
        who = words[0].decode()
    except ValueError:
        raise ValueError("is not UTF-8") from None
    secret = decode_psk(words[1])
    if who == ALL_OTHERS:
        return None, secret
    try:
        return (ip_network(who) if "/" in who else Identity.parse(who)), secret
    except (ConfigurationError, ValueError) as error:
        raise ValueError(f"names nobody: {error}") from None
