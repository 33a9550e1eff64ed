"""How long a training has taken, and how fast it is."""

from __future__ import annotations

import time


class Clock:
    """Seconds of a run over all sittings, and of the steps since the last log, without what came between them."""

    def __init__(self) -> None:
        self.start()
        self.lap(0)

    def start(self, earlier: float = 0.0) -> None:
        """A sitting begins, after `earlier` seconds of others."""
        self._earlier, self._began = earlier, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self._earlier + time.perf_counter() - self._began

    def lap(self, step: int) -> None:
        """From here on steps are timed; `step` of them are done."""
        self._lap, self._step, self._paused = time.perf_counter(), step, 0.0

    def pause(self, seconds: float) -> None:
        """That long something else than steps was done."""
        self._paused += seconds

    def seconds_a_step(self, step: int) -> float:
        """Of the steps since :meth:`lap`, up to step `step`; 0 if there were none."""
        busy = max(time.perf_counter() - self._lap - self._paused, 1e-9)
        return busy / (step - self._step) if step > self._step else 0.0


__all__ = ["Clock"]
