"""Events as plain JSON values, without secrets. Source: RFC 7296 §2.14."""

import gc
import json
from types import FunctionType, ModuleType

import pytest

from iketcp.effects import ChildSaInstalled, ConnectionId, FieldsWhenRead, Trace
from iketcp.endpoint import traces
from iketcp.ike.outputs import Note
from pair import EAST, WEST, child_policy, ike_policy
from scenarios import Stage


def whole_life(proposal: str = "aes256gcm16-prfsha256-x25519") -> Stage:
    """A session from IKE_SA_INIT to DELETE, rekeyed and reconnected on the way."""
    stage = Stage(ike_policy(WEST, proposal), ike_policy(EAST, proposal))
    first = stage.up()
    stage.run(WEST, stage.west.endpoint.rekey_child("net", 0.0))
    stage.settle()
    stage.run(EAST, stage.east.endpoint.rekey_ike(0.0))
    stage.settle()
    stage.break_connection(first)
    stage.connect()
    stage.settle()
    stage.run(WEST, stage.west.endpoint.delete_all(0.0))
    stage.settle()
    return stage


def all_traces(stage: Stage) -> list[Trace]:
    """Every trace of both sides."""
    effects = stage.west.effects + stage.east.effects
    return [e for e in effects if isinstance(e, Trace)]


def test_traces_are_json() -> None:
    """A sink writes them down as they are."""
    for trace in all_traces(whole_life()):
        fields = dict(trace.fields)
        assert json.loads(json.dumps(fields)) == fields


def test_a_life_in_traces() -> None:
    """RFC 7296 §1.2, §2.8, RFC 9329 §6.1: each event once, in order."""
    stage = whole_life()
    kinds = [e.kind for e in stage.west.effects if isinstance(e, Trace)]
    events = [kind for kind in kinds if kind not in ("ike-message", "nat-detection")]
    assert events == [
        "connection-opened",
        "stream-prefix",
        "ike-keys",
        "ike-sa-established",
        "child-keys",
        "child-sa-installed",
        "child-keys",
        "child-sa-rekeyed",
        "child-sa-removed",
        "ike-keys",
        "ike-sa-rekeyed",
        "ike-sa-closed",
        "connection-closed",
        "connection-opened",
        "stream-prefix",
        "child-sa-removed",
        "ike-sa-closed",
        "connection-closed",
    ]


def test_no_trace_holds_a_secret() -> None:
    """Keys appear by their names."""
    stage = Stage()
    stage.up()
    sa, child = stage.sa(WEST), stage.child(WEST).esp.parameters
    assert sa.keys is not None
    secrets = (sa.keys.sk_d, sa.keys.sk_ei, sa.keys.sk_pi, sa.ni, sa.nr)
    text = json.dumps([dict(trace.fields) for trace in all_traces(stage)])
    for secret in (*secrets, child.encryption_key_in, child.encryption_key_out):
        assert secret.hex() not in text


@pytest.mark.parametrize(
    ("proposal", "names"),
    [
        ("aes256gcm16-prfsha256-x25519", "SK_d SK_ei SK_er SK_pi SK_pr"),
        ("aes128-sha256-x25519", "SK_d SK_ai SK_ar SK_ei SK_er SK_pi SK_pr"),
    ],
)
def test_names_of_ike_keys(proposal: str, names: str) -> None:
    """RFC 5282 §1: a combined-mode cipher has no integrity key."""
    stage = Stage(ike_policy(WEST, proposal), ike_policy(EAST, proposal))
    stage.up()
    (keys,) = stage.west.traces("ike-keys")
    assert keys["keys"] == names.split()


def test_names_of_child_keys() -> None:
    """RFC 7296 §2.17: likewise."""
    child = child_policy(proposal="aes128-sha256")
    back = child_policy(
        proposal="aes128-sha256", local="10.0.2.0/24", remote="10.0.1.0/24"
    )
    stage = Stage(
        ike_policy(WEST, children=(child,)), ike_policy(EAST, children=(back,))
    )
    stage.up()
    (keys,) = stage.west.traces("child-keys")
    assert keys["keys"] == ["SK_ei", "SK_ai", "SK_er", "SK_ar"]


def test_keys_that_are_gone_have_no_names() -> None:
    """An IKE SA may be closed before its outputs are carried out."""
    stage = Stage()
    stage.up()
    sa = stage.sa(WEST)
    sa.close("for the test")
    assert traces.ike_keys(sa) == []


def test_a_session_that_had_no_connection_comes_from_null() -> None:
    """RFC 9329 §6.1: it was broken, and is no more."""
    stage = Stage()
    stage.break_connection(stage.up())
    stage.connect()
    stage.settle()
    (moved,) = stage.east.traces("mapping-moved")
    assert moved["from"] is None
    nobody = traces.mapping_moved(None, None, ConnectionId(3))
    assert nobody.fields == {"from": None, "to": 3}


def test_notes_name_their_ike_sa() -> None:
    """RFC 7296 §3.1: by both SPIs."""
    stage = Stage()
    stage.up()
    sa = stage.sa(WEST)
    trace = traces.note(sa, Note("something", {"reason": "x"}))
    assert trace.kind == "something"
    assert set(trace.fields) == {"spi_i", "spi_r", "reason"}


def test_fields_are_made_when_somebody_reads_them() -> None:
    """Once, and not before; afterwards they are a mapping like any other."""
    calls: list[str] = []

    def make() -> dict[str, object]:
        calls.append("made")
        return {"a": 1, "b": 2}

    fields = FieldsWhenRead(make)
    assert not calls
    assert fields["a"] == 1
    assert list(fields) == ["a", "b"]
    assert len(fields) == 2
    assert fields == {"a": 1, "b": 2}
    assert repr(fields) == "{'a': 1, 'b': 2}"
    assert calls == ["made"]


def test_what_waits_to_be_read_has_no_keys() -> None:
    """A log may keep a trace unread for longer than its SA lives."""
    effects = whole_life().west.effects
    keys = {
        key
        for effect in effects
        if isinstance(effect, ChildSaInstalled)
        for key in (
            effect.parameters.encryption_key_in,
            effect.parameters.encryption_key_out,
        )
    }
    assert keys
    waiting: list[object] = [e.fields for e in effects if isinstance(e, Trace)]
    seen: set[int] = set()
    while waiting:
        held = waiting.pop()
        if isinstance(held, FunctionType):  # what it closes over, not its module
            held = held.__closure__
        if id(held) in seen or isinstance(held, type | ModuleType):
            continue
        seen.add(id(held))
        assert not (isinstance(held, bytes) and held in keys)
        waiting += gc.get_referents(held)
    assert len(seen) > len(effects)
