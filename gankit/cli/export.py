"""``gankit export``: a run as one file that others run."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gankit.cli.arguments import Checkpoint, Json, RunArgument, To
from gankit.cli.output import emit, say, shown, table, warn
from gankit.errors import UsageError


def export(
    run: RunArgument,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="F.onnx; F.pt2, for torch alone (torch.export); F.safetensors, weights and what they are of.",
        ),
    ],
    method: Annotated[
        Literal["sample", "reconstruct", "encode"],
        typer.Option(help="What the file computes: samples (or translations), images encoded and decoded, or codes."),
    ] = "sample",
    to: To = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Fix the size of images. Else all that the networks take."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Most that the file may differ from torch, of images in [-1, 1].")
    ] = 1e-4,
    checkpoint: Checkpoint = "best",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write a run as one file: ONNX, torch.export, or weights.

    The file takes named inputs: what the variant is asked with, and its noise; any number of samples at once. It is
    compared with torch on real and odd inputs, on the CPU, and not written if it differs.
    """
    if not 0 < tolerance < float("inf"):
        raise UsageError(f"--tolerance {tolerance:g}: must be above 0")
    sides = _sides(size)
    from gankit.api import open_run
    from gankit.cli.progress import reporter

    opened = open_run(run)
    with reporter(json=json or not sys.stdout.isatty()) as tell:
        made = opened.export(
            out,
            method=method,
            to=to,
            size=sides,
            tolerance=tolerance,
            checkpoint=checkpoint,
            overwrite=overwrite,
            on_event=tell,
        )
    if made.note:
        warn(f"note: {made.note}")
    if json:
        compared = [one.__dict__ for one in (*made.compared, *made.shaky)]
        about = {"run": str(opened.path), "checkpoint": opened.directory.resolve(checkpoint), "out": str(out)}
        emit(
            {**about, "inputs": made.inputs, "output": made.output, "difference": made.difference, "compared": compared}
        )
        return
    rows = [(one["name"], one["dtype"], " x ".join(one["shape"]), _values(one)) for one in made.inputs]
    say(table(rows, ("input", "type", "shape", "")))
    for one in made.shaky:
        warn(f"note: {one.what} not counted: there the model makes {one.shaken:.2g} of rounding errors")
    on = ", ".join(f"{one.what} ({one.n})" for one in made.compared)
    say(f"largest difference from torch: {made.difference:.2g} of {on}")
    say(f"{shown(out)}: {made.output['name']}, {out.stat().st_size / 1e6:.1f} MB")


def _values(one: dict[str, object]) -> str:
    """What the values of an input are, in a few words."""
    names, bounds, sides = one.get("names"), one.get("range"), one.get("sides")
    if isinstance(names, list):
        return f"{', '.join(names[:4])}{', ...' * (len(names) > 4)}"
    if isinstance(bounds, list):
        text = f"{bounds[0]:g} to {bounds[1]:g}"
        return (
            f"{text}; sides: multiples of {sides['multiple_of']} from {sides['least']}"
            if isinstance(sides, dict)
            else text
        )
    return str(one.get("drawn") or one.get("encoding") or one.get("unit") or "")


def _sides(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
    if not found:
        raise UsageError(f"--size {size}: must be HxW, as 256x256")
    return int(found[1]), int(found[2])
