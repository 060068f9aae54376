"""SA payload contents: proposals, transforms, attributes.

Source: RFC 7296 §3.3, RFC 7296 §3.3.6
"""

import pytest
from hypothesis import given

from ike_strategies import proposal_lists
from iketcp.errors import MalformedMessageError
from iketcp.ike.proposals import (
    Proposal,
    Transform,
    TransformAttribute,
    decode_proposals,
    encode_proposals,
)
from iketcp.octets import Reader

# The example of RFC 7296 §3.3, second proposal with ENCR_AES_GCM_16 instead.
EXAMPLE = bytes.fromhex(
    # Proposal 1, more follow: 80 octets, ESP, SPI 4 octets, 7 transforms
    "02 00 0050 01 03 04 07 052357bb"
    "03 00 000c 01 00 000c 800e 0080"  # ENCR_AES_CBC, Key Length 128
    "03 00 000c 01 00 000c 800e 00c0"
    "03 00 000c 01 00 000c 800e 0100"
    "03 00 0008 03 00 0002"  # AUTH_HMAC_SHA1_96
    "03 00 0008 03 00 0005"  # AUTH_AES_XCBC_96
    "03 00 0008 05 00 0001"  # ESN
    "00 00 0008 05 00 0000"  # No ESN, the last
    # Proposal 2, the last: 52 octets, ESP, SPI 4 octets, 4 transforms
    "00 00 0034 02 03 04 04 35a1d6f2"
    "03 00 000c 01 00 0014 800e 0080"
    "03 00 000c 01 00 0014 800e 0100"
    "03 00 0008 05 00 0001"
    "00 00 0008 05 00 0000"
)
PROPOSALS = (
    Proposal(
        number=1,
        protocol=3,
        spi=bytes.fromhex("052357bb"),
        transforms=(
            Transform(1, 12, 128),
            Transform(1, 12, 192),
            Transform(1, 12, 256),
            Transform(3, 2),
            Transform(3, 5),
            Transform(5, 1),
            Transform(5, 0),
        ),
    ),
    Proposal(
        number=2,
        protocol=3,
        spi=bytes.fromhex("35a1d6f2"),
        transforms=(
            Transform(1, 20, 128),
            Transform(1, 20, 256),
            Transform(5, 1),
            Transform(5, 0),
        ),
    ),
)
# One proposal for a first IKE SA, as short as they come.
LEAST = "00 00 0010 01 01 00 01  00 00 0008 02 00 0005"


def decode(octets: bytes) -> tuple[Proposal, ...]:
    reader = Reader(octets)
    proposals = decode_proposals(reader)
    assert reader.remaining == 0
    return proposals


def test_the_example_of_the_section() -> None:
    """RFC 7296 §3.3: two proposals for ESP."""
    assert decode(EXAMPLE) == PROPOSALS
    assert encode_proposals(PROPOSALS) == EXAMPLE


@given(proposal_lists)
def test_round_trip(proposals: tuple[Proposal, ...]) -> None:
    octets = encode_proposals(proposals)
    assert decode(octets) == proposals
    assert encode_proposals(decode(octets)) == octets


def test_reserved_octets_are_ignored_and_not_sent() -> None:
    """RFC 7296 §3.3.1, RFC 7296 §3.3.2."""
    octets = bytes.fromhex("00 ff 0010 01 01 00 01  00 ff 0008 02 ff 0005")
    assert encode_proposals(decode(octets)) == bytes.fromhex(LEAST)


def test_every_truncation_is_malformed() -> None:
    for size in range(len(EXAMPLE)):
        with pytest.raises(MalformedMessageError):
            decode(EXAMPLE[:size])


@pytest.mark.parametrize(
    "text",
    [
        # Last Substruc of a proposal
        "02" + LEAST[2:],
        "01" + LEAST[2:],
        LEAST + LEAST,
        # Proposal Length
        "00 00 0007 01 01 00 01",
        "00 00 000f 01 01 00 01  00 00 0008 02 00 0005",
        "00 00 0011 01 01 00 01  00 00 0008 02 00 0005",
        "00 00 0011 01 01 00 01  00 00 0008 02 00 0005 00",
        # Num Transforms
        "00 00 0008 01 01 00 00",
        "00 00 0010 01 01 00 00  00 00 0008 02 00 0005",
        "00 00 0010 01 01 00 02  00 00 0008 02 00 0005",
        # SPI Size: 0 or 8 for IKE, 4 for ESP and AH
        "00 00 0014 01 01 04 01  01020304  00 00 0008 02 00 0005",
        "00 00 0010 01 03 00 01  00 00 0008 05 00 0000",
        "00 00 0018 01 03 08 01  0102030405060708  00 00 0008 05 00 0000",
        "00 00 0010 01 02 00 01  00 00 0008 05 00 0000",
        "00 00 000a 01 09 ff 01  0000",
        # Last Substruc of a transform
        "00 00 0010 01 01 00 01  03 00 0008 02 00 0005",
        "00 00 0010 01 01 00 01  02 00 0008 02 00 0005",
        "00 00 0018 01 01 00 02  00 00 0008 02 00 0005  00 00 0008 02 00 0006",
        # Transform Length
        "00 00 0010 01 01 00 01  00 00 0007 02 00 0005",
        "00 00 0010 01 01 00 01  00 00 0009 02 00 0005",
        # attributes: cut off, or one twice
        "00 00 0012 01 01 00 01  00 00 000a 01 00 000c 800e",
        "00 00 0014 01 01 00 01  00 00 000c 01 00 000c 0011 0001",
        "00 00 0018 01 01 00 01  00 00 0010 01 00 000c 800e 0080 800e 0100",
        "00 00 0018 01 01 00 01  00 00 0010 01 00 000c 8011 0080 0011 0000",
        # Proposal Num: a lone one is at least 1, several count from 1
        "00 00 0010 00 01 00 01  00 00 0008 02 00 0005",
        "02 00 0010 01 01 00 01  00 00 0008 02 00 0005"
        "00 00 0010 03 01 00 01  00 00 0008 02 00 0005",
        "02 00 0010 02 01 00 01  00 00 0008 02 00 0005"
        "00 00 0010 03 01 00 01  00 00 0008 02 00 0005",
        "",
    ],
)
def test_lengths_counts_and_marks_must_agree(text: str) -> None:
    """RFC 7296 §3.3: all internal lengths and counts are checked."""
    assert len(decode(bytes.fromhex(LEAST))) == 1
    with pytest.raises(MalformedMessageError):
        decode(bytes.fromhex(text))


def test_an_answer_repeats_the_number_it_accepts() -> None:
    """RFC 7296 §3.3.1: so a lone proposal may bear any number."""
    octets = bytes.fromhex("00 00 0010 07 01 00 01  00 00 0008 02 00 0005")
    assert decode(octets)[0].number == 7


@pytest.mark.parametrize(
    ("attributes", "transform"),
    [
        ("800e 0100", Transform(1, 20, 256)),
        ("", Transform(1, 20)),
        (
            "800f 0102",
            Transform(1, 20, None, (TransformAttribute(15, b"\1\2", is_fixed=True),)),
        ),
        (
            "800e 0080 0012 0003 aabbcc",
            Transform(
                1,
                20,
                128,
                (TransformAttribute(18, b"\xaa\xbb\xcc", is_fixed=False),),
            ),
        ),
        # Key Length is of fixed format; in the other it is none we understand
        (
            "000e 0002 0080",
            Transform(1, 20, None, (TransformAttribute(14, b"\0\x80", False),)),
        ),
    ],
)
def test_unknown_attributes_are_kept_so_that_nobody_chooses_the_transform(
    attributes: str, transform: Transform
) -> None:
    """RFC 7296 §3.3.5, RFC 7296 §3.3.6."""
    tail = bytes.fromhex(attributes)
    octets = (
        bytes([0, 0, 0, 16 + len(tail), 1, 1, 0, 1])
        + bytes([0, 0, 0, 8 + len(tail), 1, 0, 0, 20])
        + tail
    )
    (proposal,) = decode(octets)
    assert proposal.transforms == (transform,)
    assert transform.has_unknown_attribute is bool(transform.unknown_attributes)
    assert encode_proposals((proposal,)) == octets


@pytest.mark.parametrize(
    ("proposal", "text"),
    [
        (
            Proposal(1, 1, b"", (Transform(1, 20, 256), Transform(2, 5))),
            "AES_GCM_16-256/PRF_HMAC_SHA2_256",
        ),
        (
            PROPOSALS[0],
            "ESP 052357bb AES_CBC-128,AES_CBC-192,AES_CBC-256/"
            "HMAC_SHA1_96,IntegrityAlgorithm(5)/ESN,NO_ESN",
        ),
        (
            Proposal(1, 1, bytes(8), (Transform(4, 31), Transform(6, 35))),
            "IKE 0000000000000000 CURVE25519/ML_KEM_512",
        ),
        (Proposal(1, 9, b"", (Transform(1, 28),)), "ProtocolId(9) CHACHA20_POLY1305"),
    ],
)
def test_proposals_are_printed_by_type(proposal: Proposal, text: str) -> None:
    assert str(proposal) == text


def test_copies_change_what_they_say() -> None:
    proposal = PROPOSALS[0]
    fewer = proposal.with_transforms(proposal.transforms[:1])
    assert fewer == Proposal(1, 3, proposal.spi, (Transform(1, 12, 128),))
    other = proposal.with_number_and_spi(3, b"\1\2\3\4")
    assert other == Proposal(3, 3, b"\1\2\3\4", proposal.transforms)
