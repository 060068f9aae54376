"""Which checker runs a group of tests, by the group's type.

A checker is given a whole document and looks at the groups of its own types.

Source: RFC 9329 §6 is what the files are about
"""

from collections.abc import Callable, Iterable, Mapping

from iketcp.vectorlib import (
    check,
    check_checksum_fixup,
    check_cookie,
    check_datagram_framing,
    check_eap,
    check_esp_packet,
    check_esp_replay,
    check_esp_spi,
    check_ike_auth,
    check_ike_encrypted,
    check_ike_fragments,
    check_ike_keys,
    check_inner_mtu,
    check_key_encapsulation,
    check_key_exchange,
    check_mapping,
    check_message_ids,
    check_messages,
    check_nat_detection,
    check_prf,
    check_proposal_choice,
    check_puzzle,
    check_transcripts,
    check_ts_narrowing,
)
from iketcp.vectorlib.envelope import Json

CHECKERS: Mapping[str, Callable[[Json], Iterable[str]]] = {
    "StreamFraming": check.problems,
    "MessageFraming": check.problems,
    "MessageCodec": check_messages.problems,
    "Prf": check_prf.problems,
    "PrfPlus": check_prf.problems,
    "Integrity": check_prf.problems,
    "KeyExchange": check_key_exchange.problems,
    "Decapsulation": check_key_encapsulation.problems,
    "Encapsulation": check_key_encapsulation.problems,
    "IkeKeys": check_ike_keys.problems,
    "RekeyedIkeKeys": check_ike_keys.problems,
    "ChildKeys": check_ike_keys.problems,
    "PpkKeys": check_ike_keys.problems,
    "UpdatedIkeKeys": check_ike_keys.problems,
    "FollowedUpIkeKeys": check_ike_keys.problems,
    "FollowedUpChildKeys": check_ike_keys.problems,
    "SharedKeyAuth": check_ike_auth.problems,
    "EcdsaSignature": check_ike_auth.problems,
    "DigitalSignature": check_ike_auth.problems,
    "OlderSignature": check_ike_auth.problems,
    "IntAuth": check_ike_auth.problems,
    "Encrypted": check_ike_encrypted.problems,
    "Fragments": check_ike_fragments.problems,
    "NatDigest": check_nat_detection.problems,
    "NatComparison": check_nat_detection.problems,
    "ChecksumFixup": check_checksum_fixup.problems,
    "Cookie": check_cookie.problems,
    "CookieRepeat": check_cookie.problems,
    "PuzzleSolution": check_puzzle.problems,
    "PuzzleSearch": check_puzzle.problems,
    "ProposalSelection": check_proposal_choice.problems,
    "ProposalAnswer": check_proposal_choice.problems,
    "TsSelection": check_ts_narrowing.problems,
    "EapPacket": check_eap.problems,
    "MschapV2": check_eap.problems,
    "MschapV2Message": check_eap.problems,
    "EapTlsFragments": check_eap.problems,
    "EapConversation": check_eap.problems,
    "EspPacket": check_esp_packet.problems,
    "CbcEncryption": check_esp_packet.problems,
    "EspSpiChoice": check_esp_spi.problems,
    "Replay": check_esp_replay.problems,
    "InnerMtu": check_inner_mtu.problems,
    "PacketTooBig": check_inner_mtu.problems,
    "MessageIds": check_message_ids.problems,
    "ConnectionMapping": check_mapping.problems,
    "DatagramSorting": check_datagram_framing.problems,
    "DatagramWriting": check_datagram_framing.problems,
    "Transcript": check_transcripts.problems,
    "DatagramTranscript": check_transcripts.problems,
}
"""What runs the tests of a group, by its type."""


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently in a file; empty if nothing.

    A group of a type that nothing here can check is a problem too.
    """
    kinds = dict.fromkeys(group["type"] for group in document["testGroups"])
    found = [f"no checker for groups of type {k}" for k in kinds if k not in CHECKERS]
    checkers = dict.fromkeys(CHECKERS[kind] for kind in kinds if kind in CHECKERS)
    for run in checkers:
        found += run(document)
    return found
