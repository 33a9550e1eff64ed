"""``gankit sample``: draw from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gankit.cli.arguments import Checkpoint, Device, Json, RunArgument, fresh
from gankit.cli.output import at_least, emit, say, shown


def sample(
    run: RunArgument,
    n: Annotated[int, typer.Option("--n", help="Number of samples.")] = 16,
    label: Annotated[list[str] | None, typer.Option(help="Class, by number or name. May be repeated.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="Caption. May be repeated.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="F.png: one sheet. A directory: a file a sample. Else a new sheet in the run.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same samples.")] = 0,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the samples that are in --out.")] = False,
    json: Json = False,
) -> None:
    """Draw samples from a run."""
    at_least("--n", n, 1)
    at_least("--seed", seed, 0)
    from gankit.api import open_run

    opened = open_run(run)
    samples = opened.sample(n, label=label or None, text=text or None, seed=seed, checkpoint=checkpoint, device=device)
    out = out or fresh(opened.path, "sample")
    files = samples.save(out, overwrite=overwrite)
    if json:
        about = {"run": str(opened.path), "checkpoint": samples.checkpoint, "n": n, "out": str(out)}
        emit({**about, "files": [str(file) for file in files], "samples": samples.records})
    else:
        say(f"{n} {'sample' if n == 1 else 'samples'} of {samples.checkpoint} in {shown(out)}")
