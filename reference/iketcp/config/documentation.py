"""The reference of every key, written from the declarations.

``python -m iketcp.config.documentation`` prints what ``docs/configuration.md`` holds; a
test compares the two.
"""

import sys
from collections.abc import Iterator

from iketcp.config.model import ROLES
from iketcp.config.schema import Default, Key, Table
from iketcp.config.tables import TABLES
from iketcp.ike.keywords import ALIASES, KEYWORDS, REFUSALS
from iketcp.registry import TransformType

_INTRODUCTION = """\
# Configuration

`iketcp initiator -c FILE` and `iketcp responder -c FILE` read one TOML file each.
[examples/initiator.toml](examples/initiator.toml) and
[examples/responder.toml](examples/responder.toml) are a pair that works together.

- A mistake is one sentence with file and line, and exit code 2. An unknown key is a
  mistake.
- A path that is not absolute counts from the folder of the file.
- A duration is a text such as `"90s"`, `"10m"`, `"1h30m"` or `"500ms"`, or a number of
  seconds. A size is a text such as `"64MiB"` or `"10GB"`, or a number of octets.
- Secrets never stand in the file. A secret file that every user can read, and a secret
  under 16 octets, draw a warning.
- "Required" and "only" name the command that reads the file. A key for the other
  command is a mistake too.
"""

_PROPOSALS = """\
## Proposals

A proposal is a text of keywords joined by hyphens, such as
`aes256gcm16-prfsha256-x25519`. Keywords of one type are alternatives, the most
preferred first. Several proposals make an array, the most preferred first.

- For an IKE SA: encryption, PRF and key exchange. Beside an integrity keyword the PRF
  may be left out: it is then the one with the same hash.
- For a Child SA: encryption. A key exchange keyword asks for perfect forward secrecy
  on rekeying; without one there is none. With neither `esn` nor `noesn`, both extended
  and plain sequence numbers are offered and accepted, extended ones first.
- `ke1_` to `ke7_` before a key exchange keyword ask for additional key exchanges, done
  one after the other in this order: in `x25519-ke1_mlkem768` the keys stay secret as
  long as one of the two methods does. Keywords of one number are alternatives, and
  `ke1_none` among them says that this one may be left out. No method serves twice. In
  the proposal of a Child SA they go with its own key exchange, and so count from its
  first rekey on.
- AES in CBC and CTR mode needs an integrity keyword. The combined-mode ciphers, GCM
  and ChaCha20-Poly1305, take none, and so they cannot share a proposal with the
  others.
- `iiv` behind one of those leaves the IV out of ESP packets, 8 octets less each: it is
  the sequence number. For a Child SA only; a peer that does not know it wants the
  cipher without `iiv` beside it, as in `aes256gcm16iiv-aes256gcm16`.
"""

_TYPES = {
    TransformType.ENCR: "encryption",
    TransformType.INTEG: "integrity",
    TransformType.PRF: "pseudorandom function (PRF), IKE SAs only",
    TransformType.ESN: "sequence numbers, Child SAs only",
    TransformType.KE: "key exchange",
}


def render() -> str:
    """Return the whole of ``docs/configuration.md``."""
    parts = [_INTRODUCTION]
    parts += ["\n".join(_table(table)) for table in TABLES]
    parts += [_PROPOSALS, "\n".join(_keywords())]
    return "\n".join(parts) + "\n"


def _table(table: Table) -> Iterator[str]:
    yield f"## `{table.header}`\n"
    yield table.doc + _roles(table.roles, table.required_for) + "\n"
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key in table.keys:
        meaning = key.doc + _roles(key.roles, key.required_for)
        cells = (f"`{key.name}`", key.kind.description, _default(key), meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _roles(roles: tuple[str, ...], required_for: tuple[str, ...]) -> str:
    """Return what to add about who may or must have a table or key."""
    if required_for == roles == ROLES:
        return " Required."
    if required_for == roles:
        return f" Required; {roles[0]} only."
    if required_for:
        return f" Required for the {required_for[0]}."
    return "" if roles == ROLES else f" For the {roles[0]} only."


def _default(key: Key) -> str:
    return "" if key.default is Default.UNSET else f"`{_toml(key.default)}`"


def _toml(value: object) -> str:
    """Write a default as it would stand in a file."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case _:
            return str(value)


def _keywords() -> Iterator[str]:
    yield "| type | keywords |"
    yield "|---|---|"
    for kind, name in _TYPES.items():
        words = [f"`{word}`" for word, t in KEYWORDS.items() if t.type == kind]
        yield f"| {name} | {', '.join(words)} |"
    yield "| additional key exchange | `ke1_` to `ke7_` and one of these, or `none` |"
    yield "\nOther spellings:\n"
    yield ", ".join(f"`{alias}` = `{word}`" for alias, word in ALIASES.items()) + ".\n"
    yield "Refused:\n"
    for refusal in REFUSALS:
        words = [f"`{word}`" for word in refusal.examples]
        yield f"- {', '.join(words)}: {refusal.reason}."


if __name__ == "__main__":
    sys.stdout.write(render())
