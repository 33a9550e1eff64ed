"""What a variant's `prepare` is given, and what is kept of it until the run's first checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gankit.errors import GankitError, PluginError
from gankit.events import Note, OnEvent, Progress
from gankit.plugin import Dataset, Preparation
from gankit.runs import nested
from gankit.runs.directory import RunDir
from gankit.runs.tensor_folder import DamagedCheckpoint, present, read_state, read_tensors, write_folder
from gankit.training.interruption import Interruption
from gankit.training.networks import Weights
from gankit.training.random_part import RandomPart

SAVE_EVERY = 60.0
"""Seconds of a loop that a kill can cost."""
TELL_EVERY = 0.1
"""Seconds between two reports of how far a loop is."""


@dataclass
class LoopState:
    """Where a loop of a preparation stands, and everything that it needs to go on."""

    what: str
    total: int
    done: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    values: Mapping[str, Any]


class PreparationStore:
    """Keeps the loops of a preparation in a run's directory, a folder for each, and says when to stop."""

    def __init__(self, run: RunDir, interruption: Interruption) -> None:
        self.run, self.interruption = run, interruption

    def write(self, number: int, loop: LoopState) -> None:
        about = {"what": loop.what, "total": loop.total, "done": loop.done, "values": loop.values}
        write_folder(self.run.preparation(number), loop.tensors, about)

    def read(self, number: int) -> LoopState | None:
        """What is kept of loop `number`. :class:`DamagedCheckpoint` names the file that is bad."""
        folder = self.run.preparation(number)
        if not present(folder).exists():
            return None
        state = read_state(folder)
        try:
            loop = LoopState(state["what"], state["total"], state["done"], {}, state["values"])
            loop.tensors = read_tensors(folder, ("weights", "objects"), state["files"])
            if not 0 <= loop.done <= loop.total:
                raise ValueError(f"{loop.done} of {loop.total}")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DamagedCheckpoint(f"{present(folder) / 'state.json'} is not the state of a preparation") from error
        return loop


class TrainPreparation(Preparation):
    """See :class:`~gankit.plugin.Preparation`. Without a `store` nothing is kept."""

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        train: Dataset[Any],
        random: RandomPart,
        tell: OnEvent,
        store: PreparationStore | None = None,
    ) -> None:
        self.networks = networks
        self.train = train
        self.generator = random.generator
        self.device = random.device
        self._random, self._tell, self._store = random, tell, store
        self._loops = 0

    def report(self, text: str) -> None:
        self._tell(Note(text=text))

    def loop(self, total: int, what: str, **state: Any) -> Iterator[int]:
        number = self._loops = self._loops + 1
        _check_objects(what, state)
        first = self._go_on(number, total, what, state)
        self._tell(Progress(what=what, done=first, total=total))
        if self._store is None:
            yield from self._iterate(number, first, total, what, state)
            return
        with self._store.interruption.heeded_later():
            yield from self._iterate(number, first, total, what, state)

    def _iterate(self, number: int, first: int, total: int, what: str, state: Mapping[str, Any]) -> Iterator[int]:
        saved = told = time.monotonic()
        for index in range(first, total):
            yield index
            now, done = time.monotonic(), index + 1
            if done == total or now - told >= TELL_EVERY:
                self._tell(Progress(what=what, done=done, total=total))
                told = now
            if self._store is None:
                continue
            stop = self._store.interruption.requested
            if stop or done == total or now - saved >= SAVE_EVERY:
                self._keep(self._store, number, done, total, what, state)
                saved = time.monotonic()
            if stop:
                raise self._store.interruption.stopped(f"while {what} ({done} of {total})")

    def _keep(
        self, store: PreparationStore, number: int, done: int, total: int, what: str, state: Mapping[str, Any]
    ) -> None:
        objects: dict[str, Tensor] = {}
        try:
            parts = nested.split({name: _state_of(one) for name, one in state.items()}, objects)
        except TypeError as error:
            raise PluginError(f"prepare(): the loop {what!r} keeps something that cannot be saved: {error}") from error
        values = {"random": self._random.state_dict(), "objects": parts}
        tensors = {"weights": Weights(self.networks).state_dict(), "objects": objects}
        store.write(number, LoopState(what, total, done, tensors, values))

    def _go_on(self, number: int, total: int, what: str, state: Mapping[str, Any]) -> int:
        """Puts back what is kept of loop `number`; how far it had come."""
        if self._store is None:
            return 0
        folder = self._store.run.preparation(number)
        try:
            if (kept := self._store.read(number)) is None:
                return 0
            if (kept.what, kept.total) != (what, total):
                raise DamagedCheckpoint(f"{folder} is of another loop, {kept.what!r} of {kept.total}")
            weights = Weights(self.networks)
            if set(weights.state_dict()) != set(kept.tensors["weights"]):
                raise DamagedCheckpoint(f"{folder} is of other networks")
            weights.load_state_dict(kept.tensors["weights"])
            for name, saved in nested.join(kept.values["objects"], kept.tensors.get("objects", {})).items():
                _put_back(state[name], saved)
            self._random.load_state_dict(kept.values["random"])
        except (GankitError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            reason = str(error) if isinstance(error, GankitError) else f"{folder} is damaged ({type(error).__name__})"
            remedy = "Remove that folder, and gankit resume begins the loop anew."
            raise GankitError(f"{what} cannot go on: {reason}. {remedy}") from error
        return kept.done


def _check_objects(what: str, state: Mapping[str, Any]) -> None:
    for name, one in state.items():
        if not isinstance(one, torch.Generator) and not (
            hasattr(one, "state_dict") and hasattr(one, "load_state_dict")
        ):
            kind = type(one).__name__
            raise PluginError(f"prepare(): the loop {what!r} is given {name}, a {kind}, which has no state_dict")


def _state_of(one: Any) -> Any:
    return one.get_state() if isinstance(one, torch.Generator) else one.state_dict()


def _put_back(one: Any, saved: Any) -> None:
    if isinstance(one, torch.Generator):
        one.set_state(saved)
        return
    one.load_state_dict(saved)
    if isinstance(one, torch.optim.Optimizer):  # which leaves moments in the layout in which they were saved
        for parameter, moments in one.state.items():
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


__all__ = ["LoopState", "PreparationStore", "TrainPreparation"]
