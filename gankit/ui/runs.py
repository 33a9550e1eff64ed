"""The runs below a directory: which there are, and where each stands while it trains."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from gankit.errors import GankitError, UsageError
from gankit.files import open_regular
from gankit.json_file import parse_object
from gankit.options.resolve import read_toml
from gankit.options.spelling import shown
from gankit.runs.directory import RunDir, runs_in

MOST = 500
"""Most runs that are offered: those that were touched last."""
TAIL = 2**18
"""Bytes of the end of a log that say where a run stands."""


@dataclass(frozen=True)
class Standing:
    """Where a run stands, as its directory says now. Every text in it is the run's own, and to be escaped."""

    name: str
    """Of the run, by which a page asks for it: its path below the directory of runs."""
    path: Path
    variant: str = "?"
    dataset: str = "?"
    step: int = 0
    steps: int | None = None
    training: bool = False
    seconds_left: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    """The last means of loss terms, as ``phase/term``."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the last evaluation while training."""

    @property
    def state(self) -> str:
        """In words that stay while it trains."""
        if self.training:
            return "training"
        if self.steps is not None and self.step >= self.steps:
            return f"finished, {self.step:,} steps"
        return f"stopped at step {self.step:,}" + ("" if self.steps is None else f" of {self.steps:,}")

    @property
    def label(self) -> str:
        """The run in a line: ``cgan on digits, 0001: stopped at step 500 of 2,000``."""
        return f"{self.variant} on {self.dataset}, {self.path.name}: {self.state}"


class Runs:
    """The runs in `root`: a directory that runs were written to (``--out``), one of its directories, or one run."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._known: dict[str, tuple[object, Standing]] = {}

    def all(self) -> list[Standing]:
        """Where each stands, those touched last first."""
        return [self._standing(name, run) for name, run in islice(self._found(), MOST)]

    def open(self, name: object) -> RunDir:
        """The run of that name. :class:`UsageError` if it is none of those that are here, whatever else it names."""
        found = next((run for known, run in self._found() if known == name), None)
        if found is None:
            raise UsageError(f"there is no run {shown(name)} here: it was removed, or lies elsewhere.")
        return found

    def inside(self, path: Path) -> bool:
        """Whether what stands at `path` lies among the runs, and is no link that leads out of them."""
        return path.resolve().is_relative_to(self.root)

    def _standing(self, name: str, run: RunDir) -> Standing:
        """Where `run` stands, read anew where something of it changed."""
        mark = (run.is_locked(), *(_stamp(run.path / part) for part in ("config.toml", "log.jsonl", "checkpoints")))
        known = self._known.get(name)
        if known is None or known[0] != mark:
            known = self._known[name] = (mark, standing(name, run))
        return known[1]

    def _found(self) -> Iterator[tuple[str, RunDir]]:
        """By name; a link that leads out of the directory is no run of it."""
        try:
            if (self.root / "config.toml").is_file():
                runs = [RunDir(self.root)]
            else:
                homes = [self.root, *(path for path in self.root.iterdir() if path.is_dir() and self.inside(path))]
                runs = [run for home in homes for run in _listed(home) if self.inside(run.path / "config.toml")]
        except OSError as error:
            raise GankitError(f"{self.root} cannot be read: {error.strerror or error}") from error
        for run in sorted(runs, key=lambda run: _touched(run.path), reverse=True):
            yield run.path.relative_to(self.root).as_posix(), run


def _listed(home: Path) -> list[RunDir]:
    try:
        return runs_in(home)
    except OSError:  # of another user, or just removed
        return []


def _touched(run: Path) -> int:
    return _stamp(run / "log.jsonl")[0] or _stamp(run / "config.toml")[0]


def _stamp(path: Path) -> tuple[int, int]:
    """When a file was written last, and its size; (0, 0) of none."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def standing(name: str, run: RunDir) -> Standing:
    """Where `run` stands, from the end of its log: quick, however long it has trained."""
    try:
        content = read_toml(run.path / "config.toml")
    except GankitError:
        content = {}
    steps = content.get("steps")
    rows = _last_rows(run.path / "log.jsonl")
    logged = [row for row in rows if _number(row.get("seconds")) is not None]
    try:
        saved = [int(one.removeprefix("step-")) for one in run.checkpoints()]
    except GankitError:
        saved = []
    judged: Mapping[str, Any] = next(
        (row["metrics"] for row in reversed(rows) if isinstance(row.get("metrics"), Mapping)), {}
    )
    training = run.is_locked()
    step = max([*saved, *(row["step"] for row in rows)], default=0)
    steps = steps if isinstance(steps, int) and not isinstance(steps, bool) and 0 <= steps < 2**63 else None
    left = _seconds_left(logged, steps) if training and steps is not None else None
    last = logged[-1] if logged else {}
    return Standing(
        name=name,
        path=run.path,
        variant=str(content.get("variant", "?")),
        dataset=str(content.get("dataset", "?")),
        step=step,
        steps=steps,
        training=training,
        seconds_left=left,
        values={key: value for key in last if "/" in key and (value := _number(last[key])) is not None},
        metrics={str(key): value for key in judged if (value := _number(judged[key])) is not None},
    )


def _last_rows(log: Path) -> list[dict[str, Any]]:
    """The rows at the end of a log, as far as they are whole."""
    try:
        with open_regular(log) as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL)
            file.seek(start)
            lines = file.read(TAIL).split(b"\n")
    except OSError:
        return []
    rows = []
    for line in lines[1 if start else 0 :]:
        try:
            row = parse_object(line)
        except ValueError:  # the last one may be half written
            continue
        if isinstance(row.get("step"), int) and not isinstance(row["step"], bool) and 0 <= row["step"] < 2**63:
            rows.append(row)
    return rows


def _seconds_left(rows: list[dict[str, Any]], steps: int) -> float | None:
    """At the speed of the last few rows."""
    if len(rows) < 2:
        return None
    first, last = rows[max(0, len(rows) - 6)], rows[-1]
    done, took = last["step"] - first["step"], float(last["seconds"]) - float(first["seconds"])
    return max(0, steps - last["step"]) * took / done if done > 0 and took > 0 else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


__all__ = ["Runs", "Standing", "standing"]
