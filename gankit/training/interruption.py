"""Ctrl-C, SIGTERM and SIGHUP: finish the step, then save."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from shlex import quote
from types import FrameType, TracebackType
from typing import Any

from gankit.events import Note, OnEvent, RunInterrupted

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Interruption:
    """While entered, SIGINT, SIGTERM and SIGHUP set `requested`; a SIGINT after that raises KeyboardInterrupt.

    Outside the main thread, where Python allows no handlers, it changes nothing. `path` is the run that they interrupt.
    Of a process that torchrun started `requested` is set as well once torchrun is gone.
    """

    def __init__(self, tell: OnEvent, path: object) -> None:
        self._signalled = False
        self._parent = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None
        self._tell = tell
        self._path = path
        self._at_once = False
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        return self._signalled or (self._parent is not None and os.getppid() != self._parent)

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is None or (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
                    continue  # nohup
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    @contextmanager
    def heeded_at_once(self) -> Iterator[None]:
        """Within, there is nothing to finish or to save: a signal raises :class:`RunInterrupted` where it falls.

        The innermost of this and :meth:`heeded_later` counts; on leaving it the one around it does again.
        """
        with self._heeding(at_once=True):
            yield

    @contextmanager
    def heeded_later(self) -> Iterator[None]:
        """Within, a signal sets `requested` and no more, also inside of :meth:`heeded_at_once`.

        Nothing is raised on leaving for a signal that fell in here: whoever enters looks at `requested`.
        """
        with self._heeding(at_once=False):
            yield

    @contextmanager
    def _heeding(self, *, at_once: bool) -> Iterator[None]:
        before, self._at_once = self._at_once, at_once
        try:
            if at_once and self.requested:
                raise self.stopped("before the first step")
            yield
        finally:
            self._at_once = before

    def stopped(self, when: str) -> RunInterrupted:
        """The error that says where the run was stopped, and how to go on."""
        return RunInterrupted(f"stopped {when}. Go on with: gankit resume {quote(str(self._path))}")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self._signalled = True
        if self._at_once:
            raise self.stopped("before the first step")
        # the stream may be closed, or be in the middle of a write that this interrupts: saving matters more
        with suppress(Exception):
            self._tell(Note(text="Finishing the step and saving. Press Ctrl-C again to stop without saving."))


__all__ = ["Interruption"]
