"""What a training tells whoever watches: the command line's progress, a notebook, a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gankit.errors import GankitError

T = TypeVar("T")


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
class Paced:
    """After the first few steps of a sitting: what the `steps` will take, before the first :class:`Logged` says it."""

    step: int
    steps: int
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A line of ``log.jsonl``: `values` are means since the line before, keyed ``phase/term``."""

    step: int
    steps: int
    values: Mapping[str, float]
    lr: Mapping[str, float]
    """By phase; by ``phase/network`` where each network of a phase has an optimiser of its own."""
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
    metric: str | None = None
    """By which of them the best checkpoint is kept."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A line the user should read."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Work that takes long and is no training: `done` of `total` parts of it.

    Told up to `total`, from 0 on or from where an earlier sitting stopped.
    """

    what: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Reported:
    """The page about a run that has come to its end is written: one HTML file."""

    path: Path


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


Event = RunStarted | Paced | Logged | Sampled | Saved | Evaluated | Note | Progress | Reported | Finished | Interrupted
OnEvent = Callable[[Event], None]


class RunInterrupted(GankitError):
    """Ctrl-C, SIGTERM or SIGHUP: the run was saved and can go on."""

    exit_code = 130


class TrainingDiverged(GankitError):
    """A loss term or a weight became NaN or infinite."""


def ignore(event: Event) -> None:
    """The default listener."""


def together(*listeners: OnEvent) -> OnEvent:
    """One listener that passes each event to all of `listeners`, in this order."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def progress(parts: Sequence[T], what: str, tell: OnEvent) -> Iterator[T]:
    """`parts` one after another, telling how far they are."""
    for done, part in enumerate(parts):
        tell(Progress(what=what, done=done, total=len(parts)))
        yield part
    tell(Progress(what=what, done=len(parts), total=len(parts)))
