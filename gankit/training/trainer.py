"""The loop: steps, and what happens between them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from shlex import quote
from typing import Any, NoReturn

import torch
from torch import Tensor

from gankit.device import derive_seed
from gankit.errors import GankitError
from gankit.events import (
    Evaluated,
    Event,
    Finished,
    Interrupted,
    Logged,
    Note,
    OnEvent,
    Paced,
    RunInterrupted,
    RunStarted,
    Sampled,
    Saved,
    TrainingDiverged,
    ignore,
)
from gankit.files import replace_text
from gankit.plugin import Dataset
from gankit.random_state import fork_rng
from gankit.runs.checkpoint import Checkpoint
from gankit.runs.directory import RunDir
from gankit.runs.log import JsonLines
from gankit.sampling.conditions import Asked
from gankit.sampling.drawer import Drawer
from gankit.training.after_step import called_for, still_owed
from gankit.training.clock import Clock
from gankit.training.cut_short import last_good, raise_with_the_way_on
from gankit.training.interruption import Interruption
from gankit.training.leading import Leading
from gankit.training.listener import Listener
from gankit.training.preparation import PreparationStore
from gankit.training.reporting import keep_evaluation, write_report
from gankit.training.session import Session
from gankit.training.start import Start
from gankit.training.validation import evaluate_now, improves


class Trainer:
    """Trains what a :class:`Session` holds, in a run's directory, telling `on_event` what happens.

    `test` is the held-out split, for conditions of samples and for evaluation.
    """

    def __init__(
        self, session: Session, run_dir: RunDir, test: Dataset[Any] | None = None, on_event: OnEvent = ignore
    ) -> None:
        self.session, self.run_dir, self.test = session, run_dir, test
        self.run = session.resolved.run
        self.best: dict[str, Any] | None = None
        self.values: Mapping[str, float] = {}
        self.metrics: Mapping[str, float] = {}
        self._random = fork_rng(session.device)
        self.tell = Listener(on_event, self._random)
        self._interruption = Interruption(on_event, run_dir.path)
        self._clock = Clock()
        self._owed: list[str] = []
        self._saved: int | None = None
        self._asked: tuple[Asked, Asked | None] | None = None

    def fit(
        self,
        checkpoint: Checkpoint | None = None,
        inherited: Mapping[str, Mapping[str, Tensor]] | None = None,
        start: Start | None = None,
    ) -> None:
        """Trains to the last step: on from `checkpoint`, or anew, with weights `inherited` from an earlier stage, and
        what `start` has of another run.

        :class:`RunInterrupted` after Ctrl-C, :class:`TrainingDiverged` on NaN; a checkpoint is kept in both cases.
        torch's global random state is this training's meanwhile: other threads that need it get it between two steps.
        The lock of the run is the caller's, who has read and written its files before.
        """
        with self._random, self._interruption, Leading(self.session, self.run_dir.path) as self._others:
            self._clock.start()
            self.run_dir.clean()
            torch.manual_seed(derive_seed(self.run.seed, "global"))
            first = checkpoint.step if checkpoint else 0
            try:
                if checkpoint is not None:
                    self.session.restore(checkpoint, self.tell)
                    self.run_dir.repair(checkpoint)
                    replace_text(self.run_dir.path / "config.toml", self.session.resolved.to_toml())  # of more steps
                    self._clock.start(checkpoint.state["seconds"])
                    self.best, self._saved = checkpoint.state["best"], first
                    owed = still_owed(self.run, first, checkpoint.state["owed"])
                else:
                    with self._interruption.heeded_at_once():
                        store = PreparationStore(self.run_dir, self._interruption)
                        self.session.begin(self.tell, inherited, store, start)
                    owed = ["sample", "save"]
                self._others.begin(first)
                with closing(self._open_log(first)) as self._log:
                    self._train(first, owed)
            except TrainingDiverged as error:
                raise TrainingDiverged(f"{error}\n{last_good(self.run_dir)} A lower learning rate may help.") from error
            finally:
                self.session.close()

    def _open_log(self, first: int) -> JsonLines:
        path = self.run_dir.path / "log.jsonl"
        try:
            return JsonLines(path, first)
        except OSError as error:
            text = f"{path} cannot be written: {error.strerror or error}"
            raise GankitError(f"{text}. Then go on with: gankit resume {quote(str(self.run_dir.path))}") from error

    def _train(self, first: int, owed: Sequence[str]) -> None:
        session, run = self.session, self.run
        self.tell(
            RunStarted(
                path=self.run_dir.path,
                step=first,
                steps=run.steps,
                stage=session.resolved.stage,
                device=str(session.device),
                parameters={k: sum(p.numel() for p in n.parameters()) for k, n in session.networks.items()},
            )
        )
        self._clock.lap(first)
        self._settle(first, owed)
        self._clock.lap(first)
        for index in range(first, run.steps):
            if self._others.agreed_to_stop(self._interruption.requested or self.tell.gone is not None):
                with self._others.in_step(GankitError):
                    session.meter.drain()
                self._stop(index)
            step, owed = index + 1, called_for(run, index + 1)
            with self._others.in_step():
                session.train_step(index)
            with self._others.in_step(GankitError):
                session.look_back(step, owed)
            if index == 0 and session.diff_augment_unused:
                self._note("augment.diff is on, but no loss calls step.augment: nothing is augmented by it.")
            if step - first in (1, 4) and "log" not in owed:
                self._pace(step, first)
            if owed:
                self._settle(step, owed)
            self._random.give_way()
        if self.tell.gone is not None:
            self._stop(run.steps)
        write_report(session, self.run_dir, self.tell)
        self.tell(
            Finished(
                path=self.run_dir.path,
                steps=run.steps,
                seconds=self._clock.seconds,
                values=self.values,
                metrics=self.metrics,
            )
        )
        if self._interruption.requested and (stage := session.resolved.stage or 1) < session.variant.stages:
            text = f"stage {stage} is finished in {self.run_dir.path}, the next one is not begun"
            raise RunInterrupted(f"{text}. Go on with the same command and --resume")

    def _pace(self, step: int, first: int) -> None:
        """Tells after some steps how long the rest will take; without the first, which is slower than others."""
        if self.session.device.type == "cuda":
            torch.cuda.synchronize(self.session.device)
        if step == first + 1:
            self._clock.lap(step)
        elif step // self.run.log_every == first // self.run.log_every:
            left = self._clock.seconds_a_step(step) * (self.run.steps - step)
            self.tell(Paced(step=step, steps=self.run.steps, seconds_left=left))

    def _settle(self, step: int, owed: Sequence[str]) -> None:
        """Does what step `step` called for. Where that is cut short, the step is saved with what is left to do."""
        self._owed = list(owed)
        do = {"log": self._write_log, "sample": self._sample, "evaluate": self._evaluate, "save": self._save}
        pause = time.perf_counter()
        while self._owed:
            what = self._owed[0]
            try:
                do[what](step)
            except _Stopped:
                self._stop(step)
            except Exception as error:
                if what == "save" or isinstance(error, TrainingDiverged):  # then there is nothing to be saved
                    raise
                self._cut_short(error, what, step)
            self._owed = self._owed[1:]
            if what == "log":  # which restarts the clock
                pause = time.perf_counter()
        self._clock.pause(time.perf_counter() - pause)
        if step == 0:
            self.run_dir.remove_preparation()
            if self._interruption.requested or self.tell.gone is not None:
                self._stop(step)

    def _cut_short(self, error: Exception, what: str, step: int) -> NoReturn:
        """Saves step `step`, which is trained, if that can be; raises `error`, with that and the way on."""
        saved = f"Step {step} is saved."
        try:
            if self._saved != step or self._owed:
                self._save(step)
        except Exception:  # the disk is full for checkpoints too, there is no memory: `error` is what came first
            saved = last_good(self.run_dir)
        raise_with_the_way_on(error, what, step, saved, self.run_dir.path)

    def _stop(self, step: int) -> NoReturn:
        """Saves, and ends the run: a signal came, or whoever reads what is told is gone."""
        if self._saved != step or self._owed:
            self._save(step)
        if self.tell.gone is not None:
            raise self.tell.gone
        self.tell(Interrupted(path=self.run_dir.path, step=step))
        raise self._interruption.stopped(f"after step {step}")

    def _tell_unless_stopped(self, event: Event) -> None:
        """As :meth:`tell`, and ends an evaluation that a signal falls into."""
        self.tell(event)
        if self._interruption.requested or self.tell.gone is not None:
            raise _Stopped

    def _write_log(self, step: int) -> None:
        pace = self._clock.seconds_a_step(step)
        speed = self.run.batch_size * self.run.accumulate / pace if pace else 0.0
        self._clock.lap(step)
        sums = self.session.meter.state_dict()
        self.values = self.session.meter.means()
        lr = {name: rate for turn in self.session.turns for name, rate in turn.rates(step, self.run.steps).items()}
        row = {"step": step, **self.values, "lr": lr, "samples_per_second": round(speed, 2)}
        try:
            self._log.write({**row, "seconds": round(self._clock.seconds, 3)})
        except OSError:
            self.session.meter.load_state_dict(sums)  # for the row that a resumed run writes
            raise
        self.tell(
            Logged(
                step=step,
                steps=self.run.steps,
                values=self.values,
                lr=lr,
                samples_per_second=speed,
                seconds=self._clock.seconds,
                seconds_left=pace * (self.run.steps - step),
            )
        )

    def _sample(self, step: int) -> None:
        session, n, seed = self.session, self.run.sample_n, self.run.seed
        rows = [split for split in (self.test, session.dataset) if split is not None]
        drawer = Drawer(session.variant, session.sampling_networks(), session.spec, lambda: rows, session.device)
        first = self._asked is None
        if self._asked is None:
            self._asked = drawer.ask(n, seed=seed), drawer.ask_for_sheet(n, seed=seed)
        samples = drawer.samples(*self._asked, seed=seed)
        if first and samples.note:
            self._note(f"Of the samples, {samples.note}.")
        stem = self.run_dir.path / "samples" / f"{step:06d}"
        files = samples.write(stem.with_suffix(".png" if samples.are_images else ".npy"), overwrite=True)
        pictures = [file for file in files if file.suffix == ".png"]
        self.tell(Sampled(step=step, path=(pictures or files)[0]))

    def _evaluate(self, step: int) -> None:
        """Evaluates, and remembers whether this is the best so far."""
        session = self.session
        with fork_rng(session.device):
            found = evaluate_now(
                session, self.test, sheet=self.run_dir.path / "neighbours.png", tell=self._tell_unless_stopped
            )
        self.metrics = found["metrics"]
        keep_evaluation(found, self.run_dir, step, self.tell)
        name = session.variant.metric
        better = improves(session.variant, self.metrics, self.best)
        if better and name is not None:
            self.best = {"metric": name, "value": self.metrics[name], "step": step}
        self._log.write({"step": step, "metrics": dict(self.metrics)})
        self.tell(Evaluated(step=step, metrics=self.metrics, best=better, metric=name))

    def _save(self, step: int) -> None:
        session = self.session
        session.check_finite(step)
        owed = [] if self._owed == ["save"] else list(self._owed)
        best = self.best is not None and self.best["step"] == step
        content = session.checkpoint(step, self._clock.seconds, self.best, owed)
        path = self.run_dir.save(content, self.run.keep, best=best)
        self._saved, self._owed = step, owed
        self.tell(Saved(step=step, path=path))

    def _note(self, text: str) -> None:
        self.tell(Note(text=text))


class _Stopped(Exception):
    """A signal came in the midst of an evaluation, which a resumed run does again."""


__all__ = ["Trainer"]
