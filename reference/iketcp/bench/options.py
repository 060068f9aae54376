"""Options that every benchmark has."""

from pathlib import Path
from typing import Annotated

import typer

ROUNDS = 5

Rounds = Annotated[int, typer.Option(min=1, help="Measure each so often.")]

Repeats = Annotated[
    int,
    typer.Option(min=0, help="Measure so often again if other programs disturbed it."),
]

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write every figure into a file."),
]

__all__ = ["ROUNDS", "JsonFile", "Repeats", "Rounds"]
