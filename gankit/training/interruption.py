"""Ctrl-C and SIGTERM: finish the step, then save."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any


class Interruption:
    """While entered, SIGINT and SIGTERM set `requested`; a SIGINT after that raises KeyboardInterrupt.

    Outside the main thread, where Python allows no handlers, it changes nothing.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.requested = False
        self._tell = tell
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.requested = True
        # the stream may be closed, or be in the middle of a write that this interrupts: saving matters more
        with suppress(Exception):
            self._tell("Finishing the step and saving. Press Ctrl-C again to stop without saving.")
