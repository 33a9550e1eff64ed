"""``gankit animate``: how a run's pictures changed while it trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gankit.cli.arguments import Json, RunArgument, check_rate, fresh
from gankit.cli.output import emit, say, shown


def animate(
    run: RunArgument,
    figure: Annotated[
        str | None, typer.Option(metavar="NAME", help="A figure of the run, or sheet. Else its sheets, if it has any.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="F.png, F.gif, F.webp or F.mp4. Else a new animated PNG in the run.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Pictures a second.")] = 5.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is at --out.")] = False,
    json: Json = False,
) -> None:
    """Show how a run's samples or figures changed while it trained, as an animated PNG, GIF, WebP or MP4."""
    check_rate(rate)
    from gankit.runs.directory import RunDir
    from gankit.sampling import animation

    path = RunDir.open(run).path
    out = out or fresh(path, "animation")
    frames = animation.animate(path, out, figure, rate=rate, overwrite=overwrite)
    if json:
        emit({"run": str(path), "out": str(out), "frames": frames})
    else:
        say(f"{frames} frames in {shown(out)}")
