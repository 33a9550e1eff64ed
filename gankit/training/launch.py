"""The road from what a user asks for to trained runs: new ones, those that go on, and the stages before and after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from gankit.data.source import DataSource
from gankit.discovery.entry_points import load_dataset, load_variant
from gankit.errors import UsageError
from gankit.events import Note, OnEvent
from gankit.files import replace_text
from gankit.options.effect import idle
from gankit.options.resolve import OF_ONE_STAGE, Resolved, options_of, read_toml, resolve
from gankit.options.spelling import give
from gankit.plugin import Dataset, Variant
from gankit.processes import ALONE, World, launch_id
from gankit.runs.directory import RunDir, runs_in
from gankit.runs.environment import environment, launched
from gankit.training import resume
from gankit.training.changes import its_options, names_in, not_taken_over
from gankit.training.leading import TrainedRun
from gankit.training.ready import Ready, fingerprints, make_ready, tell_faster, tell_notes
from gankit.training.rehearsal import rehearse
from gankit.training.stages import EarlierStage, find_earlier, read_config, read_earlier, still_inherited, unfinished
from gankit.training.start import Start, began_with, read_start, start_of
from gankit.training.trainer import Trainer


@dataclass(frozen=True)
class TrainRequest:
    """What a user asks to be trained: of a variant with stages one of them, or all."""

    variant: type[Variant[Any]]
    source: DataSource
    names: tuple[str, str]
    """Of the variant and of the dataset, as they stand in a run's config and path."""
    preset: str | None
    config: Path | None
    in_file: frozenset[str]
    """The dotted names of the options that the file `config` says."""
    options: Mapping[str, Any]
    """By dotted name."""
    out: Path
    tell: OnEvent
    world: World = ALONE
    init: Path | None = None
    """A run, or a checkpoint of one, from whose weights a new one starts."""
    launch: str | None = None
    """See :func:`gankit.processes.launch_id`."""

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
        world: World = ALONE,
        init: str | Path | None = None,
    ) -> TrainRequest:
        """From the arguments of :func:`gankit.train`; plugins are loaded by name."""
        file = Path(config) if config is not None else None
        content = read_toml(file) if file else {}
        loaded = load_variant(variant) if isinstance(variant, str) else variant
        name = variant if isinstance(variant, str) else variant.__name__.lower()
        flat: dict[str, Any] = {key.replace("__", "."): value for key, value in options.items()}
        if isinstance(dataset, Dataset):
            source, label = DataSource(dataset), type(dataset).__name__.lower()
        else:
            label = dataset or content.get("dataset") or str(getattr(loaded, "dataset", ""))
            if not label:
                raise UsageError(f"{loaded.__name__} names no dataset of its own: give one, open or by name.")
            source = DataSource(load_dataset(label))
        said = frozenset(names_in(options_of(content, label)))
        if isinstance(dataset, Dataset):  # what the file says is left to it, so that a contradiction shows
            flat = {**{key: value for key, value in its_options(dataset.config) if key not in said}, **flat}
        begun = Path(init) if init is not None else None
        return cls(
            loaded, source, (name, label), preset, file, said, flat, out.expanduser(), tell, world, begun, launch_id()
        )

    def resolve(self, stage: int | None = None, implied_by: int | None = None) -> Resolved:
        """The options, of `stage` if given; `implied_by`: the stage asked for, if this is one that leads to it."""
        resolved = resolve(
            self.variant,
            self.source.cls,
            variant=self.names[0],
            dataset=self.names[1],
            preset=self.preset,
            file=self.config,
            options=self.options if stage is None else {**self.options, "stage": stage},
            implied_by=implied_by,
        )
        self.source.check(resolved.data, "leave the option out, or give a dataset that was made with it.")
        return resolved

    def asked(self) -> Resolved:
        """The options of a new run; :class:`UsageError` if one that was given does nothing in any of the stages."""
        resolved = self.resolve()
        self._check_init(resolved)
        if self.variant.stages == 1:
            wanted, before = [resolved], []
        else:
            stage = resolved.stage
            wanted = [self.resolve(n) for n in ([stage] if stage else range(1, self.variant.stages + 1))]
            before = [self.resolve(n, implied_by=stage) for n in range(1, min(stage or 1, self.variant.stages))]
        first, *others = (self._idle(one) for one in wanted)
        earlier = [self._idle(one) for one in before]
        for option, text in first.items():
            apart = option.partition(".")[0] in OF_ONE_STAGE  # then the stages before do not take it
            if all(option in other for other in (others if apart else [*others, *earlier])):
                raise UsageError(text)
        return resolved

    def _check_init(self, resolved: Resolved) -> None:
        if self.init is None and resolved.run.freeze:
            what = f"freeze = {','.join(resolved.run.freeze)} keeps layers as they came"
            raise UsageError(f"{what}, and a new run has none that came: give the run to start from (--init RUN).")
        if self.init is not None and self.variant.stages > 1 and resolved.stage is None:
            raise UsageError(f"--init {self.init} is where one stage starts: say which ({give('stage', 1)}).")

    def _start(self, ready: Ready) -> Start | None:
        """What of `init` a training takes over: that of the stage asked for."""
        if self.init is None or ready.session.resolved.stage != self.resolve().stage:
            return None
        return read_start(*start_of(self.init), ready.session.networks)

    def _idle(self, resolved: Resolved) -> dict[str, str]:
        """Of the options given those that do nothing. Those in a file are let pass: it may serve several runs."""
        given = set(names_in(self.options))
        return {
            **idle(resolved.run, given),
            **idle(resolved.options, given),
            **idle(resolved.data, given, "data."),
        }

    def open(self, resolved: Resolved, tell: OnEvent | None = None) -> Ready:
        """A training with these options, with everything open, and loaded if there is somebody to `tell`."""
        return make_ready(self.variant, self.source, resolved, tell, self.world)

    def ready(self, resolved: Resolved, tell: OnEvent | None = None) -> Ready:
        """The same, once it was seen to take a step and to draw."""
        ready = self.open(resolved, tell)
        rehearse(ready)
        return ready

    def train(self) -> TrainedRun:
        """Train what was asked for, after the earlier stages that are missing."""
        todo, ready, earlier = self.missing(self.tell)
        if asked := self.resolve().stage:
            for resolved in reversed(todo[:-1]):
                self.tell(Note(text=self._implied(resolved, asked)))
        run = self._begin(ready, earlier)
        for resolved in todo[1:]:
            ready = self.open(resolved, self.tell)
            run = self._begin(ready, read_earlier(run, ready.session.variant.inherits()))
        return TrainedRun(run, todo[-1])

    def missing(self, tell: OnEvent | None = None) -> tuple[list[Resolved], Ready, EarlierStage | None]:
        """What to train, in this order; the first of it, ready; and the earlier stage that it builds on.

        A variant without stages, and the first stage, build on none. Without a stage asked for all are trained; before
        one that is asked for those that no finished run under `out` stands for. Each was ready once: what is
        wrong with a later stage is said before an earlier one is trained.
        """
        asked = self.asked()
        stages = self.variant.stages
        if stages == 1:
            ready = self.ready(asked, tell)
            self._start(ready)  # what is wrong with it is said before anything is begun
            return [asked], ready, None
        if asked.stage is None:
            todo = [self.resolve(stage) for stage in range(1, stages + 1)]
            for resolved in reversed(todo):
                ready = self.ready(resolved, tell)
            return todo, ready, None
        if not 1 <= asked.stage <= stages:
            raise UsageError(f"stage {asked.stage}: {self.names[0]} has the stages 1 to {stages}.")
        todo = [asked]
        ready = self.ready(asked, tell)
        start = self._start(ready)
        if start and not still_inherited(ready.session.variant, start):
            return todo, ready, None
        for stage in range(asked.stage - 1, 0, -1):
            before = self.resolve(stage, implied_by=asked.stage)
            inherits, networks = ready.session.variant.inherits(), ready.session.networks
            if found := find_earlier(self.out, before, self.variant, self.source.cls, inherits, networks):
                return todo, ready, found
            todo.insert(0, before)
            ready = self.ready(before, tell)
        return todo, ready, None

    def _implied(self, resolved: Resolved, asked: int) -> str:
        """What is said of a stage that has to be trained first."""
        stage = resolved.stage or 1
        alone = sorted({name.partition(".")[0] for name in self.options} & OF_ONE_STAGE)
        text = f"Stage {stage + 1} builds on stage {stage}, which is not "
        if begun := unfinished(self.out, resolved, self.variant, self.source.cls):
            text += f"trained to its end in {begun.path}: training it anew (--resume goes on with it instead, as does: "
            text += f"gankit resume {quote(str(begun.path))})"
        else:
            text += "trained yet: training it first"
        return text + (f" (of the options given, {', '.join(alone)} hold for stage {asked} alone)." if alone else ".")

    def _begin(self, ready: Ready, earlier: EarlierStage | None) -> RunDir:
        """Train into a new directory."""
        session = ready.session
        if earlier is not None and (stage := session.resolved.stage):
            self.tell(Note(text=f"Stage {stage} builds on stage {stage - 1} in {earlier.run.path}."))
        tell_notes(ready, self.tell)
        tell_faster(session, self.tell)
        config = session.resolved.to_toml()
        directory = RunDir.create(self.out, *self.names)
        described = environment(session.device, self.variant, self.source.cls)
        described |= {"processes": self.world.size, "launch": self.launch} if self.launch else {}
        if earlier is not None:
            origin = {"run": directory.relative(earlier.run.path), "checkpoint": earlier.checkpoint}
            described["previous_stage"] = origin
        if (start := self._start(ready)) is not None:
            described["init"] = start.origin(directory)
            self.tell(Note(text=start.describe()))
        with directory.lock():  # until it is trained: once it has a config.toml others may take it for theirs
            replace_text(directory.path / "environment.json", json.dumps(described, indent=1) + "\n")
            directory.keep_spec(session.spec, fingerprints(ready))
            replace_text(directory.path / "config.toml", config)  # last: with it the directory is a run
            Trainer(session, directory, ready.test, self.tell).fit(None, earlier.weights if earlier else None, start)
        return directory

    def resume(self, launch: str | None = None) -> TrainedRun:
        """Go on with the latest run of this variant and dataset, and train the stages that are missing after it.

        Of a variant with stages, with the latest that is of no later stage than the one asked for. If there is none,
        as :meth:`train`. With `launch` only those count that were begun under that name.
        """
        asked = self.resolve().stage
        last = asked or self.variant.stages
        run = self._latest(last, launch)
        if run is None:
            return self.train()
        current = run.resolved.stage or 1
        steps = self._more_steps(run, asked)
        text = f"Going on with {run.directory.path}, with the options it was started with."
        other = ["init"] if self.init and not began_with(run.directory, self.init) else []
        if left := [*other, *self._left_out(run, asked, steps)]:
            text += f" Of those given now it does not take over {', '.join(left)}."
        self.tell(Note(text=text))
        resolved = resume.resume(run.directory, self.variant, self.source, steps, self.tell, self.world)
        run = TrainedRun(run.directory, resolved)
        for stage in range(current + 1, last + 1) if asked is None else [last] if current < last else []:
            run = self._of_stage(stage).train()
        return run

    def _latest(self, last: int, launch: str | None) -> TrainedRun | None:
        """The newest run of none but the stages up to `last`."""
        for directory in runs_in(self.out / "-".join(self.names)):
            if launch is not None and launched(directory.path) != launch:
                continue
            resolved = read_config(directory, self.variant, self.source.cls)
            if (resolved.stage or 1) <= last:
                return TrainedRun(directory, resolved)
        return None

    def _left_out(self, run: TrainedRun, asked: int | None, steps: int | None) -> list[str]:
        """The options given, also by a file or a preset, in which `run` differs, though it goes on to `steps`."""
        stage = run.resolved.stage
        given = {*names_in(self.options), *self.in_file} - {"stage"}
        if self.preset is not None:
            chosen = dict(self.variant.presets.get(self.preset, {}))
            overlays = {key: chosen.pop(key) for key in list(chosen) if key.startswith("stage") and key[5:].isdecimal()}
            given |= {*names_in(chosen), *names_in(overlays.get(f"stage{stage}", {}))}
        leads_to = asked if asked != stage else None
        if leads_to is not None:
            given = {name for name in given if name.partition(".")[0] not in OF_ONE_STAGE}
        if steps is not None:
            given.discard("steps")
        mine = self.resolve(stage, implied_by=leads_to)
        return not_taken_over(given, mine.to_dict(), run.resolved.to_dict())

    def _more_steps(self, run: TrainedRun, asked: int | None) -> int | None:
        """The steps given, where they are more than the run was to have; of a stage asked for, and it alone."""
        stage = run.resolved.stage
        if "steps" not in {*self.options, *self.in_file} or (asked is not None and stage != asked):
            return None
        steps = self.resolve(stage).run.steps
        return steps if steps > run.resolved.run.steps else None

    def _of_stage(self, stage: int) -> TrainRequest:
        """This request, of `stage` alone: what starts from another run is the stage asked for."""
        if stage == self.resolve().stage:
            return self
        kept = {name: value for name, value in self.options.items() if name != "freeze"}
        return replace(self, options={**kept, "stage": stage}, init=None)


__all__ = ["TrainRequest", "TrainedRun"]
