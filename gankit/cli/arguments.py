"""Arguments that several commands on a run share."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from gankit.errors import UsageError

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run, or of runs: then the latest.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON; all else goes to stderr.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Checkpoint = Annotated[str, typer.Option(help="best, latest, or a name such as step-000500.")]


To = Annotated[str | None, typer.Option(metavar="KEY", help="Which of what the variant draws. Else its first.")]

GivenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--given",
        metavar="KEY=VALUE",
        help="What to ask for: a class, a text, numbers, left,top,right,bottom of a box, an image file or a directory "
        "of images. May be repeated.",
    ),
]


def check_rate(rate: float) -> None:
    """UsageError for so many pictures a second."""
    if not 0.1 <= rate <= 50:  # browsers take less than 20 ms a frame for a mistake
        raise UsageError(f"--rate {rate:g}: must be from 0.1 to 50")


def fresh(directory: Path, stem: str, suffix: str = ".png") -> Path:
    """A name for a sheet that is not taken."""
    return next(path for i in count(1) if not (path := directory / f"{stem}-{i:04d}{suffix}").exists())
