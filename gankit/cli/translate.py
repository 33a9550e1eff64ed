"""``gankit translate`` and ``gankit reconstruct``: images in, images out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gankit.cli.arguments import Checkpoint, Device, GivenOption, Json, RunArgument, To
from gankit.cli.output import at_least, emit, say, shown, warn
from gankit.errors import UsageError

In = Annotated[Path, typer.Argument(metavar="IN", help="Image file, or a directory of such and of directories.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="File, or directory: then names are kept.")]
SizeOption = Annotated[
    Literal["input", "model"], typer.Option(help="Write at the size of each input, or at that which the model draws.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Leave files that are there, and do the rest.")]
FitOption = Annotated[
    Literal["stretch", "tiles"],
    typer.Option(help="Stretch an image to what the model takes, or cut it into overlapping tiles of that."),
]
Overlap = Annotated[float, typer.Option(help="Of tiles: part of a side that neighbours share, 0 to 0.5.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same images.")]


def translate(
    run: RunArgument,
    source: In,
    out: Out,
    given: GivenOption = None,
    to: To = None,
    size: SizeOption = "input",
    fit: FitOption = "stretch",
    overlap: Overlap = 0.25,
    seed: Seed = 0,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Translate images: for variants that are asked with one.

    Images of any size are stretched to what the model takes, and the result back, or go through it in tiles
    (--fit tiles): for models of crops of large pictures. Opacity is kept, and 16 bits of grey are. Of other pictures
    that the variant is asked with (--given mask=...), a file serves all images, a directory each with the file of its
    name.
    """
    _change(
        "translate", run, source, out, given, to, size, fit, overlap, seed, checkpoint, device, overwrite, resume, json
    )


def reconstruct(
    run: RunArgument,
    source: In,
    out: Out,
    given: GivenOption = None,
    to: To = None,
    size: SizeOption = "input",
    fit: FitOption = "stretch",
    overlap: Overlap = 0.25,
    seed: Seed = 0,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Encode images and decode them again: for variants that can.

    Images of any size are stretched to what the model takes, and the result back, or go through it in tiles.
    """
    _change(
        "reconstruct",
        run,
        source,
        out,
        given,
        to,
        size,
        fit,
        overlap,
        seed,
        checkpoint,
        device,
        overwrite,
        resume,
        json,
    )


def _change(
    how: Literal["translate", "reconstruct"],
    run: Path,
    source: Path,
    out: Path,
    given: list[str] | None,
    to: str | None,
    size: Literal["input", "model"],
    fit: Literal["stretch", "tiles"],
    overlap: float,
    seed: int,
    checkpoint: str,
    device: str,
    overwrite: bool,
    resume: bool,
    json: bool,
) -> None:
    at_least("--seed", seed, 0)
    if overwrite and resume:
        raise UsageError("--overwrite replaces the files that are there, --resume leaves them: give one of the two.")
    from gankit.api import open_run
    from gankit.cli.progress import reporter
    from gankit.sampling.given import from_options

    opened = open_run(run)
    with reporter(json=json or not sys.stdout.isatty()) as tell:
        pairs = opened.change_files(
            how,
            source,
            out,
            given=from_options(given or []),
            to=to,
            size=size,
            fit=fit,
            overlap=overlap,
            existing="replace" if overwrite else "keep" if resume else "refuse",
            seed=seed,
            checkpoint=checkpoint,
            device=device,
            on_event=tell,
        )
    failed = [pair for pair in pairs if pair.error]
    for pair in failed:
        warn(f"error: {pair.error}")
    if len(pairs) > 1 and failed:
        warn(f"{len(failed)} of {len(pairs)} files failed")
    done = sum(not pair.error and not pair.there for pair in pairs)
    if json:
        files = [
            {**pair.conditions, "from": str(pair.source), "to": str(pair.target), "error": pair.error or None}
            for pair in pairs
            if not pair.there
        ]
        emit({"run": str(opened.path), "checkpoint": opened.directory.resolve(checkpoint), "n": done, "files": files})
    elif done or not failed:
        say(f"{done} {'image' if done == 1 else 'images'} in {shown(out)}")
    if failed:
        raise typer.Exit(1)
