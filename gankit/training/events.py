"""What a training tells whoever watches: the command line's progress, a notebook, a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gankit.errors import GankitError


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """Training begins, or goes on after `step` of `steps` steps."""

    path: Path
    step: int
    steps: int
    stage: int | None
    device: str
    parameters: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A line of ``log.jsonl``: `values` are means since the line before, keyed ``phase/term``."""

    step: int
    steps: int
    values: Mapping[str, float]
    lr: Mapping[str, float]
    samples_per_second: float
    seconds: float
    """Spent on the run so far, over all sittings."""
    seconds_left: float
    """That the remaining steps take at the speed of these."""


@dataclass(frozen=True, kw_only=True)
class Sampled:
    step: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Saved:
    step: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    step: int
    metrics: Mapping[str, float]
    best: bool


@dataclass(frozen=True, kw_only=True)
class Note:
    """A line the user should read."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    path: Path
    steps: int
    seconds: float
    values: Mapping[str, float]
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    path: Path
    step: int


Event = RunStarted | Logged | Sampled | Saved | Evaluated | Note | Finished | Interrupted
OnEvent = Callable[[Event], None]


class RunInterrupted(GankitError):
    """Ctrl-C or SIGTERM: the run was saved and can go on."""

    exit_code = 130


class TrainingDiverged(GankitError):
    """A loss term or a weight became NaN or infinite."""


def ignore(event: Event) -> None:
    """The default listener."""
