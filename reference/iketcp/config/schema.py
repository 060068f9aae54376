"""How tables and keys of a configuration file are declared.

The declarations themselves are in :mod:`iketcp.config.tables`. They drive parsing,
error messages and ``docs/configuration.md``, so none of these can know a key that the
others do not.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from iketcp.config.model import ROLES, Role
from iketcp.config.values import Kind


class Default(Enum):
    """Stands where a key has no default of its own."""

    UNSET = "unset"
    """The key may be left out; the value is then ``None``."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    name: str
    kind: Kind
    doc: str
    """What the key means; one or a few sentences in Markdown."""
    default: Any = Default.UNSET
    """In TOML's types, as the user would write it."""
    roles: tuple[Role, ...] = ROLES
    """Commands for which the key means anything."""
    required_for: tuple[Role, ...] = ()

    def default_value(self) -> Any:
        """Return the program's form of the default."""
        if self.default is Default.UNSET:
            return None
        return self.kind.parse(self.default)


@dataclass(frozen=True, slots=True)
class Table:
    """One table, or one array of tables."""

    name: str
    doc: str
    keys: tuple[Key, ...]
    is_repeated: bool = False
    """Written ``[[name]]``, once for each of several."""
    roles: tuple[Role, ...] = ROLES
    required_for: tuple[Role, ...] = ()
    by_name: dict[str, Key] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {key.name: key for key in self.keys})

    @property
    def header(self) -> str:
        """The table's header as it stands in a file."""
        return f"[[{self.name}]]" if self.is_repeated else f"[{self.name}]"
