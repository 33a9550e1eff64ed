"""Training in several processes: what the one that leads says to the others, and what those do.

The leader alone reads and writes the run, prepares, draws, judges and saves. The others build the same session from its
options, start from the state that it sends, and take every step with it. Before each step all agree to take it: a
signal to any of them, and whatever goes wrong between two steps, stops all at the same one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from gankit.data.source import DataSource
from gankit.device import derive_seed
from gankit.discovery.entry_points import load_dataset, load_variant
from gankit.errors import GankitError
from gankit.events import ignore
from gankit.options.resolve import Resolved, resolve
from gankit.plugin import Variant
from gankit.processes import ProcessLost, World
from gankit.random_state import fork_rng
from gankit.runs.checkpoint import Checkpoint
from gankit.runs.directory import RunDir
from gankit.training.after_step import called_for
from gankit.training.interruption import Interruption
from gankit.training.ready import make_ready
from gankit.training.session import Session

GO, STOP, LEFT = 0, 1, 2


@dataclass(frozen=True)
class TrainedRun:
    """A run on disk, and its config as it was read or written last."""

    directory: RunDir
    resolved: Resolved


class Leading:
    """What the leader of a training says to the others, of whom there may be none. Entered while it trains."""

    def __init__(self, session: Session, run: Path) -> None:
        self.session, self.world, self.run = session, session.world, run
        self._in_step = False

    def __enter__(self) -> Leading:
        resolved = self.session.resolved
        names = {"variant": resolved.variant, "dataset": resolved.dataset}
        self.world.send({**names, "options": resolved.to_dict(), "run": str(self.run)})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._in_step or isinstance(error, ProcessLost):  # they wait for something else, which does not come
            self.world.abandon()
        else:
            self.world.most(LEFT)

    def begin(self, step: int) -> None:
        """The others go on from where this process stands, after `step` steps."""
        self.world.most(GO)
        if self.world.size > 1:
            saved = self.session.checkpoint(step, 0.0, None)
            tensors = {f"{part}/{name}": one for part, all_ in saved.tensors.items() for name, one in all_.items()}
            self.world.send({"step": step, "state": saved.state}, tensors)

    def agreed_to_stop(self, wanted: bool) -> bool:
        """Before each step: whether this process, or another, wants to stop."""
        (code,) = self.world.most(STOP if wanted else GO)
        return code != GO

    @contextmanager
    def in_step(self) -> Iterator[None]:
        self._in_step = True
        yield
        self._in_step = False


@contextmanager
def leading(world: World) -> Iterator[None]:
    """Around all that is trained: at its end the others hear that there is nothing more to do, or what went wrong."""
    code = 1
    try:
        yield
        code = 0
    except GankitError as error:
        code = error.exit_code
        raise
    finally:
        with suppress(ProcessLost):  # those who are gone need not be told
            if world.connected:
                world.send({"end": code})


class Follows(GankitError):
    """The leader has ended with an error, which it tells itself."""


class NothingToTrain(Follows):
    """The leader had nothing to train, as it tells itself."""

    exit_code = 0


def follow(
    world: World, variant: type[Variant[Any]] | None = None, source: DataSource | None = None
) -> TrainedRun | None:
    """Trains with the leader what it trains, until it says that it is done; the last of it, if there was any.

    `variant` and `source` are needed only for what is not installed as a plugin. :class:`Follows`, with the leader's
    exit code, if that ended with an error.
    """
    trained = None
    while True:
        order, _ = world.receive()
        if (code := order.get("end")) is not None:
            if code == 0:
                return trained
            ended = Follows("the process that leads has ended")
            ended.exit_code = code
            raise ended
        names = {"variant": order["variant"], "dataset": order["dataset"]}
        cls = variant or load_variant(names["variant"])
        data = source or DataSource(load_dataset(names["dataset"]))
        resolved = resolve(cls, data.cls, **names, options=order["options"])
        _train_along(make_ready(cls, data, resolved, ignore, world).session)
        trained = TrainedRun(RunDir(Path(order["run"])), resolved)


def _train_along(session: Session) -> None:
    """All steps of one training, as far as the leader takes them."""
    world, run = session.world, session.resolved.run
    with fork_rng(session.device), Interruption(ignore, "") as interruption:
        try:
            torch.manual_seed(derive_seed(run.seed, "global"))
            if world.most(GO) != (GO,):
                return
            first = _take_over(session)
            code, step = GO, first
            while code != LEFT:
                (code,) = world.most(STOP if interruption.requested else GO)
                if code == GO and step < run.steps:
                    step += 1
                    _step_along(session, step)
                elif code == STOP:
                    _as_the_leader(session.meter.drain)
        finally:
            session.close()


def _step_along(session: Session, step: int) -> None:
    """A step, and what all do after it."""
    session.train_step(step - 1)
    _as_the_leader(lambda: session.look_back(step, called_for(session.resolved.run, step)))


def _as_the_leader(look: Callable[[], None]) -> None:
    """Does what all do together. What it finds wrong the leader finds too, and ends the training."""
    try:
        look()
    except ProcessLost:
        raise
    except GankitError:
        pass


def _take_over(session: Session) -> int:
    """Goes on from the state that the leader sends; the steps that it had."""
    about, flat = session.world.receive()
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    for name, one in flat.items():
        part, _, key = name.partition("/")
        tensors.setdefault(part, {})[key] = one
    session.restore(Checkpoint(step=about["step"], tensors=tensors, state=about["state"]))
    return int(about["step"])


def launch_id(environment: Mapping[str, str] = os.environ) -> str | None:
    """What torchrun calls the processes that it started together, and starts anew if one dies; None if it did not."""
    given = environment.get("TORCHELASTIC_RUN_ID")
    if given is None or given != "none":
        return given
    return f"{socket.gethostname()}-{os.getppid()}"


__all__ = ["Follows", "Leading", "NothingToTrain", "TrainedRun", "follow", "launch_id", "leading"]
