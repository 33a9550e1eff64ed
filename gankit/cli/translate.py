"""``gankit translate`` and ``gankit reconstruct``: images in, images out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gankit.cli.arguments import Checkpoint, Device, GivenOption, Json, RunArgument, To
from gankit.cli.output import at_least, emit, say, shown, warn

In = Annotated[Path, typer.Argument(metavar="IN", help="Image file, or a directory of such and of directories.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="File, or directory: then names are kept.")]
SizeOption = Annotated[
    Literal["input", "model"], typer.Option(help="Write at the size of each input, or at that which the model draws.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same images.")]


def translate(
    run: RunArgument,
    source: In,
    out: Out,
    given: GivenOption = None,
    to: To = None,
    size: SizeOption = "input",
    seed: Seed = 0,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Translate images: for variants that are asked with one.

    Images of any size are stretched to what the model takes, and the result back. Of other pictures that the variant is
    asked with (--given mask=...), a file serves all images, a directory each with the file of its name.
    """
    _change("translate", run, source, out, given, to, size, seed, checkpoint, device, overwrite, json)


def reconstruct(
    run: RunArgument,
    source: In,
    out: Out,
    given: GivenOption = None,
    to: To = None,
    size: SizeOption = "input",
    seed: Seed = 0,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Encode images and decode them again: for variants that can.

    Images of any size are stretched to what the model takes, and the result back.
    """
    _change("reconstruct", run, source, out, given, to, size, seed, checkpoint, device, overwrite, json)


def _change(
    how: Literal["translate", "reconstruct"],
    run: Path,
    source: Path,
    out: Path,
    given: list[str] | None,
    to: str | None,
    size: Literal["input", "model"],
    seed: int,
    checkpoint: str,
    device: str,
    overwrite: bool,
    json: bool,
) -> None:
    at_least("--seed", seed, 0)
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
            overwrite=overwrite,
            seed=seed,
            checkpoint=checkpoint,
            device=device,
            on_event=tell,
        )
    failed = [pair for pair in pairs if pair.error]
    for pair in failed:
        warn(f"error: {pair.error}")
    done = len(pairs) - len(failed)
    if json:
        files = [
            {**pair.conditions, "from": str(pair.source), "to": str(pair.target), "error": pair.error or None}
            for pair in pairs
        ]
        emit({"run": str(opened.path), "checkpoint": opened.directory.resolve(checkpoint), "n": done, "files": files})
    elif done:
        say(f"{done} {'image' if done == 1 else 'images'} in {shown(out)}")
    if failed:
        raise typer.Exit(1)
