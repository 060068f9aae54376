"""Hypothesis strategies for everything that an IKE message can hold.

Only canonical values: what is decoded comes out of the encoder again, octet for octet.
"""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from iketcp.ike.configuration import ConfigurationAttribute
from iketcp.ike.header import Header
from iketcp.ike.payloads import (
    AuthPayload,
    CertPayload,
    CertReqPayload,
    ConfigurationPayload,
    DeletePayload,
    EapPayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    PsPayload,
    SaPayload,
    SkfPayload,
    SkPayload,
    TsPayload,
    UnknownPayload,
    VendorPayload,
)
from iketcp.ike.proposals import Proposal, Transform, TransformAttribute
from iketcp.selectors import TrafficSelector, UnknownSelector

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
octets = st.binary(max_size=40)
spi8 = st.binary(min_size=8, max_size=8)
spi4 = st.binary(min_size=4, max_size=4)

# --- Traffic Selectors ----------------------------------------------------------------

port_ranges = st.one_of(
    st.just((0, 65535)),
    st.just((65535, 0)),
    st.tuples(u16, u16).map(lambda pair: (min(pair), max(pair))),
)


def _selectors(
    address: type[IPv4Address] | type[IPv6Address], bits: int
) -> st.SearchStrategy[TrafficSelector]:
    numbers = st.integers(0, 2**bits - 1)
    spans = st.one_of(
        st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair))),
        st.tuples(numbers, st.integers(0, bits)).map(
            lambda pair: (
                pair[0] >> pair[1] << pair[1],
                (pair[0] >> pair[1] << pair[1]) + 2 ** pair[1] - 1,
            )
        ),
    )
    protocols = st.one_of(st.sampled_from([0, 0, 1, 6, 17, 58]), u8)
    return st.builds(
        lambda protocol, ports, span: TrafficSelector(
            protocol, *ports, address(span[0]), address(span[1])
        ),
        protocols,
        port_ranges,
        spans,
    )


ipv4_selectors = _selectors(IPv4Address, 32)
ipv6_selectors = _selectors(IPv6Address, 128)
selectors = st.one_of(ipv4_selectors, ipv6_selectors)
unknown_selectors = st.builds(
    UnknownSelector, u8.filter(lambda kind: kind not in (7, 8)), u8, octets
)

# --- proposals ------------------------------------------------------------------------

u15 = st.integers(0, 0x7FFF)
unknown_attributes = st.one_of(
    st.builds(
        TransformAttribute,
        u15.filter(lambda kind: kind != 14),
        st.binary(min_size=2, max_size=2),
        st.just(True),
    ),
    st.builds(TransformAttribute, u15, octets, st.just(False)),
)


def _has_each_attribute_once(transform: Transform) -> bool:
    types = [attribute.type for attribute in transform.unknown_attributes]
    if transform.key_bits is not None:
        types.append(14)
    return len(types) == len(set(types))


transforms = st.builds(
    Transform,
    st.one_of(st.integers(1, 5), u8),
    st.one_of(st.integers(0, 32), u16),
    st.one_of(st.none(), u16),
    st.one_of(st.just(()), st.lists(unknown_attributes, max_size=3).map(tuple)),
).filter(_has_each_attribute_once)

_protocols_and_spis = st.one_of(
    st.tuples(st.just(1), st.one_of(st.just(b""), spi8)),
    st.tuples(st.sampled_from([2, 3]), spi4),
    st.tuples(st.integers(4, 255), octets),
)
_one_proposal = st.builds(
    lambda number, kind, some: Proposal(number, kind[0], kind[1], tuple(some)),
    st.integers(1, 255),
    _protocols_and_spis,
    st.lists(transforms, min_size=1, max_size=6),
)
proposal_lists = st.one_of(
    _one_proposal.map(lambda proposal: (proposal,)),
    st.lists(_one_proposal, min_size=2, max_size=4).map(
        lambda some: tuple(
            proposal.with_number_and_spi(number, proposal.spi)
            for number, proposal in enumerate(some, 1)
        )
    ),
)

# --- payloads -------------------------------------------------------------------------

_known_sizes = {
    **dict.fromkeys((1, 2, 3, 4, 6), 4),
    **dict.fromkeys((10, 12), 16),
    13: 8,
}
configuration_attributes = st.one_of(
    st.sampled_from(sorted(_known_sizes)).flatmap(
        lambda kind: st.builds(
            ConfigurationAttribute,
            st.just(kind),
            st.one_of(
                st.just(b""),
                st.binary(min_size=_known_sizes[kind], max_size=_known_sizes[kind]),
            ),
        )
    ),
    st.builds(
        lambda kind, address, bits: ConfigurationAttribute(
            kind, address + bytes([bits])
        ),
        st.sampled_from([8, 15]),
        st.binary(min_size=16, max_size=16),
        st.integers(0, 128),
    ),
    st.builds(
        lambda types: ConfigurationAttribute(
            14, b"".join(kind.to_bytes(2, "big") for kind in types)
        ),
        st.lists(u15, max_size=5),
    ),
    st.builds(
        ConfigurationAttribute, st.sampled_from([7, 5, 16, 25, 23456, 0x7FFF]), octets
    ),
)

unknown_types = st.integers(1, 255).filter(
    lambda kind: not 33 <= kind <= 48 and kind not in (53, 54)
)
simple_payloads: dict[str, st.SearchStrategy[Payload]] = {
    "SA": st.builds(SaPayload, proposal_lists),
    "KE": st.builds(KePayload, u16, octets),
    "ID": st.builds(
        IdPayload, st.booleans(), u8, octets, st.binary(min_size=3, max_size=3)
    ),
    "CERT": st.builds(CertPayload, u8, octets),
    "CERTREQ": st.builds(CertReqPayload, u8, octets),
    "AUTH": st.builds(AuthPayload, u8, octets),
    "Nonce": st.builds(NoncePayload, st.binary(min_size=16, max_size=256)),
    "N": st.one_of(
        st.builds(NotifyPayload, u16, octets),
        st.builds(NotifyPayload, u16, octets, st.sampled_from([2, 3]), spi4),
        st.builds(
            NotifyPayload,
            u16,
            octets,
            st.sampled_from([0, 4, 255]),
            st.binary(min_size=1, max_size=20),
        ),
    ),
    "D": st.one_of(
        st.just(DeletePayload(1)),
        st.builds(
            DeletePayload,
            st.sampled_from([2, 3]),
            st.lists(spi4, max_size=5).map(tuple),
        ),
    ),
    "V": st.builds(VendorPayload, octets),
    "TS": st.builds(
        TsPayload,
        st.booleans(),
        st.lists(selectors, min_size=1, max_size=5).map(tuple),
        st.lists(unknown_selectors, max_size=2).map(tuple),
    ),
    "CP": st.builds(
        ConfigurationPayload,
        u8,
        st.lists(configuration_attributes, max_size=5).map(tuple),
    ),
    "EAP": st.builds(EapPayload, octets),
    "PS": st.builds(PsPayload, st.integers(1, 16).map(lambda size: bytes(4 * size))),
    "unknown": st.builds(UnknownPayload, unknown_types, octets),
}
inner_payloads = st.one_of(*simple_payloads.values())
inner_chains = st.lists(inner_payloads, max_size=6).map(tuple)
encrypted_payloads = st.one_of(
    st.builds(SkPayload, u8, octets),
    st.builds(SkfPayload, u8, u16, u16, octets),
)
outer_chains = st.one_of(
    inner_chains,
    st.builds(lambda chain, last: (*chain, last), inner_chains, encrypted_payloads),
)
headers = st.builds(
    Header,
    spi_i=spi8.filter(any),
    spi_r=spi8,
    exchange_type=u8,
    message_id=u32,
    is_response=st.booleans(),
    is_original_initiator=st.booleans(),
    minor_version=st.integers(0, 15),
)
