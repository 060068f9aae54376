"""Configuration files that are wrong: one clear sentence for each mistake."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config_samples import BASES, INITIATOR, RESPONDER, SECRET, every_key
from iketcp.config import Role, parse
from iketcp.config.model import ROLES
from iketcp.config.schema import Key, Table
from iketcp.config.tables import TABLES
from iketcp.config.values import shown
from iketcp.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test finds a good secret in the environment."""
    monkeypatch.setenv("TEST_PSK", SECRET.decode())


def refusal(text: str, role: Role = "initiator") -> str:
    """Sentence that a configuration is refused with, from its line number on."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text, role, "gw.toml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("gw.toml:")
    return message.removeprefix("gw.toml:")


CHILD_2 = '[[child]]\nname = "two"\nremote_ts = ["10.2.0.0/16"]\n'

MISTAKES: dict[str, tuple[str, str]] = {
    "unknown key": (
        INITIATOR + '[ike]\nliveness = "5s"\nlifetme = "4h"\n',
        "12: [ike] has no key \"lifetme\"; did you mean 'lifetime'?",
    ),
    "unknown key like no other": (
        INITIATOR + '[ike]\n"@" = 1\n',
        '11: [ike] has no key "@"',
    ),
    "unknown key of a repeated table": (
        INITIATOR + CHILD_2 + "lifetimes = 5\n",
        "13: [[child]] has no key \"lifetimes\"; did you mean 'lifetime'?",
    ),
    "unknown table": (
        INITIATOR + "[transprot]\n",
        "10: there is no table \"transprot\"; did you mean 'transport'?",
    ),
    "unknown table like no other": (
        '"\\u001b[31m" = 1\n' + INITIATOR,
        '1: there is no table "\\x1b[31m"',
    ),
    "key outside of its table": (
        "dscp = 5\n" + INITIATOR,
        "1: the key 'dscp' stands outside of its table, [transport]",
    ),
    "bad duration": (
        INITIATOR + '[ike]\n\nlifetime = "4 hours"\n',
        '12: [ike] lifetime must be "none" or a duration such as "90s", "10m" or '
        '"1h30m", or seconds, not "4 hours"',
    ),
    "bad integer": (
        INITIATOR + "[transport]\ndscp = 64\n",
        "11: [transport] dscp must be an integer from 0 to 63, not 64",
    ),
    "integer of thousands of digits": (
        INITIATOR + f"[transport]\ndscp = 0x{'f' * 9000}\n",
        "11: [transport] dscp must be an integer from 0 to 63, not 0x"
        + "f" * 58
        + "...",
    ),
    "truth for a number": (
        INITIATOR + "[transport]\ndscp = true\n",
        "11: [transport] dscp must be an integer from 0 to 63, not true",
    ),
    "number for a truth": (
        INITIATOR + "assigned = 1\n",
        "10: [[child]] assigned must be true or false, not 1",
    ),
    "bad fraction": (
        INITIATOR + "lifetime_jitter = nan\n",
        "10: [[child]] lifetime_jitter must be a number from 0 to 0.9, not nan",
    ),
    "bad size": (
        INITIATOR + 'lifetime_octets = "lots"\n',
        '10: [[child]] lifetime_octets must be a size such as "64MiB" or "10GB", '
        'or octets, not "lots"',
    ),
    "bad word": (
        INITIATOR + '[log]\nlevel = "loud"\n',
        '11: [log] level must be "debug", "info", "warning" or "error", not "loud"',
    ),
    "bad text": (
        INITIATOR + '[tun]\nname = "a/b"\n',
        "11: [tun] name must be a device name of at most 15 letters, digits and _.-, "
        'not "a/b"',
    ),
    "bad address": (
        INITIATOR.replace("psk_env", 'address = "host"\npsk_env'),
        '3: [local] address must be an IP address such as "192.0.2.1" or '
        '"2001:db8::1", not "host"',
    ),
    "bad host": (
        INITIATOR.replace("gw.example", "gw example", 1),
        '5: [remote] address must be a host name or an IP address, not "gw example"',
    ),
    "bad network in an array of many lines": (
        INITIATOR + '[tun]\nroutes = [\n  "10.2.0.0/16",\n  "10.1.0.1/16",\n]\n',
        '13: [tun] routes must hold a network such as "10.1.0.0/16" or '
        '"2001:db8:1::/64", not "10.1.0.1/16"',
    ),
    "no array": (
        INITIATOR + '[tun]\naddresses = "10.1.0.1/16"\n',
        "11: [tun] addresses must be an array of addresses with prefix lengths, "
        'not "10.1.0.1/16"',
    ),
    "empty array": (
        INITIATOR + "[ike]\nproposals = []\n",
        "11: [ike] proposals must be a non-empty array of proposals, not an array",
    ),
    "address without prefix": (
        INITIATOR + '[tun]\naddresses = ["10.1.0.1"]\n',
        "11: [tun] addresses must hold an address with its prefix length, such as "
        '"10.1.0.1/24", not "10.1.0.1"',
    ),
    "number among texts": (
        INITIATOR + "[tun]\nroutes = [5]\n",
        '11: [tun] routes must hold a network such as "10.1.0.0/16" or '
        '"2001:db8:1::/64", not 5',
    ),
    "bad proposal": (
        INITIATOR + '[ike]\nproposals = [\n  "aes128-sha1-modp2048",\n]\n',
        "12: [ike] proposals is wrong: proposal 'aes128-sha1-modp2048': 'sha1' is "
        "refused: SHA-1 is being retired [RFC 8247 §2.3]; use sha256 or prfsha256",
    ),
    "bad ESP proposal": (
        INITIATOR + 'proposals = ["aes256gcm61"]\n',
        "10: [[child]] proposals is wrong: proposal 'aes256gcm61': 'aes256gcm61' is "
        "not a keyword; did you mean 'aes256gcm16'?",
    ),
    "bad traffic selector": (
        INITIATOR.replace("10.1.0.0/16", "10.1.0.0/40"),
        "9: [[child]] remote_ts is wrong: ",
    ),
    "bad identity": (
        INITIATOR.replace("@gw.example", "keyid:x"),
        "6: [remote] identity is wrong: 'keyid:x' is no key ID: after keyid: come "
        "hexadecimal digits, two for each octet",
    ),
    "missing key": (
        INITIATOR.replace('identity = "@laptop.example"\n', ""),
        "1: [local] needs the key 'identity': The identity we claim (IDi or IDr)",
    ),
    "missing key of a repeated table": (
        INITIATOR + '[[child]]\nname = "two"\n',
        "10: [[child]] needs the key 'remote_ts': Traffic selectors of the peer's side",
    ),
    "missing table": (
        INITIATOR[: INITIATOR.index("[[child]]")],
        "1: the table [[child]] is missing: ",
    ),
    "no child at all": (
        "child = []\n" + INITIATOR[: INITIATOR.index("[[child]]")],
        "1: there must be at least one [[child]]",
    ),
    "missing secret": (
        INITIATOR.replace('psk_env = "TEST_PSK"\n', ""),
        "1: there is no secret: [local] psk_file is the simplest way to one",
    ),
    "secret in the file": (
        INITIATOR.replace("psk_env", "psk"),
        "3: [local] psk is refused: a secret in this file would travel with every "
        "copy of it; put it into a file of its own and name that with psk_file, or "
        "name an environment variable with psk_env",
    ),
    "two sources of one secret": (
        INITIATOR.replace("psk_env", 'psk_file = "x"\npsk_env'),
        "4: [local] psk_env cannot stand beside psk_file; choose one",
    ),
    "secret of nobody": (
        INITIATOR + '[[secret]]\nidentity = "@gw.example"\n',
        "10: [[secret]] needs one of the keys 'psk_file' and 'psk_env'",
    ),
    "two secrets for one peer": (
        INITIATOR + '[[secret]]\nidentity = "@a"\npsk_env = "TEST_PSK"\n' * 2,
        "14: [[secret]] identity a has a secret already",
    ),
    "no secret for the peer": (
        INITIATOR.replace('psk_env = "TEST_PSK"\n', "")
        + '[[secret]]\nidentity = "@a"\npsk_env = "TEST_PSK"\n',
        "5: [remote] identity gw.example has no [[secret]], and [local] has none "
        "for all",
    ),
    "variable that is not there": (
        INITIATOR.replace("TEST_PSK", "NO_SUCH_PSK"),
        "3: [local] psk_env names NO_SUCH_PSK, which is not in the environment",
    ),
    "name that no variable has": (
        INITIATOR.replace("TEST_PSK", "A=B"),
        '3: [local] psk_env must be the name of an environment variable, not "A=B"',
    ),
    "file that is not there": (
        INITIATOR.replace('psk_env = "TEST_PSK"', 'psk_file = "no/such.psk"'),
        "3: [local] psk_file names no/such.psk, which cannot be read: "
        "No such file or directory",
    ),
    "path that no file has": (
        INITIATOR.replace('psk_env = "TEST_PSK"', 'psk_file = "a\\u0000"'),
        '3: [local] psk_file must be a path, not "a\\x00"',
    ),
    "pauses that shrink": (
        INITIATOR + '[udp]\nrepeat_first = "40s"\n',
        "11: [udp] repeat_first must not be more than repeat_max",
    ),
    "pauses beyond the end": (
        INITIATOR + '[udp]\nrepeat_total = "20s"\n',
        "10: [udp] repeat_max must not be more than repeat_total",
    ),
    "one port for both": (
        INITIATOR + "[udp]\nike_port = 4500\n",
        "11: [udp] ike_port must not be encapsulation_port, too",
    ),
    "one port of the peer for both": (
        INITIATOR + "[udp]\nremote_encapsulation_port = 500\n",
        "10: [udp] remote_ike_port must not be remote_encapsulation_port, too",
    ),
    "key of the other role": (
        INITIATOR + "[ike]\ncookies = true\n",
        "11: [ike] cookies is for the responder only",
    ),
    "a word of the responder's": (
        INITIATOR + '[ike]\nchildless = "allow"\n',
        '11: [ike] childless of "allow" is not for the initiator',
    ),
    "table of the other role": (
        INITIATOR + '[pool]\nnetworks = ["10.9.0.0/24"]\n',
        "10: [pool] is for the responder only",
    ),
    "one table written as several": (
        INITIATOR + "[[tun]]\n",
        "10: tun must be a table [tun], not an array",
    ),
    "several tables written as one": (
        INITIATOR.replace("[[child]]", "[child]"),
        "7: child is written [[child]], for there may be several",
    ),
    "no table at all": (
        "tun = 5\n" + INITIATOR,
        "1: tun must be a table [tun], not 5",
    ),
    "array of something else": (
        "secret = [1]\n" + INITIATOR,
        "1: secret must be a table [[secret]], not 1",
    ),
    "two children of one name": (
        INITIATOR + CHILD_2.replace("two", "office"),
        "11: [[child]] name 'office' is taken already",
    ),
    "assigned address without a request": (
        INITIATOR + "assigned = true\n",
        "10: [[child]] assigned needs [ike] request_addresses",
    ),
    "extended numbers without a window": (
        INITIATOR + "replay_window = 0\n",
        "10: [[child]] replay_window of 0 needs '-noesn' in every proposal of this "
        "[[child]]",
    ),
    "back-off that shrinks": (
        INITIATOR + '[transport]\nreconnect_first = "2m"\n',
        "11: [transport] reconnect_first must not be more than reconnect_max",
    ),
    "no TOML": (
        INITIATOR + "[ike\n",
        "10: this is not TOML: Expected ']' at the end of a table declaration",
    ),
    "no TOML at the end": (
        INITIATOR + "[log]\nfile = 'x",
        "11: this is not TOML: ",
    ),
    "a key twice": (
        INITIATOR + 'name = "x"\n',
        "10: this is not TOML: Cannot overwrite a value",
    ),
    "decimal number beyond reason": (
        "x = " + "9" * 9000,
        "1: this is too large or too deep for TOML",
    ),
    "nesting beyond reason": (
        "x = " + "[" * 9000,
        "1: this is too large or too deep for TOML",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_get_one_sentence(mistake: str) -> None:
    """File, line, what is wrong, and the nearest valid key where one is unknown."""
    text, sentence = MISTAKES[mistake]
    found = refusal(text)
    if sentence.endswith(": "):
        assert found.startswith(sentence)
    else:
        assert found == sentence


RESPONDER_MISTAKES: dict[str, tuple[str, str]] = {
    "key of the other role": (
        RESPONDER + '[remote]\naddress = "gw.example"\n',
        "9: [remote] address is for the initiator only",
    ),
    "assigned address in transport mode": (
        RESPONDER + 'assigned = true\nmode = "transport"\n',
        "8: [[child]] assigned goes with tunnel mode only",
    ),
    "assigned address without a pool": (
        RESPONDER + "assigned = true\n",
        "8: [[child]] assigned needs a [pool] to assign addresses from",
    ),
    "selectors left open": (
        RESPONDER.replace('local_ts = ["10.1.0.0/16"]\n', ""),
        "4: [[child]] needs the key 'local_ts': Traffic selectors of our side: "
        "networks, ranges or addresses, with `[protocol/port]` where wanted",
    ),
    "pools that overlap": (
        RESPONDER + '[pool]\nnetworks = [\n"10.9.0.0/16",\n"10.9.1.0/24",\n]\n',
        "11: [pool] networks overlap: 10.9.0.0/16 and 10.9.1.0/24",
    ),
    "a word of the initiator's": (
        RESPONDER + '[ike]\nchildless = "prefer"\n',
        '9: [ike] childless of "prefer" is not for the responder',
    ),
    "more half-open for one than for all": (
        RESPONDER + "[transport]\nhalf_open_limit = 4\n",
        "8: [transport] half_open_limit_per_address must not be more than "
        "half_open_limit",
    ),
}


@pytest.mark.parametrize("mistake", RESPONDER_MISTAKES)
def test_mistakes_of_a_responder(mistake: str) -> None:
    """What only a responder can do wrong."""
    text, sentence = RESPONDER_MISTAKES[mistake]
    assert refusal(text, "responder") == sentence


def test_lines_are_found_past_multi_line_strings() -> None:
    """What looks like a key inside a text is none."""
    text = INITIATOR + (
        '[log]\nfile = """\\\n  format = 1 \\\n  [tun]\\\n"""\nformat = "xml"\n'
    )
    assert refusal(text).startswith("15: [log] format must be")


def test_the_line_of_what_has_none() -> None:
    """Inside an inline table, the line where that begins."""
    text = "\ntun = { name = 'a', mtu = 5 }\n" + INITIATOR
    assert refusal(text).startswith('2: [tun] mtu must be "auto" or an integer')


# --- anything at all --------------------------------------------------------

NAMES = sorted(
    {table.name for table in TABLES}
    | {key.name for _, key in every_key()}
    | {"tls", "x", '"\\u0000"', '"="', "a.b"}
)
VALUES = st.one_of(
    st.integers().map(str),
    st.integers(0, 100_000).map(str),
    st.floats().map(repr),
    st.booleans().map(lambda value: str(value).lower()),
    st.sampled_from(
        [
            '"none"',
            '"auto"',
            '"1h"',
            '"@gw.example"',
            '"10.0.0.0/8"',
            '"aes256gcm16"',
            '"aes256gcm16-prfsha256-x25519"',
            '"TEST_PSK"',
            '"\\u0000"',
            "1979-05-27",
            "07:32:00",
            "{}",
            "{ a = 1 }",
            '"""\n[x]\ny = 1\n"""',
        ]
    ),
    # quoting of any text: TOML's basic strings take what JSON's do, and DEL escaped
    st.text(st.characters(exclude_categories=["Cs", "Cc"])).map(
        lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
)
ITEMS = VALUES | st.lists(VALUES, max_size=3).map(lambda v: f"[{', '.join(v)}]")
LINES = st.one_of(
    st.tuples(st.sampled_from(NAMES), ITEMS).map(" = ".join),
    st.sampled_from([table.header for table in TABLES]),
    st.sampled_from(NAMES).map(lambda name: f"[{name}]"),
    st.sampled_from(NAMES).map(lambda name: f"[[{name}]]"),
)


def read_or_refuse(text: str, role: Role) -> None:
    """Read a configuration; all that may go wrong is the error for users."""
    try:
        configuration = parse(text, role, "gw.toml")
    except ConfigurationError as error:
        assert re.match(r"gw\.toml:[0-9]+: .", str(error))  # noqa: PT017
    else:
        assert configuration.role == role


@given(st.lists(LINES, max_size=12), st.sampled_from(ROLES), st.booleans())
def test_any_toml_is_read_or_refused(
    lines: list[str], role: Role, is_after_base: bool
) -> None:
    """Arbitrary TOML never raises anything but ConfigurationError."""
    base = BASES[role] if is_after_base else ""
    read_or_refuse(base + "\n".join(lines), role)


@given(st.text(), st.sampled_from(ROLES))
def test_any_text_is_read_or_refused(text: str, role: Role) -> None:
    """Arbitrary text never raises anything but ConfigurationError."""
    read_or_refuse(text, role)


@given(
    st.sampled_from([(t, k) for t, k in every_key() if not t.is_repeated]),
    ITEMS,
    st.sampled_from(ROLES),
)
def test_any_value_of_any_key(place: tuple[Table, Key], value: str, role: Role) -> None:
    """Each key meets each kind of value, in a configuration that is good otherwise."""
    table, key = place
    header = table.header + "\n"
    text = BASES[role]
    if header not in text:
        text += header
    read_or_refuse(text.replace(header, f"{header}{key.name} = {value}\n"), role)


@given(st.sampled_from([k.name for t, k in every_key() if t.name == "child"]), ITEMS)
def test_any_value_of_any_key_of_a_child(name: str, value: str) -> None:
    """The same for the keys of a Child SA."""
    read_or_refuse(f"{RESPONDER}{name} = {value}\n", "responder")


@given(st.recursive(st.none(), lambda inner: st.lists(inner) | st.text()))
def test_anything_can_be_shown(value: object) -> None:
    """Values in errors stay on one line and short."""
    text = shown(value)
    assert len(text) <= 63
    assert text.isprintable()
