"""``gankit animate``: how a run's pictures changed while it trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gankit.cli.arguments import Json, RunArgument, fresh
from gankit.cli.output import emit, say, shown
from gankit.errors import UsageError


def animate(
    run: RunArgument,
    figure: Annotated[
        str | None, typer.Option(metavar="NAME", help="A figure of the run, or sheet. Else its sheets, if it has any.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="F.png or F.gif. Else a new animated PNG in the run.")] = None,
    rate: Annotated[float, typer.Option(help="Pictures a second.")] = 5.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is at --out.")] = False,
    json: Json = False,
) -> None:
    """Show how a run's samples or figures changed while it trained, as an animated PNG or GIF."""
    if not 0.1 <= rate <= 50:  # browsers take less than 20 ms a frame for a mistake
        raise UsageError(f"--rate {rate:g}: must be from 0.1 to 50")
    from gankit.runs.directory import RunDir
    from gankit.sampling import animation

    path = RunDir.open(run).path
    out = out or fresh(path, "animation")
    frames = animation.animate(path, out, figure, rate=rate, overwrite=overwrite)
    if json:
        emit({"run": str(path), "out": str(out), "frames": frames})
    else:
        say(f"{frames} frames in {shown(out)}")
