"""Training in several processes: what the one that leads says to the others, and what those do.

The leader alone reads and writes the run, prepares, draws, judges and saves. The others build the same session from its
options, start from the state that it sends, and take every step with it. Before each step all agree to take it: a
signal to any of them, and whatever goes wrong between two steps, stops all at the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
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
        self.world.send(_order(self.session.resolved, self.run))
        self.world.largest(GO)  # the others have their data
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._in_step or isinstance(error, ProcessLost):  # they wait for something else, which does not come
            self.world.abandon()
            return
        with suppress(ProcessLost) if error is not None else nullcontext():  # `error` is what the user is to hear of
            self.world.largest(LEFT)

    def begin(self, step: int) -> None:
        """The others go on from where this process stands, after `step` steps."""
        if self.world.size == 1:
            return
        saved = self.session.checkpoint(step, 0.0, None)
        tensors = {f"{part}/{name}": one for part, all_ in saved.tensors.items() for name, one in all_.items()}
        with self.in_step():
            self.world.largest(GO)
            self.world.send({"step": step, "state": saved.state}, tensors)

    def agreed_to_stop(self, wanted: bool) -> bool:
        """Before each step: whether this process, or another, wants to stop."""
        return self.world.largest(STOP if wanted else GO) != GO

    @contextmanager
    def in_step(self, agreed: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        """Around what all do together. An error in it leaves the others waiting, but for one that all have `agreed`."""
        self._in_step = True
        try:
            yield
        except agreed as error:
            self._in_step = isinstance(error, ProcessLost)
            raise
        self._in_step = False


@contextmanager
def lead(world: World) -> Iterator[list[TrainedRun]]:
    """Around all that is trained: at its end the others hear what was, the last of the list, or that it went wrong."""
    trained: list[TrainedRun] = []
    end: dict[str, Any] = {"end": 1}
    try:
        yield trained
        end = {"end": 0, **_order(trained[-1].resolved, trained[-1].directory.path)}
    except GankitError as error:
        end = {"end": error.exit_code}
        raise
    finally:
        with suppress(ProcessLost):  # those who are gone need not be told
            if world.connected:
                world.send(end)


def _order(resolved: Resolved, run: Path) -> dict[str, Any]:
    """What the others need to know of a training."""
    names = {"variant": resolved.variant, "dataset": resolved.dataset}
    return {**names, "options": resolved.to_dict(), "run": str(run)}


class Follows(GankitError):
    """The leader has ended with an error, which it tells itself."""


def follow(world: World, variant: type[Variant[Any]] | None = None, source: DataSource | None = None) -> TrainedRun:
    """Trains with the leader what it trains, until it says that it is done; the last of it.

    `variant` and `source` are needed only for what is not installed as a plugin. :class:`Follows`, with the leader's
    exit code, if that ended with an error.
    """
    while True:
        order, _ = world.receive()
        if code := order.get("end", 0):
            ended = Follows("the process that leads has ended")
            ended.exit_code = code
            raise ended
        names = {"variant": order["variant"], "dataset": order["dataset"]}
        cls = variant or load_variant(names["variant"])
        data = source or DataSource(load_dataset(names["dataset"]))
        resolved = resolve(cls, data.cls, **names, options=order["options"])
        if "end" in order:
            return TrainedRun(RunDir(Path(order["run"])), resolved)
        _train_along(make_ready(cls, data, resolved, ignore, world).session)


def _train_along(session: Session) -> None:
    """All steps of one training, as far as the leader takes them."""
    world, run = session.world, session.resolved.run
    with fork_rng(session.device), Interruption(ignore, "") as interruption:
        try:
            torch.manual_seed(derive_seed(run.seed, "global"))
            for _ in ("all are ready", "the leader has prepared"):
                if world.largest(GO) != GO:
                    return
            first = _take_over(session)
            code, step = GO, first
            while code != LEFT:
                code = world.largest(STOP if interruption.requested else GO)
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


__all__ = ["Follows", "Leading", "TrainedRun", "follow", "lead"]
