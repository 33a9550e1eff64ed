"""``gankit resume``, ``sample`` and ``eval``: what is done with a run that exists."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer

from gankit.cli.output import at_least, emit, number, say, shown, table, warn
from gankit.errors import UsageError

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run, or of runs: then the latest.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON; all else goes to stderr.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Checkpoint = Annotated[str, typer.Option(help="best, latest, or a name such as step-000500.")]


def resume(
    run: RunArgument,
    steps: Annotated[int | None, typer.Option(help="Train up to this step, instead of the run's own end.")] = None,
    json: Json = False,
) -> None:
    """Go on with a run from its newest checkpoint."""
    at_least("--steps", steps, 1)
    from gankit.api import open_run
    from gankit.cli.progress import reporter
    from gankit.cli.train import conclude

    opened = open_run(run)
    with reporter(json=json) as tell:
        opened = opened.resume(steps, tell)
    conclude(opened, tell, json=json)


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
    out = out or _fresh(opened.path, "sample")
    files = samples.save(out, overwrite=overwrite)
    if json:
        about = {"run": str(opened.path), "checkpoint": samples.checkpoint, "n": n, "out": str(out)}
        emit({**about, "files": [str(file) for file in files], "samples": samples.records})
    else:
        say(f"{n} {'sample' if n == 1 else 'samples'} of {samples.checkpoint} in {shown(out)}")


def evaluate(
    run: RunArgument,
    n: Annotated[int, typer.Option("--n", help="Number of samples to judge.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed judges the same samples.")] = 0,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    sheet: Annotated[
        Path | None,
        typer.Option(help="PNG of samples beside their nearest training images. Else a new one in RUN."),
    ] = None,
    json: Json = False,
) -> None:
    """Judge samples of a run by classifiers trained on real data."""
    at_least("--n", n, 2)
    at_least("--seed", seed, 0)
    if sheet is not None:
        _check_sheet(sheet)
    from gankit.api import open_run
    from gankit.cli.progress import reporter

    opened = open_run(run)
    sheet = sheet or _fresh(opened.path, "neighbours")
    with reporter(json=json or not sys.stdout.isatty()) as tell:  # not among the figures, where those go to a file
        result = opened.evaluate(n, seed, checkpoint, device, sheet=sheet, on_event=tell)
    for note in result["notes"]:
        warn(f"note: {note}")
    if json:
        emit({**result, "sheet": str(sheet) if sheet.exists() else None})
        return
    say(f"{shown(opened.path)}, {result['checkpoint']}: {result['n']} samples")
    say(table([(name, number(value)) for name, value in result["metrics"].items()], ("metric", "value")))
    if judge := list(_flat(result.get("judge") or {})):
        say("\n" + table([(name, number(value)) for name, value in judge], ("judge", "")))
    if sheet.exists():
        say(f"\nsamples beside their nearest training images: {shown(sheet)}")


def _check_sheet(path: Path) -> None:
    """Complain before minutes of judging, not after."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--sheet {path}: must be a PNG file, FILE.png")
    if path.exists():
        raise UsageError(f"--sheet {path} exists already. Give another name.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--sheet {path}: there is no directory {path.absolute().parent}")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _fresh(directory: Path, stem: str) -> Path:
    """A name for a sheet that is not taken."""
    return next(path for i in count(1) if not (path := directory / f"{stem}-{i:04d}.png").exists())
