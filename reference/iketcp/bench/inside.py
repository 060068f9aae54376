"""Entry of every program of a benchmark: go inside, then become it.

``python -m iketcp.bench.inside PARENT NETWORK PROGRAM ARGS`` enters the network
namespace whose descriptor it inherited, arranges to be killed when its parent dies, and
runs the program in its own place.
"""

import os
import sys

from iketcp.demo import linux


def main() -> None:
    """Enter the namespace and run the program."""
    parent, network, *command = sys.argv[1:]
    linux.enter(int(network), linux.CLONE_NEWNET)
    os.close(int(network))
    linux.die_with_parent(int(parent))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
