"""Reauthentication between processes, through the machine's own tunnel devices.

The stage is that of :mod:`test_tunnel_namespaces`.

Source: RFC 7296 §2.8.3
"""

import subprocess

from peer_support import PATIENCE_SECONDS
from test_tunnel_adversity import followed
from test_tunnel_namespaces import INNER_EAST, OUTER, Stage, on_stage

EVERY_SECOND = 'reauth_time = "1s"\nlifetime_jitter = 0\nlifetime_grace = 9'
PINGS = 250


@on_stage
def test_no_ping_is_lost(built: Stage) -> None:
    """One every 10 ms, while the peers authenticate each other anew again and again."""
    initiator, responder = followed(built, OUTER[4], ike=EVERY_SECOND)
    done = subprocess.run(
        ["ping", "-n", "-q", "-c", str(PINGS), "-i", "0.01", INNER_EAST[4]],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    initiator.told.wait_for("ike-sa-closed")
    assert f"{PINGS} received" in done.stdout, done.stdout
    states = [event["state"] for event in initiator.told.of("reauthentication")]
    assert states.count("done") >= 2
    assert "failed" not in states
    assert len(responder.told.of("ike-sa-established")) >= 3
    initiator.end()
    responder.end()
