"""``gankit report``: one HTML file about a run, or about several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gankit.cli.arguments import Json
from gankit.cli.output import emit, say, shown, warn


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Directories of runs, or of runs: then the latest.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="F.html. Else a new one in the run, report.html first; of several runs, in this directory."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write one HTML file about a run, or about several side by side, that needs no network and no server."""
    from gankit.report import make_report

    made = make_report(runs, out, overwrite=overwrite)
    if json:
        paths = [str(path) for path in made.runs]
        emit({"runs": paths, "out": str(made.path), "problems": list(made.problems)})
        return
    for problem in made.problems:
        warn(f"note: {problem}")
    say(f"report: {shown(made.path)}")
