"""``iketcp demo``: a tunnel between two peers on this machine, told step by step.

Two sites, west and east, each a network namespace of its own, joined by one wire. The
demonstration starts a peer at each, follows both peers' traces, uses the tunnel, breaks
its TCP connection, watches it come back, rekeys, and ends it; and it counts a step only
if the traces of both peers, the hashes and the state of the namespaces prove it.

Reading order: ``scenery`` (addresses and configuration), ``stage`` (namespaces),
``director`` (who plays and what they report), ``acts`` (what happens and what proves
it), ``narrator`` (how it is told), ``run``.
"""

from iketcp.demo.options import DemoOptions

__all__ = ["DemoOptions", "run_demo"]


def run_demo(options: DemoOptions) -> int:
    """Run the demonstration; return the exit code.

    0: every step really happened; 1: one did not; 2: it could not begin; 130: it was
    interrupted.
    """
    # Imported late: processes on the stage import this package too, and have no use
    # for a terminal.
    from iketcp.demo.run import run  # noqa: PLC0415

    return run(options)
