"""The netlink socket to the kernel's IPsec, with the kernel and with a script."""

import errno
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_network

import pytest

from esp_support import parameters
from iketcp.errors import EnvironmentProblem
from iketcp.net import xfrm
from iketcp.net.xfrm import XfrmInterface, XfrmRefusal, XfrmSocket, if_id_of
from iketcp.xfrm.policies import Direction, KernelSelector, PolicyKey, Ports, Template
from iketcp.xfrm.states import Sa, SaStatus
from namespaces import in_namespace, require_or_skip
from xfrm_parts import IF_ID, PATH, answer, error, refusal

SA = Sa(parameters(), PATH, False, 7, IF_ID)
POLICY = PolicyKey(
    Direction.OUT,
    KernelSelector(
        ip_network("10.1.0.0/24"),
        ip_network("10.2.0.0/16"),
        6,
        Ports(1024, 0xFC00),
        Ports(443, 0xFFFF),
    ),
)
TEMPLATE = Template(2, 7, (PATH.local_address, PATH.remote_address), SA.spi)


@pytest.fixture
def ends() -> Iterator[tuple[XfrmSocket, socket.socket]]:
    """Our socket, and the end where a test plays the kernel, before it is asked."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, closing(XfrmSocket(ours)) as asking:
        yield asking, theirs


Ends = tuple[XfrmSocket, socket.socket]


def test_yes_and_an_answer(ends: Ends) -> None:
    asking, kernel = ends
    kernel.send(error(1, 0))
    assert asking.ask(SA.new()) == b""
    assert kernel.recv(4096) == SA.new().encode(1)
    kernel.send(answer(16, 2, bytes(224)))
    assert SaStatus.parse(asking.ask(SA.get())).count == (0, 0)
    assert kernel.recv(4096) == SA.get().encode(2)


def test_the_kernels_words_are_passed_on(ends: Ends) -> None:
    asking, kernel = ends
    kernel.send(error(1, errno.EINVAL, "Invalid mode"))
    sentence = (
        "cannot install the outbound SA 0xc0ffee02 of Child SA net: Invalid argument "
        r"\(Invalid mode\)"
    )
    with pytest.raises(XfrmRefusal, match=sentence) as caught:
        asking.ask(SA.new())
    assert caught.value.code == errno.EINVAL
    kernel.send(error(2, errno.EPERM))
    with pytest.raises(XfrmRefusal, match="; run as root or with CAP_NET_ADMIN"):
        asking.ask(SA.update())


def test_what_is_gone_need_not_be_removed(ends: Ends) -> None:
    asking, kernel = ends
    kernel.send(error(1, errno.ESRCH))
    assert asking.ask(SA.delete()) == b""
    kernel.send(error(2, errno.ENOENT))
    assert asking.ask(POLICY.delete(IF_ID)) == b""
    kernel.send(error(3, errno.ESRCH))
    with pytest.raises(XfrmRefusal, match="No such process"):
        asking.ask(SA.get())
    kernel.send(error(4, errno.EPERM))
    with pytest.raises(XfrmRefusal):
        asking.ask(SA.delete())


def test_a_late_answer_to_another_request_is_passed_over(ends: Ends) -> None:
    asking, kernel = ends
    kernel.send(error(77, errno.EINVAL))
    kernel.send(error(1, 0))
    assert asking.ask(SA.new()) == b""


def test_nonsense_and_silence_are_refusals(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, kernel = ends
    kernel.send(b"\x05")
    with pytest.raises(XfrmRefusal, match="without a whole header"):
        asking.ask(SA.new())
    monkeypatch.setattr(xfrm, "_ANSWER_SECONDS", 0.01)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    silence = pytest.raises(XfrmRefusal, match="the kernel does not answer")
    with theirs, closing(XfrmSocket(ours)) as impatient, silence:
        impatient.ask(SA.new())


def test_a_kernel_without_ipsec_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

    monkeypatch.setattr(xfrm.socket, "socket", refuse)
    with pytest.raises(EnvironmentProblem, match=r"no IPsec to talk to \(CONFIG_XFRM_"):
        XfrmSocket()


# --- the kernel -----------------------------------------------------------------------


def shown(*what: str) -> str:
    """What iproute2 makes of what the kernel has."""
    command = ["ip", "-s", "xfrm", *what]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def kernel_socket() -> XfrmSocket:
    try:
        return XfrmSocket()
    except EnvironmentProblem as problem:
        require_or_skip(False, str(problem))
        raise


@in_namespace
def test_the_kernel_has_the_policy_that_was_meant() -> None:
    """As another program reads it back."""
    with closing(kernel_socket()) as asking:
        asking.ask(POLICY.update(TEMPLATE, IF_ID))
        text = " ".join(shown("policy").split())
        for part in (
            "src 10.1.0.0/24 dst 10.2.0.0/16",
            "proto tcp sport 1024 dport 443",
            "dir out",
            f"priority {POLICY.selector.priority}",
            f"if_id {IF_ID:#x}",
            "tmpl src 192.0.2.7 dst 198.51.100.1",
            "proto esp spi 0xc0ffee02(3237998082) reqid 7(0x00000007) mode tunnel",
            "level required",
            "enc-mask ffffffff auth-mask ffffffff comp-mask ffffffff",
        ):
            assert part in text, text
        # again, with another SA: it is replaced, not made twice
        other = Template(2, 7, TEMPLATE.ends, bytes.fromhex("00000101"))
        asking.ask(POLICY.update(other, IF_ID))
        assert "spi 0x00000101" in shown("policy")
        assert shown("policy").count("dir out") == 1
        asking.ask(POLICY.delete(IF_ID))
        assert shown("policy") == ""
        asking.ask(POLICY.delete(IF_ID))


@in_namespace
def test_the_kernel_understands_the_sa() -> None:
    """It makes it, or says what it lacks: the algorithm, or ESP itself."""
    with closing(kernel_socket()) as asking:
        if (problem := refusal(lambda: asking.ask(SA.new()))) is not None:
            assert "algorithm not found" in str(problem) or "not supp" in str(problem)
            return
        text = " ".join(shown("state").split())
        assert "encap type espintcp sport 40000 dport 4500" in text
        assert "aead rfc4106(gcm(aes))" in text
        assert SaStatus.parse(asking.ask(SA.get())).count == (0, 0)
        asking.ask(SA.update())
        asking.ask(SA.delete())
        assert shown("state") == ""


@in_namespace
def test_an_xfrm_interface_is_made_or_missed_in_a_sentence() -> None:
    """Two with one name are one too many."""
    made: list[XfrmInterface] = []
    if (
        problem := refusal(lambda: made.append(XfrmInterface("kernel0", 1400)))
    ) is not None:
        assert str(problem) == (
            "this kernel has no xfrm interfaces (CONFIG_XFRM_INTERFACE)"
        )
        return
    (device,) = made
    with closing(device):
        assert device.read_runs() == []
        with pytest.raises(EnvironmentProblem, match="ip link delete kernel0"):
            XfrmInterface("kernel0", 1400)
    device.close()
    with pytest.raises(OSError, match="no interface with this name"):
        socket.if_nametoindex("kernel0")


class ScriptedRoute:
    """Answers for the kernel where it has no xfrm interfaces."""

    made: dict[str, int]
    refusal: OSError | None

    def __init__(self, **_: object) -> None:
        pass

    def __enter__(self) -> "ScriptedRoute":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def link(self, verb: str, ifname: str = "", index: int = 0, **more: object) -> None:
        if self.refusal is not None:
            raise self.refusal
        if verb == "add":
            assert more["kind"] == "xfrm"
            self.made[ifname] = 9
        else:
            self.made = {n: i for n, i in self.made.items() if i != index}
            type(self).made = self.made

    def link_lookup(self, ifname: str) -> list[int]:
        return [self.made[ifname]]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[ScriptedRoute]:
    ScriptedRoute.made, ScriptedRoute.refusal = {}, None
    monkeypatch.setattr(xfrm, "IPRoute", ScriptedRoute)
    return ScriptedRoute


def test_an_interface_of_a_kernel_that_has_them(
    scripted: type[ScriptedRoute],
) -> None:
    device = XfrmInterface("kernel0", 1400)
    assert scripted.made == {"kernel0": 9}
    assert device.if_id == if_id_of("kernel0") != if_id_of("kernel1")
    assert device.read_runs() == []
    device.write_batch([b"one", b"two"])
    assert device.dropped_packets == 2
    assert device.fileno() >= 0
    assert repr(device) == "XfrmInterface('kernel0')"
    device.close()
    device.close()
    assert scripted.made == {}
    assert device.fileno() == -1


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.EOPNOTSUPP, "this kernel has no xfrm interfaces"),
        (errno.EPERM, "no privilege to make xfrm interface kernel0; run as root"),
        (errno.EEXIST, "is there already; choose another name, or remove it"),
        (errno.ENOMEM, "cannot make an xfrm interface named 'kernel0': no more"),
    ],
)
def test_why_there_is_no_interface(
    scripted: type[ScriptedRoute], code: int, sentence: str
) -> None:
    scripted.refusal = OSError(code, "no more")
    with pytest.raises(EnvironmentProblem, match=sentence):
        XfrmInterface("kernel0", 1400)
