"""``gankit sample``: draw from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gankit.cli.arguments import Checkpoint, Device, GivenOption, Json, RunArgument, To, fresh
from gankit.cli.output import at_least, emit, say, shown, warn


def sample(
    run: RunArgument,
    n: Annotated[
        int | None, typer.Option("--n", help="Number of samples. Else one for each image that is given, or 16.")
    ] = None,
    given: GivenOption = None,
    to: To = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Class, by name or number: short for --given label=. May be repeated.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option(help="Caption: short for --given text=. May be repeated.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="F.png: one sheet, of no more than 4096 pixels a side. A directory: a file a sample. F.npy, F.csv: "
            "numbers. Else a new sheet in the run."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same samples; on CUDA, up to rounding.")] = 0,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the samples that are in --out.")] = False,
    json: Json = False,
) -> None:
    """Draw samples from a run."""
    at_least("--n", n, 1)
    at_least("--seed", seed, 0)
    from gankit.api import open_run
    from gankit.sampling.given import from_options, merged
    from gankit.sampling.samples import check_out

    asked = merged(from_options(given or []), label=label or None, text=text or None)
    opened = open_run(run)
    if out is not None:
        check_out(out, overwrite=overwrite)
    samples = opened.sample(n, given=asked, to=to, seed=seed, checkpoint=checkpoint, device=device)
    out = out or fresh(opened.path, "sample", ".png" if samples.are_images else ".npy")
    files, n = samples.save(out, overwrite=overwrite), len(samples.records)
    if samples.note:
        warn(f"note: {samples.note}")
    if json:
        about = {"run": str(opened.path), "checkpoint": samples.checkpoint, "n": n, "out": str(out)}
        emit({**about, "files": [str(file) for file in files], "samples": samples.records})
    else:
        say(f"{n} {'sample' if n == 1 else 'samples'} of {samples.checkpoint} in {shown(out)}")
