"""The loop: steps, and what happens between them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import Tensor

from gankit.device import derive_seed, fork_rng
from gankit.errors import GankitError
from gankit.events import (
    Evaluated,
    Finished,
    Interrupted,
    Logged,
    Note,
    OnEvent,
    RunInterrupted,
    RunStarted,
    Sampled,
    Saved,
    TrainingDiverged,
    ignore,
)
from gankit.plugin import Dataset
from gankit.runs.checkpoint import Checkpoint
from gankit.runs.directory import RunDir
from gankit.runs.log import JsonLines
from gankit.sampling.conditions import Asked
from gankit.sampling.drawer import Drawer
from gankit.training.interruption import Interruption
from gankit.training.session import Session
from gankit.training.validation import improves, judge

DRAIN = 500
"""Turns whose loss terms are kept before they are read back, logged or not: how far behind the NaN watch can be."""


class Trainer:
    """Trains what a :class:`Session` holds, in a run's directory, telling `on_event` what happens.

    `test` is the held-out split, for conditions of samples and for evaluation.
    """

    def __init__(
        self, session: Session, run_dir: RunDir, test: Dataset[Any] | None = None, on_event: OnEvent = ignore
    ) -> None:
        self.session, self.run_dir, self.test, self.tell = session, run_dir, test, on_event
        self.run = session.resolved.run
        self.best: dict[str, Any] | None = None
        self.values: Mapping[str, float] = {}
        self.metrics: Mapping[str, float] = {}
        self._seconds = 0.0  # of earlier sittings
        self._asked: tuple[Asked, Asked | None] | None = None

    def fit(
        self, checkpoint: Checkpoint | None = None, inherited: Mapping[str, Mapping[str, Tensor]] | None = None
    ) -> None:
        """Trains to the last step: on from `checkpoint`, or anew, with weights `inherited` from an earlier stage.

        :class:`RunInterrupted` after Ctrl-C, :class:`TrainingDiverged` on NaN; a checkpoint is kept in both cases.
        """
        with self.run_dir.lock(), fork_rng(self.session.device):
            self._began = time.perf_counter()
            self.run_dir.clean()
            torch.manual_seed(derive_seed(self.run.seed, "global"))
            if checkpoint is not None:
                self.session.restore(checkpoint, self._note)
                self._seconds, self.best = checkpoint.state["seconds"], checkpoint.state["best"]
            else:
                self.session.begin(self._note, inherited)
            first = checkpoint.step if checkpoint else 0
            self._log = JsonLines(self.run_dir.path / "log.jsonl", first)
            try:
                self._train(first, new=checkpoint is None)
            except TrainingDiverged as error:
                raise TrainingDiverged(f"{error}\n{self._last_good()} A lower learning rate may help.") from error
            except BrokenPipeError:  # whoever read what `on_event` prints is gone
                raise
            except OSError as error:  # the log or a sheet; a checkpoint's own errors say more
                raise GankitError(f"writing to {self.run_dir.path} failed: {error}\n{self._last_good()}") from error
            finally:
                self._log.close()
                self.session.close()

    def _train(self, first: int, *, new: bool) -> None:
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
        saved = first
        with Interruption(self._note) as interruption:
            if new:
                self._sample(0)
                self._save(0)
            self._restart_clock(first)
            for index in range(first, run.steps):
                session.train_step(index)
                if index == 0 and session.diff_augment_unused:
                    self._note("augment.diff is on, but no loss calls step.augment: nothing is augmented by it.")
                step = index + 1
                last = step == run.steps
                if last or step % run.log_every == 0:
                    self._write_log(step)
                elif len(session.meter) >= DRAIN:
                    session.meter.drain()
                pause = time.perf_counter()
                if last or _due(step, run.sample_every):
                    self._sample(step)
                if last or step % run.checkpoint_every == 0 or _due(step, run.eval_every):
                    evaluate = run.eval_every > 0 and (last or _due(step, run.eval_every))
                    better = self._evaluate(step) if evaluate else False
                    self._save(step, best=better)
                    saved = step
                self._paused += time.perf_counter() - pause
                if interruption.requested and not last:
                    self._stop(step, already_saved=saved == step)
        self.tell(
            Finished(
                path=self.run_dir.path,
                steps=run.steps,
                seconds=self._elapsed(),
                values=self.values,
                metrics=self.metrics,
            )
        )
        if interruption.requested and (stage := session.resolved.stage or 1) < session.variant.stages:
            text = f"stage {stage} is finished in {self.run_dir.path}, the next one is not begun"
            raise RunInterrupted(f"{text}. Go on with the same command and --resume")

    def _stop(self, step: int, *, already_saved: bool) -> None:
        if not already_saved:
            self._save(step)
        self.tell(Interrupted(path=self.run_dir.path, step=step))
        raise RunInterrupted(f"stopped after step {step}. Go on with: gankit resume {quote(str(self.run_dir.path))}")

    def _write_log(self, step: int) -> None:
        self.session.meter.drain()
        now = time.perf_counter()
        busy = max(now - self._clock - self._paused, 1e-9)
        steps = step - self._clock_step
        rate = steps * self.run.batch_size * self.run.accumulate / busy
        self._restart_clock(step)
        self.values = self.session.meter.means()
        lr = {name: rate for turn in self.session.turns for name, rate in turn.rates.items()}
        row = {"step": step, **self.values, "lr": lr, "samples_per_second": round(rate, 2)}
        self._log.write({**row, "seconds": round(self._elapsed(), 3)})
        self.tell(
            Logged(
                step=step,
                steps=self.run.steps,
                values=self.values,
                lr=lr,
                samples_per_second=rate,
                seconds=self._elapsed(),
                seconds_left=busy / steps * (self.run.steps - step),
            )
        )

    def _sample(self, step: int) -> None:
        session, n, seed = self.session, self.run.sample_n, self.run.seed
        session.meter.drain()
        rows = [split for split in (self.test, session.dataset) if split is not None]
        drawer = Drawer(session.variant, session.sampling_networks(), session.spec, lambda: rows, session.device)
        if self._asked is None:
            self._asked = drawer.ask(n, seed=seed), drawer.ask_for_sheet(n, seed=seed)
        samples = drawer.samples(*self._asked, seed=seed)
        stem = self.run_dir.path / "samples" / f"{step:06d}"
        files = samples.save(stem.with_suffix(".png" if samples.are_images else ".npy"), overwrite=True)
        pictures = [file for file in files if file.suffix == ".png"]
        self.tell(Sampled(step=step, path=(pictures or files)[0]))

    def _evaluate(self, step: int) -> bool:
        """Evaluates; whether this is the best checkpoint so far."""
        session = self.session
        session.meter.drain()
        with fork_rng(session.device):
            self.metrics = judge(session, self.test, sheet=self.run_dir.path / "neighbours.png", tell=self.tell)
        name = session.variant.metric
        better = improves(session.variant, self.metrics, self.best)
        if better and name is not None:
            self.best = {"metric": name, "value": self.metrics[name], "step": step}
        self._log.write({"step": step, "metrics": dict(self.metrics)})
        self.tell(Evaluated(step=step, metrics=self.metrics, best=better))
        return better

    def _save(self, step: int, *, best: bool = False) -> Path:
        session = self.session
        session.meter.drain()
        session.check_finite(step)
        path = self.run_dir.save(session.checkpoint(step, self._elapsed(), self.best), self.run.keep, best=best)
        self.tell(Saved(step=step, path=path))
        return path

    def _last_good(self) -> str:
        intact = self.run_dir.newest_intact()
        if intact is None:
            return "No checkpoint was saved."
        return f"The last good checkpoint is {self.run_dir.store / intact}."

    def _restart_clock(self, step: int) -> None:
        self._clock, self._clock_step, self._paused = time.perf_counter(), step, 0.0

    def _elapsed(self) -> float:
        return self._seconds + time.perf_counter() - self._began

    def _note(self, text: str) -> None:
        self.tell(Note(text=text))


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


__all__ = ["Trainer"]
