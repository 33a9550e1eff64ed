"""What a training shows while it runs: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gankit.cli.output import duration, figures, say, shown, warn
from gankit.cli.streams import printable, unheard

if TYPE_CHECKING:
    from gankit.events import Event

SILENCE = 5.0
"""Seconds of other work than training after which a line says how far it is."""


@contextmanager
def reporter(*, json: bool, show: bool = False) -> Iterator[Reporter]:
    """A listener for `on_event`; live if stdout is a terminal and not taken by JSON. It, and whatever else is printed
    meanwhile, may lose its reader: the work goes on. With `show` a live one draws each new sheet or figure."""
    with unheard():
        if json or not sys.stdout.isatty():
            if show:
                warn("note: --show draws on a terminal, and stdout is none")
            yield Reporter(json=json)
            return
        live = Live(show=show)
        try:
            yield live
        finally:
            live.stop()


class Reporter:
    """Plain lines; keeps the last losses and metrics for the summary."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.losses: Mapping[str, float] = {}
        self.metrics: Mapping[str, float] = {}
        self.what: str | None = None
        self.first = 0
        self.began = self.told = 0.0
        self.said = False

    def __call__(self, event: Event) -> None:
        """Take one event."""
        from gankit import events

        match event:
            case events.RunStarted():
                self.losses, self.metrics = {}, {}
                self._say_if_slow(event.device)
                self.started(event)
            case events.Paced():
                self.paced(event)
            case events.Logged():
                self.losses = event.values
                self.logged(event)
            case events.Evaluated():
                self.metrics = event.metrics
                if event.metrics:
                    best = f" (the best {event.metric} so far)" if event.best else ""
                    self.line(f"step {event.step}: {figures(event.metrics)}{best}")
            case events.Sampled():
                self.sampled(event)
            case events.Note():
                self.line(event.text)
            case events.Reported():
                self.line(f"report: {shown(event.path)}")
            case events.Progress():
                self.progressed(event)
            case events.Finished():
                self.losses, self.metrics = event.values or self.losses, event.metrics or self.metrics
                self.finished()

    def _say_if_slow(self, device: str) -> None:
        """Once, where the device of the run has no kernels."""
        from gankit.ops._library import native_available, native_status

        if not self.said and not native_available(device):
            warn(f"note: {native_status(device)} (gankit doctor says more)")
        self.said = True

    def line(self, text: str) -> None:
        say(text, json=self.json)

    def started(self, event: Any) -> None:
        stage = f"stage {event.stage}: " if event.stage else ""
        sizes = ", ".join(f"{name} {count:,}" for name, count in event.parameters.items() if count)
        goes = f"from step {event.step} to {event.steps}" if event.step else f"{event.steps} steps"
        self.line(f"{stage}{shown(event.path)}: {goes} on {event.device}; parameters: {sizes}")

    def paced(self, event: Any) -> None:
        if event.seconds_left >= SILENCE:
            self.line(f"step {event.step}/{event.steps}  {duration(event.seconds_left)} left")

    def logged(self, event: Any) -> None:
        left = duration(event.seconds_left)
        speed = f"{event.samples_per_second:.0f} samples/s"
        self.line(f"step {event.step}/{event.steps}  {figures(event.values)}  {speed}  {left} left")

    def progressed(self, event: Any) -> None:
        """A line now and then, for work that takes so long."""
        now = time.monotonic()
        if self._begins(event):
            self.began = self.told = now
        elif self.first < event.done < event.total and now - self.told >= SILENCE:
            left = duration((now - self.began) / (event.done - self.first) * (event.total - event.done))
            self.line(f"{event.what}: {event.done}/{event.total}  {left} left")
            self.told = now

    def sampled(self, event: Any) -> None:
        """Called when a sheet, or a figure, was drawn."""

    def _begins(self, event: Any) -> bool:
        """Whether `event` is the first of its work, which may go on from where an earlier sitting left it."""
        begins = event.done == 0 or event.what != self.what
        if begins:
            self.first = event.done
        self.what = event.what if event.done < event.total else None
        return begins

    def finished(self) -> None:
        """Called when a training is over."""


class Live(Reporter):
    """A progress bar by rich; with `show`, the newest sheet or figure above it."""

    def __init__(self, *, show: bool = False) -> None:
        super().__init__()
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        from gankit.cli.blocks import PictureAbove

        self.show = show
        self.bar = PictureAbove(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[speed]} {task.fields[losses]}", markup=False),
        )
        self.task: Any = None
        self.work: Any = None

    def line(self, text: str) -> None:
        self.bar.console.print(printable(text), markup=False, highlight=False)

    def started(self, event: Any) -> None:
        super().started(event)
        title = f"stage {event.stage}" if event.stage else "training"
        self.task = self.bar.add_task(title, total=event.steps, completed=event.step, speed="", losses="")
        self.bar.start()

    def paced(self, event: Any) -> None:
        self.bar.update(self.task, completed=event.step)

    def logged(self, event: Any) -> None:
        speed = f"{event.samples_per_second:.0f}/s"
        self.bar.update(
            self.task, completed=event.step, speed=speed, losses=printable(figures(event.values), line=True)
        )

    def progressed(self, event: Any) -> None:
        if self._begins(event):
            self._forget_work()
            what = printable(event.what, line=True)
            self.work = self.bar.add_task(what, total=event.total, completed=event.done, speed="", losses="")
            self.bar.start()
        self.bar.update(self.work, completed=event.done)
        if event.done == event.total:
            self._forget_work()

    def sampled(self, event: Any) -> None:
        if self.show and event.path.suffix == ".png":
            self.bar.draw(event.path)

    def _forget_work(self) -> None:
        if self.work is not None:
            self.bar.remove_task(self.work)
            self.work = None

    def finished(self) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the terminal as it was."""
        self.bar.stop()
        self._forget_work()
        if self.task is not None:
            self.bar.remove_task(self.task)
            self.task = None
