"""``gankit eval``: judge the samples of a run."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from gankit.cli.arguments import Checkpoint, Device, Json, RunArgument, fresh
from gankit.cli.output import at_least, emit, number, say, shown, table, warn
from gankit.errors import UsageError


def evaluate(
    run: RunArgument,
    n: Annotated[
        int | None,
        typer.Option("--n", help="Number of samples to judge. Else 1000, or all held-out inputs of a translation."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed judges the same samples.")] = 0,
    to: Annotated[
        str | None, typer.Option(help="What to draw and compare, of a variant that produces several.")
    ] = None,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="These alone: fid, kid, inception_score, swd, ... Else those that apply."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Of fid and its kin: the real images, train or test. [default: train]")
    ] = None,
    resizing: Annotated[
        str | None,
        typer.Option(help="Of fid and its kin: library, as in the original code, or clean. [default: library]"),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="F|DIR",
            help="Of fid and its kin: a file of Inception's weights; of lpips too: a directory that has all files by "
            "their names. Else they are downloaded.",
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="PNG of samples beside their nearest training images. Else a new one in RUN."),
    ] = None,
    json: Json = False,
) -> None:
    """Judge samples of a run: compare them with real ones of what it produces. The result is kept in the run too."""
    if n is not None:
        at_least("--n", n, 2)
    at_least("--seed", seed, 0)
    if sheet is not None:
        _check_sheet(sheet)
    asked = set(metrics.split(",")) if metrics else set()
    _check_standard(asked, split, resizing, weights, sheet)
    from gankit.api import open_run
    from gankit.cli.progress import reporter
    from gankit.evaluate import Standard
    from gankit.options.schema import flattened
    from gankit.runs.log import JUDGED, append_row

    opened = open_run(run)
    sheet = sheet or fresh(opened.path, "neighbours")
    with reporter(json=json or not sys.stdout.isatty()) as tell:  # not among the figures, where those go to a file
        result = opened.evaluate(
            n,
            seed,
            checkpoint,
            device,
            to=to,
            metrics=asked or None,
            sheet=sheet,
            standard=Standard(split=split or "train", resizing=resizing or "library", weights=weights),  # type: ignore[arg-type]
            on_event=tell,
        )
    for note in result["notes"]:
        warn(f"note: {note}")
    try:
        append_row(opened.path / JUDGED, {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **result})
    except OSError as error:
        warn(f"note: {opened.path / JUDGED} cannot be written: {error.strerror or error}")
    if json:
        emit({**result, "sheet": str(sheet) if sheet.exists() else None})
        return
    drawn = f": {result['n']} samples" if result["n"] else ""
    say(f"{shown(opened.path)}, {result['checkpoint']}{drawn}")
    if result["metrics"]:
        say(table([(name, number(value)) for name, value in result["metrics"].items()], ("metric", "value")))
    if judge := list(flattened(result.get("judge") or {})):
        say("\n" + table([(name, number(value)) for name, value in judge], ("judge", "")))
    for kind, title in (("standard", "standard metrics"), ("lpips", "lpips")):
        if standard := result["protocol"].get(kind):
            say("\n" + table([(name, number(value)) for name, value in flattened(standard)], (title, "")))
    if reader := result["protocol"].get("reader"):  # its settings, as long again, are in the JSON
        facts = flattened({name: value for name, value in reader.items() if name != "settings"})
        say("\n" + table([(name, number(value)) for name, value in facts], ("reader", "")))
    if sheet.exists():
        say(f"\nsamples beside their nearest training images: {shown(sheet)}")


def _check_standard(
    asked: set[str], split: str | None, resizing: str | None, weights: Path | None, sheet: Path | None
) -> None:
    """:class:`UsageError` for a value that is none, or an option that would do nothing."""
    from gankit.evaluate.perceptual import PERCEPTUAL
    from gankit.evaluate.standard import STANDARD
    from gankit.evaluate.table import METRICS

    if sheet is not None and asked and not asked & (METRICS.keys() - STANDARD - PERCEPTUAL):
        raise UsageError(f"--sheet {sheet}: {', '.join(sorted(asked))} alone draws none; leave it out")
    known = {"split": ("train", "test"), "resizing": ("library", "clean"), "weights": ()}
    given = {"split": split, "resizing": resizing, "weights": weights}
    for option, value in given.items():
        if value is None:
            continue
        if known[option] and value not in known[option]:
            raise UsageError(f"--{option} {value}: must be {' or '.join(known[option])}")
        able = STANDARD | PERCEPTUAL if option == "weights" else STANDARD
        if not asked & able:
            names = ", ".join(sorted(able))
            raise UsageError(f"--{option} is for the standard network's metrics: name one with --metrics ({names})")


def _check_sheet(path: Path) -> None:
    """Complain before minutes of judging, not after."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--sheet {path}: must be a PNG file, FILE.png")
    if path.exists():
        raise UsageError(f"--sheet {path} exists already. Give another name.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--sheet {path}: there is no directory {path.absolute().parent}")
