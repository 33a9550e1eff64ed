"""Several processes of one training, played by threads of this one that take turns.

Each runs until it needs to hear from the others, and torch's global random state is its own while it runs: so what they
do is what processes would do, and the same each time. Nothing is started, and nothing is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from gankit.processes import World

T = TypeVar("T")


class Apart(Exception):
    """The others do not ask for the same at the same time: real processes would wait for each other for ever."""


@dataclass
class _Table:
    """Where they meet."""

    size: int
    turn: threading.Condition = field(default_factory=threading.Condition)
    running: int = 0
    """Whose turn it is."""
    laid: dict[int, Tensor] = field(default_factory=dict)
    gone: dict[int, BaseException | None] = field(default_factory=dict)
    """Those who have ended, and why."""
    states: dict[int, Tensor] = field(default_factory=dict)

    def pass_on(self, rank: int) -> None:
        """The next who is still there goes on."""
        self.states[rank] = torch.get_rng_state()
        order = [(rank + step) % self.size for step in range(1, self.size + 1)]
        self.running = next((one for one in order if one not in self.gone), rank)
        self.turn.notify_all()

    def wait(self, rank: int) -> None:
        self.turn.wait_for(lambda: self.running == rank)
        torch.set_rng_state(self.states[rank])


@dataclass(frozen=True)
class _Simulated(World):
    table: _Table = field(default_factory=lambda: _Table(1))

    def sum_(self, tensor: Tensor) -> Tensor:
        table = self.table
        with table.turn:
            table.laid[self.rank] = tensor
            if len(table.laid) < self.size:
                table.pass_on(self.rank)
                table.wait(self.rank)
            if len(table.laid) == self.size:  # the last to come adds up for all
                shapes = {(tuple(one.shape), one.dtype) for one in table.laid.values()}
                if len(shapes) > 1:
                    table.laid.clear()
                    raise Apart(f"they exchange {' and '.join(sorted(map(str, shapes)))}")
                total = torch.stack([table.laid[rank] for rank in range(self.size)]).sum(0)
                for one in table.laid.values():
                    one.copy_(total)
                table.laid.clear()
            elif self.rank in table.laid:
                raise Apart("one of them has ended, or waits for something that the others do not send")
        return tensor


def together(size: int, work: Callable[[World], T]) -> list[T]:
    """What `work` returns in each of `size` processes. The first error of any of them is raised.

    torch's global random state, the same for all at the start, is afterwards what it was.
    """
    table = _Table(size)
    before = torch.get_rng_state()
    table.states = dict.fromkeys(range(size), before)
    results: dict[int, T] = {}

    def run(rank: int) -> None:
        error: BaseException | None = None
        with table.turn:
            table.wait(rank)
        try:
            results[rank] = work(_Simulated(rank, size, table))
        except BaseException as raised:
            error = raised
        with table.turn:
            table.gone[rank] = error
            table.pass_on(rank)

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.set_rng_state(before)
    errors = [error for error in table.gone.values() if error is not None]
    if errors:
        raise next((error for error in errors if not isinstance(error, Apart)), errors[0])
    return [results[rank] for rank in range(size)]


__all__ = ["Apart", "together"]
