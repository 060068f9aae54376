"""From text to checked values: every table and key against its declaration.

Source: RFC 9329 §2 (what has to be configured)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from iketcp.config.model import Role
from iketcp.config.schema import Key, Table
from iketcp.config.source import Path, Source, nearest
from iketcp.config.tables import TABLES
from iketcp.config.values import BadValueError, shown
from iketcp.errors import ConfigurationError

_BY_NAME = {table.name: table for table in TABLES}


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the file, checked, with every default filled in."""

    table: Table
    path: Path
    values: dict[str, Any]
    source: Source
    is_present: bool = True

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def error(self, key: str, sentence: str, item: object = None) -> ConfigurationError:
        """Make the error for one key of this table."""
        text = f"{self.table.header} {key} {sentence}"
        return self.source.error((*self.path, key), text, item)


@dataclass(frozen=True, slots=True)
class Document:
    """The whole file: one section for a table, any number for a repeated one."""

    role: Role
    source: Source
    sections: dict[str, tuple[Section, ...]]

    def one(self, name: str) -> Section:
        """Return the section of a table that is not repeated."""
        return self.sections[name][0]

    def all(self, name: str) -> tuple[Section, ...]:
        """Return the sections of a repeated table."""
        return self.sections[name]


def read(text: str, role: Role, name: str) -> Document:
    """Check every table and key of a configuration.

    Parameters
    ----------
    text : str
        The contents of the file.
    role : Role
        The command that reads it.
    name : str
        What errors call the file.

    Raises
    ------
    ConfigurationError
        The text is not TOML; or a table or key is unknown, missing, of the wrong
        kind, or for the other role.
    """
    source = Source(text, name)
    data = source.load()
    for key in data:
        _check_table_name(key, role, source)
    sections = {
        table.name: tuple(_sections(table, data, role, source)) for table in TABLES
    }
    return Document(role, source, sections)


def _check_table_name(name: str, role: Role, source: Source) -> None:
    table = _BY_NAME.get(name)
    if table is None:
        raise source.error((name,), _unknown_name(name))
    if role not in table.roles:
        sentence = f"{table.header} is for the {table.roles[0]} only"
        raise source.error((name,), sentence)


def _unknown_name(name: str) -> str:
    homes = [table.header for table in TABLES if name in table.by_name]
    if homes:
        return f"the key '{name}' stands outside of its table, {' or '.join(homes)}"
    return f"there is no table {shown(name)}{nearest(name, _BY_NAME)}"


def _sections(
    table: Table, data: dict[str, Any], role: Role, source: Source
) -> Iterator[Section]:
    """Yield the sections of one table, with defaults where it is left out."""
    name = table.name
    if name not in data and role in table.required_for:
        raise source.error((), f"the table {table.header} is missing: {table.doc}")
    content = data.get(name, [] if table.is_repeated else {})
    if not table.is_repeated:
        yield _section(table, (name,), content, role, source, name in data)
        return
    if not isinstance(content, list):
        sentence = f"{name} is written {table.header}, for there may be several"
        raise source.error((name,), sentence)
    for number, item in enumerate(content):
        yield _section(table, (name, number), item, role, source, True)


def _section(
    table: Table, path: Path, content: Any, role: Role, source: Source, present: bool
) -> Section:
    if not isinstance(content, dict):
        sentence = f"{table.name} must be a table {table.header}, not {shown(content)}"
        raise source.error(path, sentence)
    section = Section(table, path, {}, source, present)
    for name, value in content.items():
        section.values[name] = _value(section, name, value, role)
    for key in table.keys:
        if key.name not in content:
            if present and role in key.required_for:
                raise _missing(section, key)
            section.values[key.name] = key.default_value()
    return section


def _value(section: Section, name: str, value: Any, role: Role) -> Any:
    """Check one key and convert its value."""
    table = section.table
    key = table.by_name.get(name)
    if key is None:
        hint = nearest(name, table.by_name)
        sentence = f"{table.header} has no key {shown(name)}{hint}"
        raise section.source.error((*section.path, name), sentence)
    if role not in key.roles:
        raise section.error(name, f"is for the {key.roles[0]} only")
    try:
        return key.kind.parse(value)
    except BadValueError as error:
        raise section.error(name, error.sentence, error.item) from error


def _missing(section: Section, key: Key) -> ConfigurationError:
    sentence = f"{section.table.header} needs the key '{key.name}': {key.doc}"
    return section.source.error(section.path, sentence.rstrip("."))
