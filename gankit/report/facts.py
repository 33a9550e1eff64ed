"""What is known of a run, read from its directory; what is missing or damaged is said, and the rest is there."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from gankit.discovery.entry_points import datasets, load_dataset, load_variant, variants
from gankit.errors import GankitError
from gankit.json_file import read_object, shortened
from gankit.options.changed import Change, changed, command
from gankit.options.resolve import WHOLE, Resolved, read_toml, resolve
from gankit.options.schema import flattened
from gankit.plugin import Dataset, Variant
from gankit.report import log
from gankit.report.log import Log
from gankit.report.pictures import Picture, Series, series_of
from gankit.runs.checkpoint import read_state
from gankit.runs.directory import RunDir
from gankit.runs.log import JUDGED, log_lines

NEIGHBOURS = "neighbours"
"""Stem of the name of a sheet of samples beside their nearest training images."""


@dataclass
class Facts:
    """A run as a page tells of it. Every text in it is the run's own, and no more to be trusted than that."""

    path: Path
    name: str = ""
    """What it is called among the runs of a page: as much of its path as it takes."""
    problems: list[str] = field(default_factory=list)
    variant: str = "?"
    dataset: str = "?"
    preset: str = "default"
    stage: str = ""
    steps: int | None = None
    """To which it was to be trained."""
    step: int | None = None
    """To which it is trained, as far as that is saved."""
    state: str = ""
    """Where it stands, in words."""
    seconds: float | None = None
    best: Mapping[str, Any] | None = None
    checkpoints: Sequence[str] = ()
    finished: bool = False
    log: Log = field(default_factory=Log)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    judged: Sequence[Mapping[str, Any]] = ()
    """What ``gankit eval`` found, the latest last."""
    expected: Mapping[str, str] = field(default_factory=dict)
    own_metrics: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """All, dotted."""
    changes: Mapping[str, Change] | None = None
    """None: it is not known what is usual."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    way: str = ""
    """What there is to say of the command, or in place of one."""
    series: list[Series] = field(default_factory=list)
    neighbours: Picture | None = None
    numbers: list[str] = field(default_factory=list)
    """Names of files of samples that are no images."""

    @property
    def best_step(self) -> int | None:
        step = self.best.get("step") if self.best else None
        return step if isinstance(step, int) else None

    @property
    def floor(self) -> dict[str, float]:
        """The figures of held-out real images, by metric."""
        protocol = self.evaluation.get("protocol")
        found = protocol.get("floor") if isinstance(protocol, Mapping) else None
        numbers = {name: log.plain(value) for name, value in found.items()} if isinstance(found, Mapping) else {}
        return {name: value for name, value in numbers.items() if math.isfinite(value)}

    @property
    def meanings(self) -> dict[str, str]:
        """How metrics are measured, by the name of what is measured."""
        protocol = self.evaluation.get("protocol")
        found = protocol.get("metrics") if isinstance(protocol, Mapping) else None
        return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, Mapping) else {}

    @property
    def notes(self) -> list[str]:
        """What the last evaluation says that a reader should know."""
        found = self.evaluation.get("notes")
        return [note for note in found if isinstance(note, str)] if isinstance(found, list) else []

    @property
    def pictures(self) -> list[Picture]:
        return [p for series in self.series for p in series.pictures] + ([self.neighbours] if self.neighbours else [])


def gather(
    directory: RunDir,
    variant: type[Variant[Any]] | None = None,
    dataset: type[Dataset[Any]] | None = None,
    *,
    training: bool = False,
) -> Facts:
    """What the run in `directory` has to show.

    `variant` and `dataset` are the classes that it was made of, where they are at hand; else plugins of its names.
    `training`: it is this process that trains it.
    """
    facts = Facts(directory.path, directory.path.resolve().name)
    for name in ("environment", "evaluation"):
        if os.path.lexists(file := directory.path / f"{name}.json"):
            with _told(facts, file.name):
                setattr(facts, name, read_object(file, "the report is made without it"))
    with _told(facts, JUDGED):
        facts.judged = [
            row for row in log_lines(directory.path / JUDGED) if row and isinstance(row.get("metrics"), Mapping)
        ]
    _read_config(facts, variant, dataset)
    _read_log(facts)
    _read_checkpoints(facts, directory)
    facts.state = _state(facts, directory, training=training)
    with _told(facts, "Its samples"):
        _read_samples(facts)
    return facts


def _read_config(facts: Facts, variant: type[Variant[Any]] | None, dataset: type[Dataset[Any]] | None) -> None:
    """The options, what is usual, the command, and what the variant says of its curves."""
    file = facts.path / "config.toml"
    with _told(facts, "config.toml"):
        content = read_toml(file)
        facts.variant, facts.dataset = str(content.get("variant", "?")), str(content.get("dataset", "?"))
        facts.preset = str(content.get("preset", "default"))
        left = ("variant", "dataset", "preset", WHOLE)
        facts.options = dict(flattened({name: value for name, value in content.items() if name not in left}))
        steps, stage = content.get("steps"), content.get("stage")
        facts.steps = steps if isinstance(steps, int) and 0 <= steps < 2**63 else None
        facts.stage = str(stage) if isinstance(stage, int) else ""
    if not facts.options:
        return
    try:
        variant = variant or load_variant(facts.variant)
        dataset = dataset or load_dataset(facts.dataset)
        config = resolve(variant, dataset, variant=facts.variant, dataset=facts.dataset, file=file)
    except GankitError as error:
        said = shortened(str(error).partition("\n")[0])
        facts.problems.append(f"What its plugin says is left out, and what is usual is not known: {said}")
        facts.way = "The plugin that made it is not at hand; its config.toml holds every option of the run."
        return
    with _told(facts, "What differs from the defaults"):
        facts.changes = changed(config, variant, dataset)
    _read_command(facts, config, variant, dataset)
    with _told(facts, "What to expect of the variant"):
        made = variant(config.options)
        facts.expected = {k: v for k, v in made.expect().items() if isinstance(v, str)}
        facts.own_metrics = dict(made.metrics)


def _read_command(facts: Facts, config: Resolved, variant: type[Variant[Any]], dataset: type[Dataset[Any]]) -> None:
    kinds = (
        ("variant", _installed(facts.variant, variants(), load_variant), facts.variant, variant),
        ("dataset", _installed(facts.dataset, datasets(), load_dataset), facts.dataset, dataset),
    )
    imported = facts.environment.get("imported")
    if isinstance(imported, Mapping):
        listed = imported.get("files")
        files = listed if isinstance(listed, list) else []
        named = ", ".join(str(one.get("name", "?")) for one in files if isinstance(one, Mapping))
        facts.way = f"It began with weights of {imported.get('format', '?')} ({named}), of which gankit import makes "
        facts.way += "such a run; their digests are in environment.json."
    elif loose := next(((kind, name, cls) for kind, found, name, cls in kinds if found is not cls), None):
        kind, name, cls = loose
        facts.way = (
            f"No command makes it again: its {kind} {name!r} is the Python class {cls.__qualname__}, which no "
            "installed plugin brings. In Python, gankit.train takes the class, and the run's config.toml as config. "
        )
    else:
        processes = facts.environment.get("processes")
        with _told(facts, "The command to repeat it"):
            number = processes if isinstance(processes, int) and 1 <= processes < 2**20 else 1
            facts.command = command(config, variant, dataset, facts.path / "config.toml", number, _init(facts))
    earlier = facts.environment.get("previous_stage")
    if isinstance(earlier, Mapping):
        place, name = (str(earlier.get(key, "?")) for key in ("run", "checkpoint"))
        facts.way += f"It builds on another run, {name} of {place} seen from its directory: that has to be there first."


def _init(facts: Facts) -> Path | None:
    """The checkpoint that it started from."""
    init = facts.environment.get("init")
    if not isinstance(init, Mapping):
        return None
    place, name = (str(init.get(key, "?")) for key in ("run", "checkpoint"))
    return Path(os.path.normpath(facts.path / place / "checkpoints" / name))


def _installed(name: str, found: Collection[str], load: Callable[[str], type]) -> type | None:
    try:
        return load(name) if name in found else None
    except GankitError:
        return None


def _read_log(facts: Facts) -> None:
    file = facts.path / "log.jsonl"
    with _told(facts, file.name):
        facts.log = log.read(file)
    if not file.exists():
        facts.problems.append("There is no log.jsonl yet: there are no curves.")
    elif facts.log.last is None:
        facts.problems.append("Nothing is logged yet: there are no curves.")
    if broken := facts.log.broken:
        lines = "a line that is" if broken == 1 else f"{broken:,} lines that are"
        facts.problems.append(f"log.jsonl has {lines} no row of a log, passed over here.")
    if facts.log.left_out:
        facts.problems.append(f"log.jsonl has more than {log.NAMES} names of numbers; the others are left out.")


def _read_checkpoints(facts: Facts, directory: RunDir) -> None:
    """Where it stands, by the newest checkpoint that says so."""
    with _told(facts, "Its checkpoints"):
        facts.checkpoints = directory.checkpoints()
    for name in reversed(facts.checkpoints):
        try:
            state = read_state(directory.store / name)
        except GankitError as error:
            facts.problems.append(shortened(str(error).partition("\n")[0]))
            continue
        facts.step, facts.seconds, facts.best = state["step"], state["seconds"], state["best"]
        facts.finished = facts.steps is not None and facts.step >= facts.steps and not state["owed"]
        return


def _state(facts: Facts, directory: RunDir, *, training: bool) -> str:
    """Where a run stands, in words."""
    if facts.finished:
        return "finished"
    if training or directory.is_locked():
        return "still training when this page was made"
    if facts.step == 0 and "imported" in facts.environment:
        return "imported, and not trained here yet"
    return f"stopped before its end; it goes on with: gankit resume {quote(str(directory.path))}"


def _read_samples(facts: Facts) -> None:
    facts.series = series_of(facts.path, facts.best_step)
    facts.numbers = sorted(file.name for file in (facts.path / "samples").glob("*.npy"))
    sheets = [facts.path / f"{NEIGHBOURS}.png", *sorted(facts.path.glob(f"{NEIGHBOURS}-*.png"), reverse=True)]
    facts.neighbours = next((Picture(sheet) for sheet in sheets if sheet.exists()), None)
    if not facts.series and not facts.numbers:
        facts.problems.append("There are no samples yet.")


@contextmanager
def _told(facts: Facts, what: str) -> Iterator[None]:
    """What fails while it is entered is a problem of the run's, and no more."""
    try:
        yield
    except GankitError as error:
        facts.problems.append(shortened(str(error).partition("\n")[0]))
    except Exception as error:  # a plugin's, or a file's that is not what it was
        facts.problems.append(f"{what} is left out: {shortened(f'{type(error).__name__}: {error}')}")


__all__ = ["Facts", "gather"]
