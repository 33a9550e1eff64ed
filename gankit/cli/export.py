"""``gankit export``: a run as one file that others run, or as a directory that becomes a run again."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

import typer

from gankit.cli.arguments import Checkpoint, Json, RunArgument, To
from gankit.cli.output import emit, say, shown, table, warn
from gankit.errors import UsageError

Method = Literal["sample", "reconstruct", "encode"]
SUFFIXES = (".onnx", ".pt2", ".safetensors")


def export(
    run: RunArgument,
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="F.onnx; F.pt2, for torch alone (torch.export); F.safetensors, weights and what they are of; "
            "DIR, or DIR/ where its name has a dot: a repository for the Hugging Face Hub.",
        ),
    ],
    method: Annotated[
        Method,
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
    license: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Of DIR: the license on its card, as apache-2.0. [default: unknown]"),
    ] = None,
    datasets: Annotated[
        str | None, typer.Option(metavar="ID,ID", help="Of DIR: datasets of the Hub that it was trained on.")
    ] = None,
    training: Annotated[
        bool, typer.Option("--training", help="Of DIR: with optimisers, so that training goes on bit for bit.")
    ] = False,
    checkpoint: Checkpoint = "best",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files that are there.")] = False,
    json: Json = False,
) -> None:
    """Write a run as one file: ONNX, torch.export, or weights; or as a directory with a model card.

    A file takes named inputs: what the variant is asked with, and its noise; any number of samples at once. It is
    compared with torch on real and odd inputs, on the CPU, and not written if it differs. A directory becomes a run
    again by gankit import DIR.
    """
    if not 0 < tolerance < float("inf"):
        raise UsageError(f"--tolerance {tolerance:g}: must be above 0")
    sides = _sides(size)
    path = Path(out)
    known: dict[str, Any] = {"tolerance": tolerance, "checkpoint": checkpoint, "overwrite": overwrite}
    folder = out.endswith(("/", os.sep)) or not path.suffix or (path.is_dir() and path.suffix not in SUFFIXES)
    of_file = {"--method": method != "sample", "--to": to, "--size": size}
    of_folder = {"--license": license, "--datasets": datasets, "--training": training}
    for option, value in (of_file if folder else of_folder).items():
        if value:
            raise UsageError(f"{option} is for {'a file' if folder else 'a directory'}, and {out} is none")
    if folder:
        ids = [name for one in (datasets or "").split(",") if (name := one.strip())]
        known |= {"license": license or "unknown", "datasets": ids, "training": training}
        _export_directory(run, path, known, json)
    else:
        _export_file(run, path, {**known, "method": method, "to": to, "size": sides}, json)


def _export_directory(run: Path, out: Path, how: Mapping[str, Any], json: bool) -> None:
    from gankit.api import open_run
    from gankit.cli.progress import reporter
    from gankit.hub.files import KNOWN, SHEET

    opened = open_run(run)
    with reporter(json=json or not sys.stdout.isatty()) as tell:
        made = opened.export_directory(out, **how, on_event=tell)
    files = [name for name in KNOWN if (out / name).is_file()]
    if json:
        about = {"run": str(opened.path), "checkpoint": opened.directory.resolve(how["checkpoint"]), "out": str(out)}
        emit({**about, "files": files, "difference": made.difference})
        return
    say(f"{shown(out)}: {sum((out / name).stat().st_size for name in files) / 1e6:.1f} MB")
    seen = f" and {shown(out / SHEET)}" if SHEET in files else ""
    say(f"look at it before others do: {shown(out / KNOWN[0])}{seen}")
    say(f"a run of it: gankit import {quote(shown(out))}")
    say(f"to the Hub:  hf upload ORG/NAME {quote(shown(out))}")


def _export_file(run: Path, out: Path, how: Mapping[str, Any], json: bool) -> None:
    from gankit.api import open_run
    from gankit.cli.progress import reporter

    opened = open_run(run)
    with reporter(json=json or not sys.stdout.isatty()) as tell:
        made = opened.export(out, **how, on_event=tell)
    if made.note:
        warn(f"note: {made.note}")
    if json:
        compared = [one.__dict__ for one in (*made.compared, *made.shaky)]
        about = {"run": str(opened.path), "checkpoint": opened.directory.resolve(how["checkpoint"]), "out": str(out)}
        emit(
            {**about, "inputs": made.inputs, "output": made.output, "difference": made.difference, "compared": compared}
        )
        return
    rows = [(one["name"], one["dtype"], " x ".join(one["shape"]), _values(one)) for one in made.inputs]
    say(table(rows, ("input", "type", "shape", "")))
    for one in made.shaky:
        warn(f"note: not compared: {one.what}, where torch's own result moves by {one.shaken:.2g} with rounding errors")
    on = ", ".join(f"{one.what} ({one.n})" for one in made.compared)
    say(f"largest difference from torch: {made.difference:.2g}, on inputs {on}")
    say(f"{shown(out)}: {out.stat().st_size / 1e6:.1f} MB, gives {made.output['name']}")


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
