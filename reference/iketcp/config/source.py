"""The text of a configuration file, and which line of it a value comes from.

TOML's parser says nothing about lines, so a small scan looks for table headers and
keys. Where it cannot tell (inline tables), it names the line of the nearest thing
around.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable
from typing import Any

from iketcp.errors import ConfigurationError

Path = tuple[str | int, ...]
"""Where a value is: names of tables and keys, and the number of an array's table."""

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_NAME = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_NAME})[ \t]*\]")
_ASSIGNMENT = re.compile(rf"[ \t]*({_NAME})[ \t]*=")
_AT_LINE = re.compile(r"(.*) \(at line ([0-9]+), column ([0-9]+)\)", re.DOTALL)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest name, or an empty text."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


class Source:
    """A configuration text under the name that errors give it.

    Parameters
    ----------
    text : str
        The whole text.
    name : str
        What stands before the line number in errors.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._text = text
        self._lines = text.split("\n")
        self._line_by_path = _scan(self._lines)

    def load(self) -> dict[str, Any]:
        """Parse the text as TOML.

        Raises
        ------
        ConfigurationError
            The text is not TOML.
        """
        try:
            return tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            match = _AT_LINE.fullmatch(str(error))
            line = int(match[2]) if match else len(self._lines)
            reason = match[1] if match else str(error)
            raise self._error(line, f"this is not TOML: {reason}") from error
        except (ValueError, RecursionError) as error:
            # numbers of thousands of digits, arrays hundreds deep
            raise self._error(1, "this is too large or too deep for TOML") from error

    def line_of(self, path: Path, item: object = None) -> int:
        """Return the line, from 1, where ``path`` or something around it stands.

        Parameters
        ----------
        path : Path
            Tables and key.
        item : object
            An element of an array that is searched from there on.
        """
        while path and path not in self._line_by_path:
            path = path[:-1]
        line = self._line_by_path.get(path, 1)
        if isinstance(item, str) and item:
            after = (number for number in self._line_by_path.values() if number > line)
            end = min(after, default=len(self._lines) + 1)
            for number in range(line, end):
                if item in self._lines[number - 1]:
                    return number
        return line

    def error(
        self, path: Path, sentence: str, item: object = None
    ) -> ConfigurationError:
        """Make the error for what stands at ``path``."""
        return self._error(self.line_of(path, item), sentence)

    def _error(self, line: int, sentence: str) -> ConfigurationError:
        return ConfigurationError(f"{self.name}:{line}: {sentence}")


def _scan(lines: list[str]) -> dict[Path, int]:
    """Find the line of every table header and key."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    prefix: Path = ()
    quote = ""
    for number, line in enumerate(lines, 1):
        if not quote and (header := _HEADER.match(line)):
            prefix = _split(header[2])
            found.setdefault(prefix, number)
            if header[1] == "[[":
                counts[prefix] = counts.get(prefix, -1) + 1
                prefix = (*prefix, counts[prefix])
                found[prefix] = number
        elif not quote and (assignment := _ASSIGNMENT.match(line)):
            path = (*prefix, *_split(assignment[1]))
            for size in range(len(prefix) + 1, len(path) + 1):
                found.setdefault(path[:size], number)
        quote = _open_quote(line, quote)
    return found


def _split(name: str) -> Path:
    return tuple(part.strip("\"'") for part in re.findall(_PART, name))


def _open_quote(line: str, quote: str) -> str:
    """Return which multi-line quote is open after ``line``, if one is."""
    for mark in re.findall(r'"""|\'\'\'', line):
        if not quote:
            quote = mark
        elif quote == mark:
            quote = ""
    return quote
