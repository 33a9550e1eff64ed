"""A listener that writes what a training tells as files for TensorBoard.

::

    from gankit.tensorboard import TensorBoard

    gankit.train("cgan", on_event=TensorBoard())

It needs ``gankit[tensorboard]``. ``log.jsonl`` has the same numbers, whoever listens.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from gankit import events
from gankit.errors import UsageError

PIXELS = 2**20
"""Most pixels of an image that is written; a larger one is made smaller. Event files keep each image of a run."""


def available() -> bool:
    """Whether the package is installed; it is not imported."""
    return find_spec("tensorboard") is not None


class TensorBoard:
    """Writes losses, learning rates, metrics and sample sheets into the directory of each run that it hears of.

    A training goes on if the files cannot be written: `tell` is told why, once. UsageError if the package is missing.
    """

    def __init__(self, tell: events.OnEvent = events.ignore) -> None:
        if not available():
            raise UsageError("TensorBoard is not installed\ntry: pip install 'gankit[tensorboard]'")
        self._tell = tell
        self._run: tuple[Path, int] | None = None
        self._writer: Any = None

    def __call__(self, event: events.Event) -> None:
        """Take one event."""
        try:
            match event:
                case events.RunStarted():
                    self.close()
                    self._run = event.path, event.step
                case events.Logged():
                    self._scalars(event.values, event.step)
                    self._scalars({f"lr/{name}": value for name, value in event.lr.items()}, event.step)
                case events.Evaluated():
                    self._scalars({f"metrics/{name}": value for name, value in event.metrics.items()}, event.step)
                case events.Sampled() if event.path.suffix == ".png":
                    self._image(event.path, event.step)
                case events.Finished() | events.Interrupted():
                    self.close()
        except Exception as error:  # of a package that is no part of gankit, whose files nothing depends on
            self._give_up(error)

    def close(self) -> None:
        """Finish the files. Done at the end of each run; a run that fails leaves its last ten seconds to this."""
        self._run, writer, self._writer = None, self._writer, None
        if writer is not None:
            writer.close()

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except Exception as failure:
            self._give_up(failure)

    def _scalars(self, values: Any, step: int) -> None:
        if writer := self._open():
            for name, value in values.items():
                writer.add_scalar(name, value, step)

    def _image(self, path: Path, step: int) -> None:
        if writer := self._open():
            import numpy as np
            from PIL import Image

            with Image.open(path) as image:
                side = max(1, int((PIXELS * max(image.size) / min(image.size)) ** 0.5))  # the longer one at the bound
                small = image.convert("RGB")
                small.thumbnail((side, side))
            writer.add_image(path.parent.name, np.asarray(small), step, dataformats="HWC")

    def _open(self) -> Any:
        """The writer of the run; imported when something is first written, since that takes about a second."""
        if self._writer is None and self._run is not None:
            from torch.utils.tensorboard import SummaryWriter

            folder, step = self._run
            # events after the step that a resumed run goes on from are of no account
            self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None, flush_secs=10)
        return self._writer

    def _give_up(self, error: Exception) -> None:
        try:
            self.close()
        except Exception:  # its files are what could not be written
            self._writer = None
        why = str(error) or type(error).__name__
        self._tell(events.Note(text=f"TensorBoard files are not written: {why}. log.jsonl has the same numbers."))


__all__ = ["PIXELS", "TensorBoard", "available"]
