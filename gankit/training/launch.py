"""From what a user asks for to trained runs: options resolved, everything checked, earlier stages found or trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from pydantic import BaseModel

from gankit.discovery.entry_points import load_dataset, load_variant
from gankit.errors import UsageError
from gankit.events import Note, OnEvent
from gankit.files import replace_text
from gankit.options.resolve import OF_ONE_STAGE, Resolved, read_toml, resolve
from gankit.plugin import Dataset, Variant
from gankit.runs.directory import RunDir
from gankit.runs.environment import environment
from gankit.training.session import Session, build_networks, check_requirements
from gankit.training.stages import check_inherits, find_previous, inherited_weights, unfinished
from gankit.training.trainer import Trainer
from gankit.training.validation import check_metric

Trained = tuple[RunDir, Resolved]


@dataclass(frozen=True)
class Job:
    """What was asked for, before the stage is settled."""

    variant: type[Variant[Any]]
    dataset: type[Dataset[Any]] | Dataset[Any]
    names: tuple[str, str]
    preset: str | None
    config: Path | None
    options: Mapping[str, Any]
    out: Path
    tell: OnEvent

    @classmethod
    def make(
        cls,
        variant: str | type[Variant[Any]],
        dataset: str | Dataset[Any] | None,
        preset: str | None,
        config: str | Path | None,
        options: Mapping[str, Any],
        out: Path,
        tell: OnEvent,
    ) -> Job:
        file = Path(config) if config is not None else None
        content = read_toml(file) if file else {}
        kind = load_variant(variant) if isinstance(variant, str) else variant
        name = variant if isinstance(variant, str) else variant.__name__.lower()
        flat: dict[str, Any] = {key.replace("__", "."): value for key, value in options.items()}
        if isinstance(dataset, Dataset):
            flat = {"data": dataset.config.model_dump(), **flat}
            source: type[Dataset[Any]] | Dataset[Any] = dataset
            label = type(dataset).__name__.lower()
        else:
            label = dataset or content.get("dataset") or kind.dataset
            source = load_dataset(label)
        return cls(kind, source, (name, label), preset, file, flat, out.expanduser(), tell)

    def resolve(self, stage: int | None = None, implied_by: int | None = None) -> Resolved:
        options = self.options if stage is None else {**self.options, "stage": stage}
        return resolve(
            self.variant,
            self._dataset_class,
            variant=self.names[0],
            dataset=self.names[1],
            preset=self.preset,
            file=self.config,
            options=options,
            implied_by=implied_by,
        )

    def session(self, resolved: Resolved) -> Session:
        return Session(self.variant(resolved.options), self.open(resolved, "train"), resolved)

    def train(self) -> Trained:
        todo, previous = self.todo()
        *earlier, last = todo
        if asked := self.resolve().stage:
            for resolved in reversed(earlier):
                self.tell(Note(text=self._implied(resolved, asked)))
        for resolved in earlier:
            previous = self._run(resolved, previous)
        return self._run(last, previous), last

    def todo(self) -> tuple[list[Resolved], RunDir | None]:
        """What to train, in this order, and the run that the first of it builds on.

        A variant without stages, and the first stage, build on none. Without a stage asked for all are trained; before
        one that is asked for those that no finished run under `out` stands for.
        """
        asked = self.resolve()
        stages = self.variant.stages
        if stages == 1:
            return [asked], None
        if asked.stage is None:
            return [self.resolve(stage) for stage in range(1, stages + 1)], None
        if not 1 <= asked.stage <= stages:
            raise UsageError(f"stage {asked.stage}: {self.names[0]} has the stages 1 to {stages}.")
        todo = [asked]
        while (stage := todo[0].stage or 1) > 1:
            before = self.resolve(stage - 1, implied_by=asked.stage)
            if found := self._find_previous(todo[0], before):
                return todo, found
            todo.insert(0, before)
        return todo, None

    def _implied(self, resolved: Resolved, asked: int) -> str:
        """What is said of a stage that has to be trained first."""
        stage = resolved.stage or 1
        alone = sorted({name.partition(".")[0] for name in self.options} & OF_ONE_STAGE)
        text = f"Stage {stage + 1} builds on stage {stage}, which is not "
        if begun := unfinished(self.out, resolved, self.variant, self._dataset_class):
            text += f"trained to its end in {begun.path}: training it anew (--resume goes on with it instead, as does: "
            text += f"gankit resume {quote(str(begun.path))})"
        else:
            text += "trained yet: training it first"
        return text + (f" (of the options given, {', '.join(alone)} hold for stage {asked} alone)." if alone else ".")

    @property
    def _dataset_class(self) -> type[Dataset[Any]]:
        return type(self.dataset) if isinstance(self.dataset, Dataset) else self.dataset

    def _find_previous(self, resolved: Resolved, wanted: Resolved) -> RunDir | None:
        variant = self.variant(resolved.options)
        train = self.open(resolved, "train")
        check_requirements(variant, train, resolved.dataset)
        networks = build_networks(variant, train.spec, resolved.run.seed)
        check_inherits(variant.inherits(), networks)
        return find_previous(self.out, wanted, self.variant, self._dataset_class, variant.inherits(), networks)

    def open(self, resolved: Resolved, split: Literal["train", "test"]) -> Dataset[Any]:
        return open_split(self.dataset, resolved.data, split)

    def _run(self, resolved: Resolved, previous: RunDir | None = None) -> RunDir:
        """One training, into a new directory, once everything that can be checked has been."""
        if previous is not None and resolved.stage is not None:
            self.tell(Note(text=f"Stage {resolved.stage} builds on stage {resolved.stage - 1} in {previous.path}."))
        dataset = self.open(resolved, "train")
        tell_notes(self.tell, dataset)
        variant = self.variant(resolved.options)
        session = Session(variant, dataset, resolved)
        inherits = variant.inherits() if previous else {}
        check_inherits(inherits, session.networks)
        inherited = inherited_weights(previous, inherits) if previous else None
        test = self.open(resolved, "test")
        tell_notes(self.tell, test, known=dataset.notes())
        if resolved.run.eval_every:
            check_metric(variant.metric)
        directory = RunDir.create(self.out, *self.names)
        self._describe(directory, resolved, session, previous)
        Trainer(session, directory, test, self.tell).fit(None, inherited)
        return directory

    def _describe(self, directory: RunDir, resolved: Resolved, session: Session, previous: RunDir | None) -> None:
        described = environment(session.device, self.variant, type(session.dataset))
        if previous is not None:
            origin = {"run": directory.relative(previous.path), "checkpoint": previous.resolve("best")}
            described["previous_stage"] = origin
        (directory.path / "environment.json").write_text(json.dumps(described, indent=1) + "\n")
        directory.keep_spec(session.spec)
        replace_text(directory.path / "config.toml", resolved.to_toml())  # last: with it the directory is a run


def tell_notes(tell: OnEvent, dataset: Dataset[Any], known: Sequence[str] = ()) -> None:
    """What the user should read about the data, but for what is known."""
    for text in dataset.notes():
        if text not in known:
            tell(Note(text=text))


def open_split(
    source: type[Dataset[Any]] | Dataset[Any], config: BaseModel, split: Literal["train", "test"]
) -> Dataset[Any]:
    """A split of a dataset, given as its class or as one of its splits."""
    if not isinstance(source, Dataset):
        return source(config, split)
    return source if source.split == split else type(source)(config, split)


__all__ = ["Job", "open_split", "tell_notes"]
