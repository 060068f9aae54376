"""One direction of a Child SA: what is sealed, what opens, and in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_support import ALL_SUITES, CBC, CBC_ESN, GCM, GCM_ESN, ipv4, ipv6, keys, ports
from iketcp.crypto.suite import Suite
from iketcp.environment import ScriptedEntropy
from iketcp.errors import (
    DropError,
    IntegrityError,
    MalformedPacketError,
    ReplayError,
    SelectorMismatchError,
    SequenceExhaustedError,
    UnknownSpiError,
)
from iketcp.esp.protection import InboundSa, OutboundSa

SPI = bytes.fromhex("01020304")


def outbound(suite: Suite, tfc_pad_to: int = 0) -> OutboundSa:
    key, integrity_key = keys(suite.cipher, "k")
    return OutboundSa(SPI, suite, key, integrity_key, ScriptedEntropy("iv"), tfc_pad_to)


def inbound(
    suite: Suite, is_admitted: bool = True, replay_window: int = 64
) -> InboundSa:
    key, integrity_key = keys(suite.cipher, "k")
    return InboundSa(
        SPI, suite, key, integrity_key, lambda _: is_admitted, replay_window
    )


def sealed_by_hand(suite: Suite, plaintext: bytes, number: int = 1) -> bytes:
    """ESP packet around any plaintext, made with the cipher alone."""
    spec = suite.cipher
    cipher = spec.new(*keys(spec, "k"))
    header = SPI + number.to_bytes(4, "big")
    iv = bytes(spec.iv_size)
    implicit = number.to_bytes(8, "big")
    return header + iv + cipher.seal(iv or implicit, plaintext, header)


@pytest.mark.parametrize("suite", ALL_SUITES, ids=lambda suite: suite.describe())
@pytest.mark.parametrize("packet", [ipv4(bytes(57)), ipv6(bytes(30))], ids=["4", "6"])
def test_what_one_side_seals_the_other_opens(suite: Suite, packet: bytes) -> None:
    """RFC 4303 §3.3, §3.4: every cipher, with and without ESN."""
    out, in_ = outbound(suite), inbound(suite)
    for expected in (1, 2, 3):
        sealed = out.seal(packet)
        assert sealed[:8] == SPI + expected.to_bytes(4, "big")
        assert packet not in sealed
        assert in_.open(sealed) == packet
        assert out.sequence == in_.authentic == in_.window.top == expected
    assert out.octets == in_.octets > 3 * len(packet)


@given(
    size=st.integers(0, 90),
    tfc_pad_to=st.integers(0, 128),
    suite=st.sampled_from([GCM, CBC_ESN]),
    is_ipv6=st.booleans(),
)
def test_tfc_padding_hides_the_size(
    size: int, tfc_pad_to: int, suite: Suite, is_ipv6: bool
) -> None:
    """RFC 4303 §2.7: short packets look like one of ``tfc_pad_to`` octets."""
    packet = ipv6(bytes(size)) if is_ipv6 else ipv4(bytes(size))
    sealed = outbound(suite, tfc_pad_to).seal(packet)
    shown = max(len(packet), tfc_pad_to)
    assert len(sealed) == len(outbound(suite).seal(packet.ljust(shown, b"\0")))
    assert inbound(suite).open(sealed) == packet


@pytest.mark.parametrize("suite", [GCM, GCM_ESN, CBC, CBC_ESN], ids=Suite.describe)
@pytest.mark.parametrize("tfc_pad_to", [0, 100])
def test_dummies_vanish_and_count(suite: Suite, tfc_pad_to: int) -> None:
    """RFC 4303 §2.6: dropped in silence, and the window moves on."""
    out, in_ = outbound(suite, tfc_pad_to), inbound(suite)
    dummy = out.seal_dummy()
    assert len(dummy) > tfc_pad_to
    assert in_.open(dummy) is None
    assert in_.authentic == in_.window.top == 1
    with pytest.raises(ReplayError):
        in_.open(dummy)


def test_dummy_may_hold_anything() -> None:
    """RFC 4303 §2.6: the payload of a dummy need not be well-formed."""
    packet = sealed_by_hand(GCM, b"not an IP packet\x01\x02\x02\x3b")
    assert inbound(GCM).open(packet) is None


def test_counter_iv_is_the_sequence_number() -> None:
    """Choice: an 8-octet IV that never repeats under the key."""
    out = outbound(GCM_ESN)
    out.sequence = 0x1_0000_0004
    assert out.seal(ipv4())[4:16].hex() == "00000005" + "0000000100000005"


def test_cbc_iv_is_drawn() -> None:
    """RFC 3602 §3: unpredictable, under the label a script can pin."""
    key, integrity_key = keys(CBC.cipher, "k")
    iv = bytes(range(16))
    entropy = ScriptedEntropy("s", {"esp.iv#1": iv})
    out = OutboundSa(SPI, CBC, key, integrity_key, entropy)
    assert out.seal(ipv4())[8:24] != iv
    assert out.seal(ipv4())[8:24] == iv


@pytest.mark.parametrize("packet", [b"", b"\x50" + bytes(30), b"\x00"])
def test_only_ip_packets_are_sealed(packet: bytes) -> None:
    """Tunnel mode carries nothing else, and no number is spent on it."""
    out = outbound(GCM)
    with pytest.raises(MalformedPacketError):
        out.seal(packet)
    assert out.sequence == 0


@pytest.mark.parametrize(
    ("suite", "last"), [(GCM, 2**32 - 1), (GCM_ESN, 2**64 - 1), (CBC, 2**32 - 1)]
)
def test_sequence_numbers_never_cycle(suite: Suite, last: int) -> None:
    """RFC 4303 §3.3.3: the packet after the last number is not sent."""
    out = outbound(suite)
    out.sequence = last - 1
    assert out.seal(ipv4())[4:8] == b"\xff\xff\xff\xff"
    for _ in range(2):
        with pytest.raises(SequenceExhaustedError):
            out.seal(ipv4())
        with pytest.raises(SequenceExhaustedError):
            out.seal_dummy()
    assert out.sequence == last


@pytest.mark.parametrize("suite", [GCM_ESN, CBC_ESN], ids=Suite.describe)
def test_esn_across_the_end_of_a_subspace(suite: Suite) -> None:
    """RFC 4303 App. A: the high half is never sent, and late packets still open."""
    out, in_ = outbound(suite), inbound(suite)
    out.sequence = 2**32 - 4
    packets = [ipv4(bytes([n])) for n in range(8)]
    sealed = [out.seal(packet) for packet in packets]
    assert [int.from_bytes(s[4:8], "big") for s in sealed[1:5]] == [
        2**32 - 2,
        2**32 - 1,
        0,
        1,
    ]
    in_.window.advance(2**32 - 4)
    for n in (0, 4, 2, 7, 1, 3, 6, 5):
        assert in_.open(sealed[n]) == packets[n]
    assert in_.window.top == 2**32 + 4
    for n in range(8):
        with pytest.raises(ReplayError):
            in_.open(sealed[n])


@pytest.mark.parametrize("suite", [GCM_ESN, CBC_ESN], ids=Suite.describe)
def test_esn_high_half_is_authenticated(suite: Suite) -> None:
    """RFC 4303 §2.2.1: the same packet 2^32 numbers later does not verify."""
    out, in_ = outbound(suite), inbound(suite)
    sealed = out.seal(ipv4())
    in_.window.advance(2**32)
    with pytest.raises(IntegrityError):
        in_.open(sealed)
    assert in_.window.top == 2**32


@pytest.mark.parametrize("suite", ALL_SUITES[:8] + ALL_SUITES[-4:], ids=Suite.describe)
def test_no_octet_can_be_changed(suite: Suite) -> None:
    """RFC 4303 §3.4.4: header, IV, ciphertext and ICV are all covered."""
    in_ = inbound(suite)
    sealed = outbound(suite).seal(ipv4(b"octets"))
    for at in range(len(sealed)):
        for bit in (0x01, 0x80):
            changed = bytearray(sealed)
            changed[at] ^= bit
            # another sequence number may be inferred as one before the first
            expected = UnknownSpiError if at < 4 else IntegrityError
            allowed = (expected, ReplayError) if 4 <= at < 8 else expected
            with pytest.raises(allowed):
                in_.open(bytes(changed))
    assert in_.authentic == in_.window.top == in_.octets == 0
    assert in_.open(sealed) == ipv4(b"octets")


@given(cut=st.integers(0, 200), suite=st.sampled_from([GCM, GCM_ESN, CBC, CBC_ESN]))
def test_no_packet_can_be_cut(cut: int, suite: Suite) -> None:
    """RFC 4303 §3.4.4: a shorter packet is malformed or fails its check."""
    sealed = outbound(suite).seal(ipv4(bytes(60)))
    in_ = inbound(suite)
    with pytest.raises((IntegrityError, MalformedPacketError)):
        in_.open(sealed[: min(cut, len(sealed) - 1)])
    assert in_.authentic == 0


@given(
    octets=st.binary(max_size=120),
    suite=st.sampled_from([GCM, GCM_ESN, CBC]),
    is_ours=st.booleans(),
)
def test_any_octets_are_refused(octets: bytes, suite: Suite, is_ours: bool) -> None:
    """Nothing but errors of the DROP kind, whatever comes."""
    in_ = inbound(suite)
    octets = SPI + octets if is_ours else octets
    with pytest.raises(DropError):
        in_.open(octets)
    assert in_.authentic == 0


@pytest.mark.parametrize("suite", [GCM, CBC], ids=Suite.describe)
def test_replay_is_refused_before_decryption(suite: Suite) -> None:
    """RFC 4303 §3.4.3: the first check; a forged replay is a replay."""
    out, in_ = outbound(suite), inbound(suite)
    sealed = out.seal(ipv4())
    in_.open(sealed)
    with pytest.raises(ReplayError):
        in_.open(sealed)
    with pytest.raises(ReplayError):
        in_.open(sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_left_of_the_window_is_refused() -> None:
    """RFC 4303 §3.4.3."""
    out, in_ = outbound(GCM), inbound(GCM, replay_window=32)
    sealed = [out.seal(ipv4()) for _ in range(33)]
    in_.open(sealed[32])
    with pytest.raises(ReplayError):
        in_.open(sealed[0])
    assert in_.open(sealed[1]) == ipv4()


def test_forgery_does_not_move_the_window() -> None:
    """RFC 4303 §3.4.3: updated only if the integrity check succeeds."""
    out, in_ = outbound(GCM), inbound(GCM)
    sealed = out.seal(ipv4())
    forged = sealed[:4] + (10_000).to_bytes(4, "big") + sealed[8:]
    with pytest.raises(IntegrityError):
        in_.open(forged)
    assert in_.open(sealed) == ipv4()


def test_selectors_are_checked_last() -> None:
    """RFC 4301 §5.2: authentic, but not this Child SA's to carry."""
    in_ = inbound(GCM, is_admitted=False)
    with pytest.raises(SelectorMismatchError):
        in_.open(outbound(GCM).seal(ipv4()))
    assert in_.authentic == in_.window.top == 1


@pytest.mark.parametrize(
    "plaintext",
    [
        b"\0\0\0\x05\x04" + bytes(3),
        bytes(16) + b"\x01\x01\x02\x04",
        ipv4() + b"\x01\x02\x02\x29",
        ipv6()[:-2] + b"\x00\x29",
        ipv4()[:-4] + b"\x01\x02\x02\x04",
    ],
)
def test_authentic_nonsense_is_malformed(plaintext: bytes) -> None:
    """RFC 4303 §3.4.4: it uses up its number all the same."""
    in_ = inbound(GCM)
    sealed = sealed_by_hand(GCM, plaintext)
    with pytest.raises(MalformedPacketError):
        in_.open(sealed)
    assert in_.authentic == in_.window.top == 1


def test_unaligned_payload_is_forgiven() -> None:
    """Choice: alignment to 4 octets is the sender's duty, not ours to insist on."""
    assert inbound(GCM).open(sealed_by_hand(GCM, ipv4(b"x") + b"\0\x04")) == ipv4(b"x")


def test_cipher_blocks_must_be_whole() -> None:
    """RFC 4303 §2.4: a CBC ciphertext that is not whole blocks is not even tried."""
    sealed = outbound(CBC).seal(ipv4(ports(1, 2)))
    with pytest.raises(MalformedPacketError):
        inbound(CBC).open(sealed + b"\0")


def test_packet_for_another_sa_is_not_tried() -> None:
    """RFC 4303 §3.4.2: the SPI says whose packet it is."""
    sealed, in_ = outbound(GCM).seal(ipv4()), inbound(GCM)
    with pytest.raises(UnknownSpiError):
        in_.open(b"SPI2" + sealed[4:])
    assert in_.open(sealed) == ipv4()


@pytest.mark.parametrize("suite", [GCM, CBC], ids=Suite.describe)
def test_forgotten_keys_do_nothing(suite: Suite) -> None:
    out, in_ = outbound(suite), inbound(suite)
    sealed = out.seal(ipv4())
    out.forget_key()
    in_.forget_key()
    with pytest.raises(UnknownSpiError):
        out.seal(ipv4())
    with pytest.raises(UnknownSpiError):
        in_.open(sealed)
    assert in_.window.top == 0
