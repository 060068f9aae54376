"""The documents about configuration say what the code does."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from certificate_factory import write_certificates
from config_samples import SECRET, every_key, write
from iketcp.config import Role, load
from iketcp.config.documentation import render
from iketcp.config.model import ROLES
from iketcp.config.schema import Default, Key, Table

DOCS = Path(__file__).resolve().parent.parent / "docs"
EXAMPLES = DOCS / "examples"


def test_the_reference_is_up_to_date() -> None:
    """``docs/configuration.md`` is what the declarations say.

    To write it anew: ``python -m iketcp.config.documentation``.
    """
    assert (DOCS / "configuration.md").read_text("utf-8") == render()


@pytest.mark.parametrize(
    ("table", "key"),
    [pytest.param(t, k, id=f"{t.name}.{k.name}") for t, k in every_key()],
)
def test_declarations_are_sound(table: Table, key: Key) -> None:
    """Each key is described, its default is valid, and a required one has a role."""
    assert key.doc.endswith(".")
    assert table.doc.endswith(".")
    assert set(key.required_for) <= set(key.roles) <= set(ROLES)
    key.default_value()


def installed(folder: Path, role: Role, is_uncommented: bool = False) -> Path:
    """Copy an example beside a secret, with its commented keys switched on or not."""
    return installed_example(folder, f"{role}.toml", is_uncommented)


def installed_example(folder: Path, name: str, is_uncommented: bool = False) -> Path:
    """Copy any example beside what it names."""
    text = (EXAMPLES / name).read_text("utf-8")
    if is_uncommented:
        text = re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE)
    write(folder / "laptop.psk", SECRET)
    write(folder / "gateway.psk", SECRET)
    write(folder / "laptop.ppk", bytes(range(65, 97)))
    write(folder / "branch.psk", SECRET)
    write(folder / "peers.psk", b"@phone.example 0x" + SECRET.hex().encode())
    write(folder / "users.toml", b'"alice@example" = "correct horse"\n')
    write(folder / "alice.password", b"correct horse\n")
    write(folder / "proxy.password", b"correct horse\n")
    write_certificates(folder)
    for hook in ("up.sh", "down.sh"):
        write(folder / hook, b"#!/bin/sh\n", 0o700)
    return write(folder / name, text.encode())


@pytest.mark.parametrize("role", ROLES)
def test_examples_work(role: Role, tmp_path: Path) -> None:
    """Without a change, and with every commented key switched on."""
    for name in names_of(role):
        plain = load(installed_example(tmp_path, name), role)
        assert plain.warnings == ()
        assert plain.role == role


@pytest.mark.parametrize("role", ROLES)
def test_examples_show_every_key_with_its_default(
    role: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commented key shows the default; only secrets and refusals may be left out."""
    monkeypatch.setenv("GATEWAY_PSK", SECRET.decode())
    texts = {}
    for name in names_of(role):
        path = installed_example(tmp_path, name, is_uncommented=True)
        load(path, role)
        full = tomllib.loads(path.read_text("utf-8"))
        path = installed_example(tmp_path, name)
        texts[name] = full, tomllib.loads(path.read_text("utf-8"))
    for table, key in every_key():
        is_secret = any(word in key.name for word in ("psk", "ppk", "password"))
        if role not in table.roles or role not in key.roles or is_secret:
            continue
        if key.name == "public_key":
            continue  # nothing goes with it that stands in these files
        name = example_of(role, table, key)
        full, plain = texts[name]
        there, as_is = first(full, table), first(plain, table)
        assert key.name in there, f"[{table.name}] {key.name}"
        if key.name not in as_is and key.default is not Default.UNSET:
            assert there[key.name] == key.default, f"[{table.name}] {key.name}"


CERTIFICATE_KEYS = {"certificate", "private_key", "rsa_padding", "ca", "crls"}


def names_of(role: Role) -> tuple[str, ...]:
    """Every example for a command."""
    kinds = ["", "eap-", "cert-", "tls-", "pq-"]
    if role == "responder":
        kinds.append("peers-")
    return tuple(f"{kind}{role}.toml" for kind in kinds)


def example_of(role: Role, table: Table, key: Key) -> str:
    """The example that shows a key."""
    if table.name == "eap":
        return f"eap-{role}.toml"
    if table.name in ("tls", "proxy"):
        return f"tls-{role}.toml"
    if table.name == "peer":
        return "peers-responder.toml"
    is_of_certificates = key.name in CERTIFICATE_KEYS
    return f"cert-{role}.toml" if is_of_certificates else f"{role}.toml"


def first(data: dict[str, Any], table: Table) -> dict[str, Any]:
    """Content of a table; of several, the first that has a key."""
    content = data.get(table.name, {})
    if not table.is_repeated:
        return dict(content)
    return {key: value for each in reversed(content) for key, value in each.items()}


def test_examples_fit_each_other(tmp_path: Path) -> None:
    """The two files are a pair: identities, secrets, selectors and proposals."""
    initiator = load(installed(tmp_path, "initiator"), "initiator")
    responder = load(installed(tmp_path, "responder"), "responder")
    assert initiator.remote.identity == responder.local.identity
    assert initiator.remote.port == responder.local.port
    assert responder.ike.secrets[initiator.local.identity] == SECRET
    assert initiator.ike.secrets[None] == SECRET
    assert initiator.ike.proposals == responder.ike.proposals
    (ours,), (theirs,) = initiator.ike.children, responder.ike.children
    assert ours.proposals == theirs.proposals
    assert ours.remote_ts == theirs.local_ts
    assert ours.is_narrowed_to_assigned_address
    assert theirs.is_narrowed_to_assigned_address
    assert responder.ike.pool is not None
