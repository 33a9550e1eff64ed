"""From what a user asks for to trained runs: options resolved, everything checked, earlier stages found or trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gankit.config import Resolved, read_toml, resolve
from gankit.discover import load_dataset, load_variant
from gankit.errors import UsageError
from gankit.plugin import Dataset, Variant
from gankit.training.environment import environment
from gankit.training.events import Note, OnEvent
from gankit.training.judging import check_metric
from gankit.training.run_dir import RunDir
from gankit.training.session import Session, build_networks, check_requirements
from gankit.training.stages import check_inherits, find_previous, inherited_weights
from gankit.training.trainer import Trainer

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
        return cls(kind, source, (name, label), preset, file, flat, out, tell)

    def resolve(self, stage: int | None = None) -> Resolved:
        options = self.options if stage is None else {**self.options, "stage": stage}
        source = self.dataset
        return resolve(
            self.variant,
            type(source) if isinstance(source, Dataset) else source,
            variant=self.names[0],
            dataset=self.names[1],
            preset=self.preset,
            file=self.config,
            options=options,
        )

    def session(self, resolved: Resolved) -> Session:
        return Session(self.variant(resolved.options), self.open(resolved, "train"), resolved)

    def train(self) -> Trained:
        resolved = self.resolve()
        if self.variant.stages == 1:
            return self._run(resolved)
        if resolved.stage is not None:
            return self._stage(resolved.stage)
        trained = self._stage(1)
        for stage in range(2, self.variant.stages + 1):
            trained = self._stage(stage, trained[0])
        return trained

    def _stage(self, stage: int, previous: RunDir | None = None) -> Trained:
        if not 1 <= stage <= self.variant.stages:
            raise UsageError(f"stage {stage}: {self.names[0]} has the stages 1 to {self.variant.stages}.")
        resolved = self.resolve(stage)
        if stage == 1:
            return self._run(resolved)
        variant = self.variant(resolved.options)
        if previous is None:
            previous = self._find_previous(resolved, variant)
        if previous is None:
            self.tell(
                Note(text=f"Stage {stage} builds on stage {stage - 1}, which is not trained yet: training it first.")
            )
            previous = self._stage(stage - 1)[0]
        else:
            self.tell(Note(text=f"Stage {stage} builds on stage {stage - 1} in {previous.path}."))
        return self._run(resolved, previous)

    def _find_previous(self, resolved: Resolved, variant: Variant[Any]) -> RunDir | None:
        assert resolved.stage is not None
        wanted = self.resolve(resolved.stage - 1)
        train = self.open(resolved, "train")
        check_requirements(variant, train, resolved.dataset)
        networks = build_networks(variant, train, resolved.run.seed)
        check_inherits(variant.inherits(), networks)
        return find_previous(self.out, wanted, self.variant, type(train), variant.inherits(), networks)

    def open(self, resolved: Resolved, split: Literal["train", "test"]) -> Dataset[Any]:
        source = self.dataset
        if not isinstance(source, Dataset):
            return source(resolved.data, split)
        return source if source.split == split else type(source)(resolved.data, split)

    def _run(self, resolved: Resolved, previous: RunDir | None = None) -> Trained:
        """One training, into a new directory, once everything that can be checked has been."""
        dataset = self.open(resolved, "train")
        for text in dataset.notes():
            self.tell(Note(text=text))
        variant = self.variant(resolved.options)
        session = Session(variant, dataset, resolved)
        inherits = variant.inherits() if previous else {}
        check_inherits(inherits, session.networks)
        inherited = inherited_weights(previous, inherits) if previous else None
        test = self.open(resolved, "test")
        if resolved.run.eval_every:
            check_metric(variant.metric)
        directory = RunDir.create(self.out, *self.names)
        self._describe(directory, resolved, session, previous)
        Trainer(session, directory, test, self.tell).fit(None, inherited)
        return directory, resolved

    def _describe(self, directory: RunDir, resolved: Resolved, session: Session, previous: RunDir | None) -> None:
        described = environment(session.device, self.variant, type(session.dataset))
        if previous is not None:
            origin = {"run": directory.relative(previous.path), "checkpoint": previous.resolve("best")}
            described["previous_stage"] = origin
        (directory.path / "environment.json").write_text(json.dumps(described, indent=1) + "\n")
        resolved.save(directory.path / "config.toml")


__all__ = ["Job"]
