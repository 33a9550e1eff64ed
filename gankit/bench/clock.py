"""How calls are timed: by the host's clock, or by events on the device's stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch

__all__ = ["Clock", "EventClock", "HostClock", "clock_for"]


class Clock(Protocol):
    """Times calls."""

    min_sample: float
    """Seconds that one timing should last: calls that are shorter are timed many at once."""

    def time(self, call: Callable[[], Any], count: int) -> float:
        """Seconds that `count` calls take, one after another."""


class HostClock:
    """For devices that are done when a call returns."""

    min_sample = 200e-6

    def time(self, call: Callable[[], Any], count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return time.perf_counter() - start


class EventClock:
    """For a CUDA device: the time between two events on its stream, which the calls' work lies between.

    Args:
        event: makes an event with `record()`, `synchronize()` and `elapsed_time(other)` in milliseconds.
        min_sample: as of `Clock`. Events resolve half a microsecond, and the launch queue has to fill.
    """

    def __init__(self, event: Callable[[], Any] | None = None, min_sample: float = 200e-6) -> None:
        self._event = event or (lambda: torch.cuda.Event(enable_timing=True))
        self.min_sample = min_sample

    def time(self, call: Callable[[], Any], count: int) -> float:
        start, end = self._event(), self._event()
        start.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e-3


def clock_for(device: torch.device, min_sample: float = 200e-6) -> Clock:
    return EventClock(min_sample=min_sample) if device.type == "cuda" else HostClock()
