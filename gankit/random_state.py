"""torch's global random state, which all threads of a process share: one thread has it at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

import torch
from torch import Tensor


class _FairLock:
    """A lock that its holder may take again, and that goes to those who wait in the order in which they came."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._holder: int | None = None
        self.depth = 0

    @property
    def wanted(self) -> bool:
        return bool(self._waiting)

    def acquire(self) -> None:
        me = threading.get_ident()
        with self._changed:
            if self._holder == me:
                self.depth += 1
                return
            ticket = object()
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._holder is None and self._waiting[0] is ticket)
                self._holder, self.depth = me, 1
            finally:  # also when Ctrl-C ends the waiting
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def release(self) -> None:
        with self._changed:
            if self._holder != threading.get_ident():  # Ctrl-C came while it was waiting to have it again
                return
            self.depth -= 1
            if self.depth == 0:
                self._holder = None
                self._changed.notify_all()


_LOCK = _FairLock()


class fork_rng:
    """While entered, this thread alone has torch's global random state; afterwards it is what it was before.

    Another thread that enters waits until this one leaves, or gives way.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __enter__(self) -> fork_rng:
        _LOCK.acquire()
        self._before = self._get()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._set(self._before)
        _LOCK.release()

    def give_way(self) -> None:
        """Lets those go first who wait for the random state; costs nothing where nobody does."""
        if _LOCK.wanted:
            with self.released():
                pass

    @contextmanager
    def released(self) -> Iterator[None]:
        """Within, the random state is the caller's again, and any thread may take it; afterwards this one's goes on.

        Does nothing inside of another :class:`fork_rng`, which keeps what it has.
        """
        if _LOCK.depth > 1:
            yield
            return
        mine = self._get()
        self._set(self._before)
        _LOCK.release()
        try:
            yield
        finally:
            _LOCK.acquire()
            self._before = self._get()
            self._set(mine)

    def _get(self) -> list[Tensor]:
        state = [torch.get_rng_state()]
        if self._device.type == "cuda":
            state.append(torch.cuda.get_rng_state(self._device))
        elif self._device.type == "mps":
            state.append(torch.mps.get_rng_state())
        return state

    def _set(self, state: Sequence[Tensor]) -> None:
        torch.set_rng_state(state[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state[1], self._device)
        elif self._device.type == "mps":
            torch.mps.set_rng_state(state[1])


__all__ = ["fork_rng"]
