"""What all rows about trained runs say of them, and what the programs that make such rows have in common."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gankit
from gankit.bench import append
from gankit.discovery.entry_points import load_dataset
from gankit.options import changed as options

__all__ = ["changed", "machine", "parser", "rows", "training"]


def training(run: gankit.Run) -> dict[str, Any]:
    """How `run` was trained, and which of its checkpoints is the best."""
    return {
        "seed": run.config.run.seed,
        "options": changed(run),
        "steps": run.steps,
        "checkpoint": run.directory.resolve("best"),
        "seconds": round(run.seconds, 1),
    }


def changed(run: gankit.Run) -> dict[str, Any]:
    """The options in which `run` differs from its preset, dotted; of a file or directory the name, not the place."""
    return {
        name: Path(change.value).name
        if isinstance(change.value, str) and Path(change.value).is_absolute()
        else change.value
        for name, change in options.changed(run.config, type(run.variant), load_dataset(run.config.dataset)).items()
        if name not in ("seed", "steps")
    }


def machine(run: gankit.Run) -> dict[str, Any]:
    """Where it was trained, and when it is looked at."""
    return {
        **json.loads((run.path / "environment.json").read_text(encoding="utf-8")),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def parser(text: str | None, of: str, n: int, runs: str = "+") -> argparse.ArgumentParser:
    """The options of a program that makes a row of each run from `n` samples `of` its data."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("runs", nargs=runs, type=Path)
    made.add_argument("--n", type=int, default=n, help=of)
    made.add_argument("--json", type=Path, help="append the rows to this file")
    return made


def rows(arguments: argparse.Namespace, row: Callable[[gankit.Run, int], dict[str, Any]]) -> None:
    """Prints what `row` says of each run, and appends it to the file that was asked for."""
    for path in arguments.runs:
        found = row(gankit.open_run(path), arguments.n)
        append(found, arguments.json)
        print(json.dumps(found))
