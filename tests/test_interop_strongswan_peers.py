"""Ours and strongSwan: who comes back after a crash, and whom the other then forgets.

As in the other suites each scene is played with either side initiating, and strongSwan
is asked what it believes.
"""

import pytest

from interop_stage import WAYS, Stage, on_stage

both_ways = pytest.mark.parametrize("way", WAYS, ids=str)


@both_ways
@on_stage("Peers", "the initiator crashes and is back: INITIAL_CONTACT")
def test_initial_contact(stage: Stage) -> None:
    """RFC 7296 §2.4: the responder forgets the IKE SA from before, and no other."""
    running = stage.connect()
    if stage.way.we_initiate:
        running.peer.endpoint.delete_all = lambda now: []  # it dies without a word
        running.peer.hurry()
        running.peer.stop()
        stage.start().told.wait_for("child-sa-installed")
        stage.until(lambda: bool(stage.child_sa()))
        assert "received INITIAL_CONTACT" in stage.theirs.log
    else:
        stage.theirs.crash()
        if stage.way.transport == "tcp":
            stage.relay.cut()  # a host that crashes takes its connections with it
        stage.load()
        stage.theirs.initiate()
        closed = running.told.wait_for("ike-sa-closed")
        assert closed["reason"] == "its peer has begun anew"
        assert len(running.peer.endpoint.tables.sessions()) == 1
    stage.ping_both_ways()
