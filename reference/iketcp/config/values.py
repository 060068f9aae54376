"""Kinds of values a key can have: how each is written, checked and described.

A :class:`Kind` turns what TOML holds into what the program wants, or raises
:class:`BadValueError`, whose text completes the sentence "the key must be ...". The
same words describe the kind in the documentation.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from iketcp.config.model import Interface
from iketcp.errors import IketcpError

_LONGEST_SECONDS = 10 * 365 * 86400.0
_SHOWN = 60


class BadValueError(ValueError):
    """A value that its key cannot have.

    Parameters
    ----------
    sentence : str
        Goes on after the name of the key: "must be ..., not ...".
    item : object
        The element of an array that is wrong; it is looked for in the file so that
        the error can name its line.
    """

    def __init__(self, sentence: str, item: object = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.item = item


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value."""

    description: str
    """A noun phrase with its article: "an integer from 1 to 65535"."""
    convert: Callable[[Any], Any]
    """Returns the program's form; raises ValueError or an IketcpError."""

    def parse(self, value: object) -> Any:
        """Convert a TOML value.

        Raises
        ------
        BadValueError
            The value is not of this kind.
        """
        try:
            return self.convert(value)
        except BadValueError:
            raise
        except IketcpError as error:
            raise BadValueError(f"is wrong: {error}", value) from error
        except (ValueError, TypeError, OverflowError) as error:
            sentence = f"must be {self.description}, not {shown(value)}"
            raise BadValueError(sentence, value) from error


def shown(value: object) -> str:
    """Write a value as TOML would, shortened where it is long."""
    match value:
        case bool():
            text = str(value).lower()
        case str():
            text = '"' + value.encode("unicode_escape").decode() + '"'
        case list():
            text = "an array"
        case dict():
            text = "a table"
        case int() if value.bit_length() > 64:
            # str() of some thousand digits would raise ValueError
            text = hex(value)
        case _:
            text = str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def boolean() -> Kind:
    """Make the kind of ``true`` and ``false``."""

    def convert(value: object) -> bool:
        if not isinstance(value, bool):
            raise TypeError
        return value

    return Kind("true or false", convert)


def integer(smallest: int, largest: int) -> Kind:
    """Make the kind of integers from ``smallest`` to ``largest``."""

    def convert(value: object) -> int:
        if not smallest <= _integer(value) <= largest:
            raise ValueError
        return _integer(value)

    return Kind(f"an integer from {smallest} to {largest}", convert)


def fraction(largest: float) -> Kind:
    """Make the kind of numbers from 0 to ``largest``."""

    def convert(value: object) -> float:
        number = value if isinstance(value, float) else float(_integer(value))
        if not 0.0 <= number <= largest:
            raise ValueError
        return number

    return Kind(f"a number from 0 to {largest}", convert)


_DURATION = re.compile(
    "".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in ("d", "h", "m", "s", "ms"))
)
_UNIT_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def duration(smallest: float = 0.001) -> Kind:
    """Make the kind of durations, ``"1h30m"`` or seconds; a float of seconds results.

    Parameters
    ----------
    smallest : float
        The least number of seconds, 0 where nothing at all makes sense.
    """

    def convert(value: object) -> float:
        if isinstance(value, str):
            match = _DURATION.fullmatch(value)
            if not value or match is None:
                raise ValueError
            parts = zip(match.groups(default="0"), _UNIT_SECONDS, strict=True)
            seconds = math.fsum(int(count) * unit for count, unit in parts)
        else:
            seconds = value if isinstance(value, float) else float(_integer(value))
        if not smallest <= seconds <= _LONGEST_SECONDS:
            raise ValueError
        return seconds

    least = "" if smallest else " (0 is allowed)"
    return Kind(
        f'a duration such as "90s", "10m" or "1h30m", or seconds{least}', convert
    )


_SIZE = re.compile(r"([0-9]{1,18}) ?([kMGT]B|[KMGT]iB|B)?")
_SIZE_UNITS: Mapping[str | None, int] = {
    None: 1,
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def size() -> Kind:
    """Make the kind of sizes, ``"64MiB"`` or octets; an int from 1 to 2^63 - 1."""

    def convert(value: object) -> int:
        if isinstance(value, str):
            match = _SIZE.fullmatch(value)
            if match is None:
                raise ValueError
            octets = int(match[1]) * _SIZE_UNITS[match[2]]
        else:
            octets = _integer(value)
        if not 1 <= octets < 2**63:
            raise ValueError
        return octets

    return Kind('a size such as "64MiB" or "10GB", or octets', convert)


def text(pattern: str, description: str) -> Kind:
    """Make the kind of strings that match ``pattern`` as a whole."""

    def convert(value: object) -> str:
        if not re.fullmatch(pattern, _string(value)):
            raise ValueError
        return _string(value)

    return Kind(description, convert)


def choice(*words: str) -> Kind:
    """Make the kind of strings that are one of ``words``."""
    return words_or({word: word for word in words})


def words_or(words: Mapping[str, Any], kind: Kind | None = None) -> Kind:
    """Make the kind that is one of some words with a meaning, or else ``kind``."""
    names = [f'"{word}"' for word in words]
    if kind is not None:
        names.append(kind.description)
    description = ", ".join(names[:-1]) + " or " + names[-1] if names[1:] else names[0]

    def convert(value: object) -> Any:
        if isinstance(value, str) and value in words:
            return words[value]
        if kind is None:
            raise ValueError
        return kind.convert(value)

    return Kind(description, convert)


def path() -> Kind:
    """Make the kind of paths; what is not absolute counts from the file's folder."""

    def convert(value: object) -> Path:
        if not value or "\0" in _string(value):
            raise ValueError
        return Path(_string(value))

    return Kind("a path", convert)


def parsed(description: str, convert: Callable[[str], Any]) -> Kind:
    """Make the kind of strings that ``convert`` understands."""
    return Kind(description, lambda value: convert(_string(value)))


def address() -> Kind:
    """Make the kind of IPv4 and IPv6 addresses, kept as text."""
    return parsed(
        'an IP address such as "192.0.2.1" or "2001:db8::1"',
        lambda value: str(ip_address(value)),
    )


def host() -> Kind:
    """Make the kind of host names and IP addresses, kept as text."""
    label = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"

    def convert(value: str) -> str:
        if ":" in value or re.fullmatch(r"[0-9.]+", value):
            return str(ip_address(value))
        if len(value) > 253 or not re.fullmatch(rf"{label}(\.{label})*\.?", value):
            raise ValueError
        return value

    return parsed("a host name or an IP address", convert)


def network() -> Kind:
    """Make the kind of IP networks in CIDR form."""
    return parsed(
        'a network such as "10.1.0.0/16" or "2001:db8:1::/64"',
        ip_network,
    )


def interface() -> Kind:
    """Make the kind of addresses with a prefix length."""

    def convert(value: str) -> Interface:
        if "/" not in value:
            raise ValueError
        return ip_interface(value)

    return parsed(
        'an address with its prefix length, such as "10.1.0.1/24"',
        convert,
    )


def list_of(kind: Kind, plural: str, is_filled: bool = False, most: int = 255) -> Kind:
    """Make the kind of arrays; a tuple results.

    Parameters
    ----------
    kind : Kind
        What every element is.
    plural : str
        What the elements are called, for the description.
    is_filled : bool
        There must be one element at least.
    most : int
        How many elements there may be.
    """
    article = "a non-empty" if is_filled else "an"

    def convert(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or not is_filled <= len(value) <= most:
            raise TypeError
        return tuple(convert_item(item) for item in value)

    def convert_item(item: object) -> Any:
        try:
            return kind.parse(item)
        except BadValueError as error:
            sentence = error.sentence.removeprefix("must be ")
            if sentence == error.sentence:
                raise
            raise BadValueError(f"must hold {sentence}", item) from error

    return Kind(f"{article} array of {plural}", convert)


def refused(reason: str) -> Kind:
    """Make the kind of a key that may not be there, with the reason why."""

    def convert(value: object) -> Any:
        raise BadValueError(reason)

    return Kind("refused", convert)
