"""What the tests of configuration files share: two short files and a good secret."""

from collections.abc import Iterator
from pathlib import Path

from iketcp.config import Role
from iketcp.config.schema import Key, Table
from iketcp.config.tables import TABLES

SECRET = b"correct horse battery staple"

INITIATOR = """\
[local]
identity = "@laptop.example"
psk_env = "TEST_PSK"
[remote]
address = "gw.example"
identity = "@gw.example"
[[child]]
name = "office"
remote_ts = ["10.1.0.0/16"]
"""

RESPONDER = """\
[local]
identity = "@gw.example"
psk_env = "TEST_PSK"
[[child]]
name = "office"
local_ts = ["10.1.0.0/16"]
remote_ts = ["10.9.0.0/24"]
"""

BASES: dict[Role, str] = {"initiator": INITIATOR, "responder": RESPONDER}


def write(path: Path, octets: bytes, mode: int = 0o600) -> Path:
    """Write a file with exactly these permissions."""
    path.write_bytes(octets)
    path.chmod(mode)
    return path


def every_key() -> Iterator[tuple[Table, Key]]:
    """Every key with its table."""
    for table in TABLES:
        for key in table.keys:
            yield table, key
