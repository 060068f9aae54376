"""Writes every vector file anew: ``python -m iketcp.vectorlib DIRECTORY``."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from iketcp.vectorlib import (
    checksum_fixup,
    cookie,
    datagram_framing,
    eap,
    esp_packet,
    esp_replay,
    esp_spi,
    framing,
    ike_auth,
    ike_encrypted,
    ike_fragments,
    ike_keys,
    inner_mtu,
    key_encapsulation,
    key_exchange,
    mapping_scenarios,
    message_ids,
    messages,
    nat_detection,
    prf,
    proposal_choice,
    puzzle,
    transcripts,
    ts_narrowing,
)
from iketcp.vectorlib.envelope import VectorFile, dump

GENERATORS: Mapping[str, Callable[[], VectorFile]] = {
    framing.NAME: framing.build,
    messages.NAME: messages.build,
    checksum_fixup.NAME: checksum_fixup.build,
    cookie.NAME: cookie.build,
    datagram_framing.NAME: datagram_framing.build,
    eap.NAME: eap.build,
    esp_packet.NAME: esp_packet.build,
    esp_replay.NAME: esp_replay.build,
    esp_spi.NAME: esp_spi.build,
    ike_auth.NAME: ike_auth.build,
    ike_encrypted.NAME: ike_encrypted.build,
    ike_fragments.NAME: ike_fragments.build,
    ike_keys.NAME: ike_keys.build,
    inner_mtu.NAME: inner_mtu.build,
    key_exchange.NAME: key_exchange.build,
    key_encapsulation.NAME: key_encapsulation.build,
    mapping_scenarios.NAME: mapping_scenarios.build,
    message_ids.NAME: message_ids.build,
    nat_detection.NAME: nat_detection.build,
    prf.NAME: prf.build,
    proposal_choice.NAME: proposal_choice.build,
    puzzle.NAME: puzzle.build,
    ts_narrowing.NAME: ts_narrowing.build,
    transcripts.NAME: transcripts.build,
}
"""What builds each file, by the file's name without ``_test.json``."""


def write_all(directory: Path) -> None:
    """Write every vector file into a directory."""
    for name, build in GENERATORS.items():
        document = build()
        path = directory / f"{name}_test.json"
        path.write_text(dump(document), encoding="utf-8")
        print(f"{path}: {document['numberOfTests']} tests")


def main(arguments: list[str]) -> int:
    """Write the files; exit code 2 without a directory to write to."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m iketcp.vectorlib DIRECTORY", file=sys.stderr)
        return 2
    write_all(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
