"""The file ``connection_mapping_test.json``: which connection carries which IKE SA.

Source: RFC 9329 §6.1, RFC 9329 §6.2, RFC 9329 §6.3, RFC 9329 §6.4
"""

from collections.abc import Callable, Iterator, Sequence

from iketcp.vectorlib import mapping_scenarios_beginners as beginners
from iketcp.vectorlib import mapping_scenarios_cuts as cuts
from iketcp.vectorlib import mapping_scenarios_endings as endings
from iketcp.vectorlib import mapping_scenarios_first as first
from iketcp.vectorlib import mapping_scenarios_fragments as fragments
from iketcp.vectorlib import mapping_scenarios_lost as lost
from iketcp.vectorlib import mapping_scenarios_moves as moves
from iketcp.vectorlib import mapping_scenarios_odd as odd
from iketcp.vectorlib import mapping_scenarios_originator as originator
from iketcp.vectorlib import mapping_scenarios_packets as packets
from iketcp.vectorlib import mapping_scenarios_patience as patience
from iketcp.vectorlib import mapping_scenarios_puzzles as puzzles
from iketcp.vectorlib import mapping_scenarios_resync as resync
from iketcp.vectorlib import mapping_scenarios_streams as streams
from iketcp.vectorlib.assembly import group, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile
from iketcp.vectorlib.mapping_exchanges import ESP_TRANSFORMS, IKE_TRANSFORMS
from iketcp.vectorlib.mapping_notes import HEADER, NOTES
from iketcp.vectorlib.mapping_parts import GCM
from iketcp.vectorlib.mapping_script import Script

NAME = "connection_mapping"

Scenes = Sequence[Callable[[], Iterator[Script]]]

RESPONDER: Scenes = (
    moves.moves,
    moves.moves_too,
    moves.addresses,
    moves.stays,
    moves.noise,
    moves.forged,
    moves.retransmissions,
    moves.both,
    moves.overtaken,
    moves.losses,
    streams.prefixes,
    streams.slow_prefixes,
    streams.lengths,
    cuts.pieces,
    cuts.cuts,
    streams.corruption,
    streams.too_much,
    streams.half_open,
    streams.caps,
    endings.shares,
    endings.rekeys,
    endings.between_rekey_and_delete,
    endings.child_rekeys,
    endings.deletes,
    endings.reuse,
    endings.late_deletes,
    endings.syntax,
    endings.idle,
    first.requests,
    first.no_repeats,
    first.waits,
    first.liveness,
    first.first,
    first.beginners,
    beginners.no_beginnings,
    beginners.intruders,
    beginners.strangers,
    beginners.queued,
    resync.found,
    resync.begun,
    resync.not_taken,
    resync.limits,
    resync.no_search,
    streams.wrong_lengths,
    endings.no_syntax_error,
    beginners.uninvited,
    packets.ports,
    packets.nowhere,
    packets.marks,
    puzzles.served,
    puzzles.unsolved,
    endings.reserved_spis,
    odd.first_requests,
    odd.too_early,
    odd.unhappy_answers,
    odd.signs_of_life,
    odd.overtaking,
    odd.ends_with_all,
    odd.searched,
    fragments.whole,
    fragments.again,
    fragments.dropped,
    fragments.not_whole,
    patience.noise,
    patience.losses,
    patience.answers,
    patience.one_way,
    odd.known,
)
ORIGINATOR: Scenes = (
    originator.resume,
    originator.one_connection,
    originator.reconnects,
    originator.short_lives,
    originator.still_originator,
    originator.endings,
    originator.beginnings,
    originator.all_on_one,
    originator.found_again,
    originator.early_messages,
    originator.two_to_repeat,
    lost.rekey_answers,
)


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 9329 §6.1
    """
    groups = [
        group(
            "ConnectionMapping",
            "iketcp/mapping_scenarios",
            [script.case() for scene in scenes for script in scene()],
            isTcpOriginator=is_originator,
            ikeTransforms=_transforms(IKE_TRANSFORMS),
            espTransforms=_transforms(ESP_TRANSFORMS),
            cipher=GCM.json(),
        )
        for is_originator, scenes in ((False, RESPONDER), (True, ORIGINATOR))
    ]
    return vector_file(NAME, "IKE-TCP-CONNECTION-MAPPING", HEADER, NOTES, groups)


def _transforms(transforms: Sequence[tuple[int, int, int | None]]) -> list[Json]:
    return [{"type": kind, "id": id, "keyBits": bits} for kind, id, bits in transforms]
