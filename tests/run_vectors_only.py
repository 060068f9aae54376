"""Run the vectors that pin stream, mapping and retransmission, and nothing else.

Not a test: what ``docs/mutation.md`` asks whether a mutant is noticed. Exits with 1 at
the first file that fails, quick ones first, and with 0 if all pass. Schemas are left
out, for no mutant changes the files.

    python tests/run_vectors_only.py
"""

import json
import sys
from pathlib import Path

from iketcp.vectorlib import checkers

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
NAMES = (
    "message_ids",
    "connection_mapping",
    "exchange_transcripts",
    "stream_framing",
)


def main() -> int:
    """Return whether a vector fails."""
    for name in NAMES:
        text = (VECTORS / f"{name}_test.json").read_text("utf-8")
        found = checkers.problems(json.loads(text))
        if found:
            print(f"{name}: {found[0][:300]}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
