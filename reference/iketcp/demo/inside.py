"""Entry of every process on the stage: go inside, then become what was asked for.

``python -m iketcp.demo.inside --parent PID [--user FD] --network FD -- MODULE ARGS``
enters the namespaces whose descriptors it inherited, arranges to be killed when its
parent dies, and runs the module as a program.
"""

import os
import runpy
import sys

from iketcp.demo import linux


def main() -> None:
    """Enter the namespaces and run the module."""
    at = sys.argv.index("--")
    options = dict(zip(sys.argv[1:at:2], map(int, sys.argv[2:at:2]), strict=True))
    if "--user" in options:
        # First: membership here is what permits entering the network namespace.
        linux.enter(options["--user"], linux.CLONE_NEWUSER)
        os.close(options["--user"])
    if "--network" in options:
        linux.enter(options["--network"], linux.CLONE_NEWNET)
        os.close(options["--network"])
    # Last: a change of credentials would cancel it.
    linux.die_with_parent(options["--parent"])
    module, *arguments = sys.argv[at + 1 :]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
