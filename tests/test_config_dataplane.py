"""What does not go together with the kernel's data plane, in one sentence each."""

import pytest

from config_samples import INITIATOR, RESPONDER, SECRET
from iketcp.config import Role, parse
from iketcp.errors import ConfigurationError

KERNEL = '[tun]\ndataplane = "kernel"\n'
WEST = INITIATOR.replace("[local]", '[local]\naddress = "192.0.2.7"')
EAST = RESPONDER.replace("[local]", '[local]\naddress = "0.0.0.0"')


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test finds a good secret in the environment."""
    monkeypatch.setenv("TEST_PSK", SECRET.decode())


def refusal(text: str, role: Role) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, role, "gw.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value).split(": ", 1)[1]


def test_it_is_a_choice() -> None:
    assert parse(INITIATOR, "initiator", "gw.toml").tun.dataplane == "user"
    assert parse(INITIATOR + KERNEL, "initiator", "gw.toml").tun.dataplane == "kernel"
    assert parse(EAST + KERNEL, "responder", "gw.toml").tun.dataplane == "kernel"


REASONS: dict[str, tuple[Role, str]] = {
    '[transport] protocol of "udp"': (
        "initiator",
        WEST + KERNEL + '[transport]\nprotocol = "udp"\n',
    ),
    "[tls]": ("initiator", WEST + KERNEL + "[tls]\n"),
    "[proxy]": ("initiator", WEST + KERNEL + '[proxy]\naddress = "proxy.example"\n'),
    "[transport] proxy_protocol_from": (
        "responder",
        EAST + KERNEL + '[transport]\nproxy_protocol_from = ["192.0.2.9"]\n',
    ),
    "[transport] resync": ("initiator", WEST + KERNEL + "[transport]\nresync = 3\n"),
    '[tun] mode of "memory"': ("initiator", WEST + KERNEL + 'mode = "memory"\n'),
    'both IP versions at once; set [local] address, as in "0.0.0.0"': (
        "responder",
        RESPONDER + KERNEL,
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_the_kernel_does_not_do(reason: str) -> None:
    role, text = REASONS[reason]
    assert refusal(text, role) == (
        f'[tun] dataplane of "kernel" does not go with {reason}'
    )


def test_a_listener_on_every_address_of_both_versions_is_refused() -> None:
    text = EAST.replace("0.0.0.0", "::") + KERNEL
    assert "both IP versions" in refusal(text, "responder")
    parse(EAST.replace("0.0.0.0", "2001:db8::1") + KERNEL, "responder", "gw.toml")


@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_transport_mode_is_refused(role: Role) -> None:
    text = {"initiator": WEST, "responder": EAST}[role] + 'mode = "transport"\n'
    assert refusal(text + KERNEL, role) == (
        '[[child]] mode of "transport" does not go with [tun] dataplane of "kernel"'
    )


def test_an_implicit_iv_is_refused() -> None:
    text = WEST + 'proposals = ["aes256gcm16-x25519", "aes256gcm16iiv-x25519"]\n'
    assert refusal(text + KERNEL, "initiator") == (
        '[[child]] proposals go not with an implicit IV and [tun] dataplane of "kernel"'
    )
