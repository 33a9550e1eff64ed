"""Whoever is told what happens in a training, and what happens if nobody listens any more."""

from __future__ import annotations

from gankit.events import Event, OnEvent
from gankit.random_state import fork_rng


class Listener:
    """Passes events on to `on_event`, with torch's random state in the caller's hands meanwhile.

    A listener that raises BrokenPipeError, as a print to ``| head`` does, is told nothing more: `gone` is the error.
    """

    def __init__(self, on_event: OnEvent, random: fork_rng) -> None:
        self.gone: BrokenPipeError | None = None
        self._on_event, self._random = on_event, random

    def __call__(self, event: Event) -> None:
        if self.gone is not None:
            return
        try:
            with self._random.released():
                self._on_event(event)
        except BrokenPipeError as error:
            self.gone = error


__all__ = ["Listener"]
