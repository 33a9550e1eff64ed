"""The numbers of a ``log.jsonl`` as curves."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gankit.runs.log import log_lines

NAMES = 1000
"""Most names of numbers that are kept; each is a curve."""
LAST_STEP = 2**53
LARGEST = 1e100
"""What is larger counts as not finite, and what is as small as 0: training computes in numbers of far less range."""


@dataclass(frozen=True)
class Curve:
    """Values at steps; one that was not finite, or no number, is NaN."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: float, value: object) -> None:
        self.steps.append(step)
        self.values.append(plain(value))

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def finite(self) -> list[tuple[float, float]]:
        """(step, value) where there is one."""
        return [pair for pair in zip(self.steps, self.values, strict=True) if math.isfinite(pair[1])]


@dataclass
class Log:
    """What a log says, by name."""

    terms: dict[str, Curve] = field(default_factory=dict)
    """Loss terms, and what else a variant logs, as ``phase/term``."""
    rates: dict[str, Curve] = field(default_factory=dict)
    """Learning rates."""
    metrics: dict[str, Curve] = field(default_factory=dict)
    """Of evaluations."""
    speed: Curve = field(default_factory=Curve)
    """Samples a second."""
    last: int | None = None
    """The last step with a row."""
    seconds: float = 0.0
    broken: int = 0
    """Lines that are no rows."""
    left_out: int = 0
    """Numbers under names beyond :data:`NAMES`."""

    def _add(self, curves: dict[str, Curve], step: float, values: object) -> None:
        for name, value in values.items() if isinstance(values, Mapping) else ():
            curve = curves.get(name)
            if curve is None:
                if len(curves) >= NAMES:
                    self.left_out += 1
                    continue
                curve = curves[name] = Curve()
            curve.add(step, value)

    def add(self, row: Mapping[str, Any]) -> None:
        step = row.get("step")
        if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < LAST_STEP:
            self.broken += 1
            return
        self.last = max(self.last or 0, step)
        if "metrics" in row:
            self._add(self.metrics, step, row["metrics"])
            return
        self._add(self.rates, step, row.get("lr"))
        if "samples_per_second" in row:
            self.speed.add(step, row["samples_per_second"])
        if math.isfinite(seconds := plain(row.get("seconds"))):
            self.seconds = seconds
        self._add(self.terms, step, {name: value for name, value in row.items() if "/" in name})


def read(path: Path) -> Log:
    """The log at `path`; lines that are no rows are counted and passed over. :class:`GankitError` as of its reader."""
    log = Log()
    for row in log_lines(path):
        if row is None:
            log.broken += 1
        else:
            log.add(row)
    return log


def plain(value: object) -> float:
    """A number that can be drawn; NaN for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        number = float(value)
    except OverflowError:
        return math.nan
    if abs(number) < 1 / LARGEST:
        return 0.0
    return number if abs(number) <= LARGEST else math.nan


__all__ = ["Curve", "Log", "plain", "read"]
