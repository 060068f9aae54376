"""Requests to the kernel's IPsec, octet by octet, as ``linux/xfrm.h`` has them."""

import contextlib
import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_support import ALL_SUITES, CBC, GCM, GCM_ESN, parameters
from iketcp.crypto.suite import Suite
from iketcp.errors import MalformedMessageError
from iketcp.xfrm.algorithms import is_known_to_kernel
from iketcp.xfrm.layout import (
    AttributeKind,
    MessageKind,
    Request,
    attribute,
    attributes_of,
    messages_of,
    verdict_of,
)
from iketcp.xfrm.policies import (
    Direction,
    KernelSelector,
    PolicyKey,
    Ports,
    Template,
)
from iketcp.xfrm.states import Count, Sa, SaStatus
from namespaces import require_or_skip
from xfrm_parts import IF_ID, PATH, answer, attributes, error, path

PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/xfrm.h>
#include <linux/netlink.h>

static void show(const char *name, const void *octets, size_t size)
{
    printf("%s ", name);
    for (size_t at = 0; at < size; at++)
        printf("%02x", ((const unsigned char *)octets)[at]);
    printf("\n");
}

static void no_limits(struct xfrm_lifetime_cfg *limits)
{
    limits->soft_byte_limit = limits->hard_byte_limit = XFRM_INF;
    limits->soft_packet_limit = limits->hard_packet_limit = XFRM_INF;
}

static void selector(struct xfrm_selector *it)
{
    inet_pton(AF_INET, "10.1.0.0", &it->saddr);
    inet_pton(AF_INET, "10.2.0.0", &it->daddr);
    it->prefixlen_s = 24;
    it->prefixlen_d = 16;
    it->family = AF_INET;
    it->proto = IPPROTO_TCP;
    it->sport = htons(1024);
    it->sport_mask = htons(0xfc00);
    it->dport = htons(443);
    it->dport_mask = htons(0xffff);
}

int main(void)
{
    static struct xfrm_usersa_info sa;
    static struct xfrm_usersa_id id;
    static struct xfrm_userpolicy_info policy;
    static struct xfrm_userpolicy_id policy_id;
    static struct xfrm_user_tmpl tmpl;
    static struct xfrm_encap_tmpl encap;
    static struct { struct xfrm_replay_state_esn fixed; __u32 map[2]; } replay;
    static struct { struct xfrm_algo_aead fixed; char key[36]; } aead;
    static struct { struct xfrm_algo fixed; char key[16]; } crypt;
    static struct { struct xfrm_algo_auth fixed; char key[32]; } auth;

    inet_pton(AF_INET, "192.0.2.7", &sa.saddr);
    inet_pton(AF_INET, "198.51.100.1", &sa.id.daddr);
    sa.id.spi = htonl(0xc0ffee02);
    sa.id.proto = IPPROTO_ESP;
    no_limits(&sa.lft);
    sa.reqid = 7;
    sa.family = AF_INET;
    sa.mode = XFRM_MODE_TUNNEL;
    sa.flags = XFRM_STATE_NOECN | XFRM_STATE_AF_UNSPEC;
    show("sa", &sa, sizeof(sa));
    sa.flags |= XFRM_STATE_ESN;
    show("sa-esn", &sa, sizeof(sa));

    inet_pton(AF_INET, "198.51.100.1", &id.daddr);
    id.spi = htonl(0xc0ffee02);
    id.family = AF_INET;
    id.proto = IPPROTO_ESP;
    show("sa-id", &id, sizeof(id));

    encap.encap_type = 7;
    encap.encap_sport = htons(40000);
    encap.encap_dport = htons(4500);
    show("encap", &encap, sizeof(encap));

    replay.fixed.bmp_len = 2;
    replay.fixed.replay_window = 64;
    show("replay", &replay, sizeof(replay));

    strcpy(aead.fixed.alg_name, "rfc4106(gcm(aes))");
    aead.fixed.alg_key_len = 36 * 8;
    aead.fixed.alg_icv_len = 128;
    show("aead", &aead, sizeof(aead) - 36);
    strcpy(crypt.fixed.alg_name, "cbc(aes)");
    crypt.fixed.alg_key_len = 128;
    show("crypt", &crypt, sizeof(crypt) - 16);
    strcpy(auth.fixed.alg_name, "hmac(sha256)");
    auth.fixed.alg_key_len = 256;
    auth.fixed.alg_trunc_len = 128;
    show("auth", &auth, sizeof(auth) - 32);

    selector(&policy.sel);
    no_limits(&policy.lft);
    policy.priority = PRIORITY;
    policy.dir = XFRM_POLICY_OUT;
    policy.action = XFRM_POLICY_ALLOW;
    show("policy", &policy, sizeof(policy));
    selector(&policy_id.sel);
    policy_id.dir = XFRM_POLICY_FWD;
    show("policy-id", &policy_id, sizeof(policy_id));

    inet_pton(AF_INET, "192.0.2.7", &tmpl.saddr);
    inet_pton(AF_INET, "198.51.100.1", &tmpl.id.daddr);
    tmpl.id.spi = htonl(0xc0ffee02);
    tmpl.id.proto = IPPROTO_ESP;
    tmpl.family = AF_INET;
    tmpl.reqid = 7;
    tmpl.mode = XFRM_MODE_TUNNEL;
    tmpl.aalgos = tmpl.ealgos = tmpl.calgos = ~0;
    show("tmpl", &tmpl, sizeof(tmpl));

    int kinds[] = {XFRM_MSG_NEWSA, XFRM_MSG_DELSA, XFRM_MSG_GETSA, XFRM_MSG_DELPOLICY,
                   XFRM_MSG_UPDPOLICY, XFRM_MSG_UPDSA};
    int names[] = {XFRMA_ALG_CRYPT, XFRMA_ENCAP, XFRMA_TMPL, XFRMA_ALG_AEAD,
                   XFRMA_ALG_AUTH_TRUNC, XFRMA_TFCPAD, XFRMA_REPLAY_ESN_VAL,
                   XFRMA_IF_ID};
    show("kinds", kinds, sizeof(kinds));
    show("attributes", names, sizeof(names));
    return 0;
}
"""

SELECTOR = KernelSelector(
    ip_network("10.1.0.0/24"),
    ip_network("10.2.0.0/16"),
    6,
    Ports(1024, 0xFC00),
    Ports(443, 0xFFFF),
)
TEMPLATE = Template(
    2, 7, (PATH.local_address, PATH.remote_address), bytes.fromhex("c0ffee02")
)


def outbound(suite: Suite = GCM) -> Sa:
    return Sa(parameters(suite), PATH, False, 7, IF_ID)


def inbound(suite: Suite = GCM) -> Sa:
    return Sa(parameters(suite), PATH, True, 7, IF_ID)


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same structures, filled in by a C program with the machine's header."""
    compiler = shutil.which("cc")
    require_or_skip(compiler is not None, "there is no C compiler")
    assert compiler is not None
    folder = tmp_path_factory.mktemp("xfrm")
    source, program = folder / "layout.c", folder / "layout"
    source.write_text(PROGRAM.replace("PRIORITY", str(SELECTOR.priority)), "utf-8")
    built = subprocess.run(
        [compiler, "-o", program, source], capture_output=True, text=True, check=False
    )
    require_or_skip(Path("/usr/include/linux/xfrm.h").exists(), "no linux/xfrm.h")
    assert built.returncode == 0, built.stderr
    shown = subprocess.run([program], capture_output=True, text=True, check=True)
    rows = (line.split() for line in shown.stdout.splitlines())
    return {name: bytes.fromhex(octets) for name, octets in rows}


def test_an_sa_is_what_the_header_says(header: dict[str, bytes]) -> None:
    """Structure and attributes of both kinds of cipher."""
    body = outbound().new().body
    assert body[:224] == header["sa"]
    assert outbound(GCM_ESN).new().body[:224] == header["sa-esn"]
    there = attributes(body, 224)
    key = parameters(GCM).encryption_key_out
    assert there == {
        AttributeKind.ALG_AEAD: header["aead"] + key,
        AttributeKind.ENCAP: header["encap"],
        AttributeKind.IF_ID: IF_ID.to_bytes(4, "little"),
        AttributeKind.REPLAY_ESN_VAL: header["replay"],
    }
    plain = attributes(outbound(CBC).new().body, 224)
    made = parameters(CBC)
    assert plain[AttributeKind.ALG_CRYPT] == header["crypt"] + made.encryption_key_out
    auth = header["auth"] + made.integrity_key_out
    assert plain[AttributeKind.ALG_AUTH_TRUNC] == auth


def test_the_name_of_an_sa_is_what_the_header_says(header: dict[str, bytes]) -> None:
    assert outbound().delete().body == header["sa-id"]
    assert outbound().get().body == header["sa-id"]


def test_a_policy_is_what_the_header_says(header: dict[str, bytes]) -> None:
    body = PolicyKey(Direction.OUT, SELECTOR).update(TEMPLATE, IF_ID).body
    assert body[:168] == header["policy"]
    assert attributes(body, 168) == {
        AttributeKind.TMPL: header["tmpl"],
        AttributeKind.IF_ID: IF_ID.to_bytes(4, "little"),
    }
    name = PolicyKey(Direction.FORWARD, SELECTOR).delete(IF_ID).body
    assert name[:64] == header["policy-id"]
    assert attributes(name, 64) == {AttributeKind.IF_ID: IF_ID.to_bytes(4, "little")}


def test_numbers_are_those_of_the_header(header: dict[str, bytes]) -> None:
    for name, numbers in (("kinds", MessageKind), ("attributes", AttributeKind)):
        written = b"".join(number.to_bytes(4, "little") for number in numbers)
        assert written == header[name]


def test_an_inbound_sa_has_the_ends_the_other_way_round() -> None:
    """Source is the peer, with its port, and the keys are those of its side."""
    sa = inbound()
    assert sa.ends == (PATH.remote_address, PATH.local_address)
    body = sa.new().body
    assert body[56:60] == PATH.local_address.packed
    assert body[72:76] == sa.parameters.spi_in
    assert body[80:84] == PATH.remote_address.packed
    there = attributes(body, 224)
    assert there[AttributeKind.ENCAP][2:6] == bytes.fromhex("11949c40")
    assert there[AttributeKind.ALG_AEAD][72:] == sa.parameters.encryption_key_in


def test_an_sa_over_ipv6() -> None:
    over = path("2001:db8::7", 40000, "2001:db8::1", 4500)
    body = replace(outbound(), path=over).new().body
    assert body[56:72] == over.remote_address.packed
    assert body[80:96] == over.local_address.packed
    assert body[212:214] == (10).to_bytes(2, "little")


@pytest.mark.parametrize(("window", "words", "width"), [(32, 1, 32), (100, 4, 100)])
def test_the_window_has_room_for_every_packet(
    window: int, words: int, width: int
) -> None:
    sa = Sa(parameters(replay_window=window), PATH, True, 7, IF_ID)
    numbers = attributes(sa.new().body, 224)[AttributeKind.REPLAY_ESN_VAL]
    fields = [int.from_bytes(numbers[at : at + 4], "little") for at in range(0, 24, 4)]
    assert fields == [words, 0, 0, 0, 0, width]
    assert numbers[24:] == bytes(4 * words)


def test_the_window_is_no_wider_than_the_kernels() -> None:
    sa = Sa(parameters(replay_window=100_000), PATH, True, 7, IF_ID)
    numbers = attributes(sa.new().body, 224)[AttributeKind.REPLAY_ESN_VAL]
    assert numbers[20:24] == (4096).to_bytes(4, "little")


def test_without_a_window_what_goes_out_is_numbered_all_the_same() -> None:
    """Or an SA that is made anew would begin at one under the same key."""
    made = parameters(replay_window=0)
    kind = AttributeKind.REPLAY_ESN_VAL
    assert kind not in attributes(Sa(made, PATH, True, 7, 1).new().body, 224)
    assert kind in attributes(Sa(made, PATH, False, 7, 1).new().body, 224)


def test_padding_is_for_what_goes_out() -> None:
    made = parameters(tfc_pad_to=1200)
    there = attributes(Sa(made, PATH, False, 7, 1).new().body, 224)
    assert there[AttributeKind.TFCPAD] == (1200).to_bytes(4, "little")
    back = attributes(Sa(made, PATH, True, 7, 1).new().body, 224)
    assert AttributeKind.TFCPAD not in back


def test_every_suite_has_a_name_unless_its_iv_is_implicit() -> None:
    for suite in ALL_SUITES:
        assert is_known_to_kernel(suite.encr) is not suite.cipher.is_iv_implicit
        if not suite.cipher.is_iv_implicit:
            assert outbound(suite).new().body


def test_a_request_has_a_header() -> None:
    """Only a question is answered by something else than a verdict."""
    made = outbound().new().encode(9)
    assert int.from_bytes(made[:4], "little") == len(made)
    assert made[4:16] == bytes.fromhex("100005020900000000000000")
    assert outbound().get().encode(1)[4:8] == bytes.fromhex("12000100")
    assert outbound().update().encode(1)[4:8] == bytes.fromhex("1a000500")
    assert outbound().delete().encode(1)[4:8] == bytes.fromhex("11000500")


def test_keys_are_not_shown() -> None:
    request = outbound().new()
    assert request.what == "install the outbound SA 0xc0ffee02 of Child SA net"
    assert parameters(GCM).encryption_key_out.hex() not in repr(request)
    assert repr(parameters(GCM).encryption_key_out)[2:-1] not in repr(request)


# --- answers ------------------------------------------------------------------------


def test_the_kernels_picture_of_an_sa() -> None:
    """Octets and packets that went through, and the numbers as they stand."""
    numbers = bytes(range(32))
    info = bytearray(224)
    info[160:168], info[168:176] = (5000).to_bytes(8, "little"), bytes([7] + [0] * 7)
    body = bytes(info) + attribute(AttributeKind.REPLAY_ESN_VAL, numbers)
    assert SaStatus.parse(body) == SaStatus(Count(5000, 7), numbers)
    assert SaStatus.parse(bytes(info)).replay == b""
    with pytest.raises(MalformedMessageError, match="of 223 octets"):
        SaStatus.parse(bytes(223))


def test_verdicts() -> None:
    (yes,) = messages_of(error(5, 0))
    assert yes[:2] == (2, 5)
    assert verdict_of(yes[2]) == (0, "")
    (no,) = messages_of(error(6, 22, "Invalid mode"))
    assert verdict_of(no[2]) == (22, "Invalid mode")
    bare = error(6, 22)[16:] + attribute(AttributeKind.ENCAP, b"abcd")
    assert verdict_of(bare) == (22, "")
    with pytest.raises(MalformedMessageError, match="error of 8 octets"):
        verdict_of(bytes(8))


def test_several_messages_in_one_datagram() -> None:
    datagram = answer(16, 1, b"abcde") + bytes(3) + answer(17, 2, b"")
    assert list(messages_of(datagram)) == [(16, 1, b"abcde"), (17, 2, b"")]


@pytest.mark.parametrize("octets", ["00", "0f000000" + "00" * 12, "11" + "00" * 15])
def test_a_message_that_does_not_fit_is_refused(octets: str) -> None:
    with pytest.raises(MalformedMessageError, match="netlink message"):
        list(messages_of(bytes.fromhex(octets)))


@pytest.mark.parametrize("octets", ["03000100", "09000100" + "00" * 4])
def test_an_attribute_that_does_not_fit_is_refused(octets: str) -> None:
    with pytest.raises(MalformedMessageError, match="netlink attribute"):
        list(attributes_of(bytes.fromhex(octets)))


@given(st.binary(max_size=80))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    for read in (messages_of, attributes_of):
        with contextlib.suppress(MalformedMessageError):
            list(read(octets))


@given(st.lists(st.tuples(st.sampled_from(AttributeKind), st.binary(max_size=9))))
def test_attributes_are_found_again(
    written: list[tuple[AttributeKind, bytes]],
) -> None:
    octets = b"".join(attribute(kind, payload) for kind, payload in written)
    assert len(octets) % 4 == 0
    assert list(attributes_of(octets)) == written


def test_a_removal_says_so() -> None:
    """What is gone already need not be removed; anything else has to succeed."""
    removals = (outbound().delete(), PolicyKey(Direction.IN, SELECTOR).delete(1))
    assert all(request.is_removal for request in removals)
    assert not Request(MessageKind.NEW_SA, b"", "do").is_removal
