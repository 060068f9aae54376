"""Every algorithm end to end: handshake, rekeys, and a packet each way."""

import pytest

from iketcp.ike.keywords import parse_esp_proposal, parse_ike_proposal
from iketcp.ike.negotiation import suite_of
from pair import EAST, WEST, Pair, child_policy, ike_policy

METHODS = ["x25519", "x448", "ecp256", "ecp384", "ecp521"]
MODP = ["modp2048", "modp3072", "modp4096"]
PRFS = ["prfsha256", "prfsha384", "prfsha512"]
AEADS = ["aes128gcm16", "aes192gcm16", "aes256gcm16", "chacha20poly1305"]
IMPLICIT_IV = [f"{cipher}iiv" for cipher in AEADS]
CIPHERS = [
    f"aes{bits}{mode}-sha{size}"
    for bits, size in (("128", 256), ("192", 384), ("256", 512))
    for mode in ("", "ctr")
]


def run(ike: str, esp: str) -> Pair:
    """Establish, rekey everything from both sides, and ping in between."""
    pair = Pair(
        ike_policy(WEST, ike, children=(child_policy(proposal=esp),)),
        ike_policy(
            EAST,
            ike,
            children=(
                child_policy(proposal=esp, local="10.0.2.0/24", remote="10.0.1.0/24"),
            ),
        ),
    )
    pair.up()
    pair.ping(3)
    for name in (WEST, EAST):
        pair.rekey_child(name)
        pair.settle()
        pair.ping()
        pair.rekey_ike(name)
        pair.settle()
        pair.ping()
    pair.check_agreement()
    return pair


@pytest.mark.parametrize(
    ("cipher", "prf", "method"),
    [
        (cipher, PRFS[number % 3], METHODS[number % 5])
        for number, cipher in enumerate([*AEADS, *CIPHERS])
    ],
)
def test_ike_ciphers(cipher: str, prf: str, method: str) -> None:
    """Each with one of the PRFs and of the methods. RFC 8247 §2."""
    keyword = f"{cipher}-{prf}-{method}"
    pair = run(keyword, "aes128gcm16")
    assert pair.ike(WEST).suite == suite_of(parse_ike_proposal(keyword))


@pytest.mark.parametrize("prf", PRFS)
@pytest.mark.parametrize("method", METHODS)
def test_methods_with_prfs(method: str, prf: str) -> None:
    """Each method with each PRF. RFC 7296 §2.13, §2.14."""
    keyword = f"aes256gcm16-{prf}-{method}"
    pair = run(keyword, f"aes256gcm16-{method}")
    assert pair.ike(EAST).suite == suite_of(parse_ike_proposal(keyword))


@pytest.mark.parametrize("method", ["mlkem768", "mlkem1024"])
def test_key_encapsulation(method: str) -> None:
    """RFC 9370 §2.1: a ciphertext answers an encapsulation key, rekeys too."""
    pair = run(f"aes256gcm16-prfsha256-{method}", f"aes256gcm16-{method}")
    suite = parse_ike_proposal(f"aes256gcm16-prfsha256-{method}")
    assert pair.ike(EAST).suite == suite_of(suite)


@pytest.mark.parametrize("method", MODP)
def test_modp_methods(method: str) -> None:
    """The same for the groups of RFC 3526, once each."""
    run(f"aes256gcm16-prfsha256-{method}", "aes256gcm16")


@pytest.mark.parametrize("numbers", ["esn", "noesn"])
@pytest.mark.parametrize("cipher", [*AEADS, *IMPLICIT_IV, *CIPHERS])
def test_esp_ciphers(cipher: str, numbers: str) -> None:
    """With and without extended sequence numbers. RFC 4303 §2.2.1, RFC 8750 §5."""
    keyword = f"{cipher}-{numbers}"
    pair = run("aes128gcm16-prfsha256-x25519", keyword)
    (child,) = pair.ike(WEST).children.values()
    assert child.parameters.suite == suite_of(parse_esp_proposal(keyword))
    assert child.parameters.suite.esn is (numbers == "esn")


@pytest.mark.parametrize("version", [4, 6])
def test_outer_address_families(version: int) -> None:
    """IPv4 and IPv6 outside. RFC 9329 §6.5."""
    addresses = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
    pair = Pair(addresses=addresses[version])
    pair.up()
    (found,) = pair.east.traces("nat-detection")
    assert found["is_remote_behind_nat"] is False
    pair.ping()
