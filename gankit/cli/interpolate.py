"""``gankit interpolate``: from one sample to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gankit.cli.arguments import Checkpoint, Device, GivenOption, Json, RunArgument, To, fresh
from gankit.cli.output import at_least, emit, say, shown


def interpolate(
    run: RunArgument,
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE...]", help="Two images or more to go between, for variants that encode them."),
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Rows; of images and captions, one less than there are.")] = 4,
    frames: Annotated[int, typer.Option(help="Samples a row, with both its ends.")] = 8,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", help="A caption; two or more to go between, for variants that draw from them."),
    ] = None,
    given: GivenOption = None,
    to: To = None,
    out: Annotated[
        Path | None,
        typer.Option(help="F.png: one sheet. A directory: a file a sample. Else a new sheet in the run."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same samples; on CUDA, up to rounding.")] = 0,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the samples that are in --out.")] = False,
    json: Json = False,
) -> None:
    """Go from one sample to another: along an arc between random codes or captions, straight between images."""
    at_least("--n", n, 1)
    at_least("--frames", frames, 2)
    at_least("--seed", seed, 0)
    from gankit.api import open_run
    from gankit.sampling.given import from_options
    from gankit.sampling.samples import check_out

    opened = open_run(run)
    if out is not None:
        check_out(out, overwrite=overwrite)
    samples = opened.interpolate(
        images or None,
        texts=text or [],
        rows=n,
        frames=frames,
        given=from_options(given or []),
        to=to,
        seed=seed,
        checkpoint=checkpoint,
        device=device,
    )
    out = out or fresh(opened.path, "interpolation", ".png" if samples.are_images else ".npy")
    files, rows = samples.save(out, overwrite=overwrite), len(samples.records) // frames
    if json:
        about = {"run": str(opened.path), "checkpoint": samples.checkpoint, "n": rows, "frames": frames}
        emit({**about, "out": str(out), "files": [str(file) for file in files], "samples": samples.records})
    else:
        say(f"{rows} x {frames} samples of {samples.checkpoint} in {shown(out)}")
