"""``python -m iketcp``: the same as the ``iketcp`` command."""

from iketcp.cli import main

if __name__ == "__main__":
    main()
