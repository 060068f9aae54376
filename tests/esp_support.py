"""Inner packets and Child SAs for the tests of ESP, built by hand."""

from collections.abc import Sequence
from ipaddress import ip_address

from iketcp.child_sa import ChildSaParameters
from iketcp.crypto.ciphers import SUPPORTED_IN_ESP, CipherSpec
from iketcp.crypto.suite import Suite
from iketcp.environment import ScriptedEntropy
from iketcp.esp.child_sa import ChildSa
from iketcp.selectors import TrafficSelector

GCM = Suite(20, 256)
GCM_ESN = Suite(20, 256, esn=True)
CBC = Suite(12, 128, integ=12)
CBC_ESN = Suite(12, 128, integ=12, esn=True)

ALL_SUITES = [
    Suite(spec.encr, spec.key_bits, integ=spec.integ, esn=esn)
    for spec in SUPPORTED_IN_ESP
    for esn in (False, True)
]

SPI_IN = bytes.fromhex("c0ffee01")
SPI_OUT = bytes.fromhex("c0ffee02")


def packed(address: str) -> bytes:
    """Address as it stands in a packet."""
    return ip_address(address).packed


def ipv4(
    payload: bytes = b"",
    source: str = "10.1.0.1",
    destination: str = "10.2.0.1",
    protocol: int = 17,
    fragment: int = 0,
    options: bytes = b"",
) -> bytes:
    """IPv4 packet; ``fragment`` is the 16-bit word of flags and offset."""
    size = 20 + len(options) + len(payload)
    head = bytes([0x45 + len(options) // 4, 0]) + size.to_bytes(2, "big")
    head += b"\x12\x34" + fragment.to_bytes(2, "big") + bytes([64, protocol, 0, 0])
    return head + packed(source) + packed(destination) + options + payload


def ipv6(
    payload: bytes = b"",
    source: str = "2001:db8:1::1",
    destination: str = "2001:db8:2::1",
    protocol: int = 17,
) -> bytes:
    """IPv6 packet; ``protocol`` is the Next Header of the fixed header."""
    head = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([protocol, 64])
    return head + packed(source) + packed(destination) + payload


def ports(source: int, destination: int, rest: bytes = bytes(4)) -> bytes:
    """Start of a UDP or TCP header."""
    return source.to_bytes(2, "big") + destination.to_bytes(2, "big") + rest


def selectors(*texts: str) -> tuple[TrafficSelector, ...]:
    """Traffic Selectors from their text form."""
    return tuple(TrafficSelector.parse(text) for text in texts)


def keys(spec: CipherSpec, seed: str) -> tuple[bytes, bytes]:
    """Encryption and integrity key for a cipher."""
    entropy = ScriptedEntropy(seed)
    return (
        entropy.draw("encryption", spec.key_size),
        entropy.draw("integrity", spec.integrity_key_size),
    )


def parameters(
    suite: Suite = GCM,
    local: Sequence[str] = ("10.1.0.0/16", "2001:db8:1::/48"),
    remote: Sequence[str] = ("10.2.0.0/16", "2001:db8:2::/48"),
    replay_window: int = 64,
    tfc_pad_to: int = 0,
) -> ChildSaParameters:
    """Child SA parameters of one side; see :func:`mirrored` for the other."""
    key_in, integrity_in = keys(suite.cipher, "in")
    key_out, integrity_out = keys(suite.cipher, "out")
    return ChildSaParameters(
        name="net",
        spi_in=SPI_IN,
        spi_out=SPI_OUT,
        suite=suite,
        encryption_key_in=key_in,
        integrity_key_in=integrity_in,
        encryption_key_out=key_out,
        integrity_key_out=integrity_out,
        local_ts=selectors(*local),
        remote_ts=selectors(*remote),
        replay_window=replay_window,
        tfc_pad_to=tfc_pad_to,
    )


def mirrored(side: ChildSaParameters) -> ChildSaParameters:
    """The same Child SA as the other side sees it."""
    return ChildSaParameters(
        name=side.name,
        spi_in=side.spi_out,
        spi_out=side.spi_in,
        suite=side.suite,
        encryption_key_in=side.encryption_key_out,
        integrity_key_in=side.integrity_key_out,
        encryption_key_out=side.encryption_key_in,
        integrity_key_out=side.integrity_key_in,
        local_ts=side.remote_ts,
        remote_ts=side.local_ts,
        replay_window=side.replay_window,
        tfc_pad_to=side.tfc_pad_to,
    )


def pair(side: ChildSaParameters) -> tuple[ChildSa, ChildSa]:
    """Both ends of a Child SA."""
    return (
        ChildSa(side, ScriptedEntropy("here")),
        ChildSa(mirrored(side), ScriptedEntropy("there")),
    )
