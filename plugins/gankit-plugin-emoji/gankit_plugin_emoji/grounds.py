"""What drawings of ``placed-emoji`` stand on: a colour, or a part of a photograph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gankit.data.files import SUFFIXES, directory, list_images
from gankit.data.layout import by_directories, hold_out
from gankit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from gankit.events import OnEvent

__all__ = ["GROUNDS", "PHOTOGRAPH", "Photographs"]

GROUNDS = {
    "white": (250, 250, 250),
    "grey": (168, 168, 168),
    "pink": (246, 190, 214),
    "red": (214, 96, 90),
    "orange": (240, 172, 104),
    "yellow": (246, 232, 140),
    "green": (150, 208, 140),
    "blue": (130, 176, 232),
    "purple": (180, 150, 216),
    "brown": (160, 126, 100),
}
"""Colours of the ground, red, green and blue."""
PHOTOGRAPH = "a photograph"
"""What a caption calls the other kind of ground."""
FINEST = 3
"""Side of the square that is kept of a photograph, in sides of the dataset's images: how fine its finest parts are."""


class Photographs:
    """The photographs below a directory, of which parts are cut: `held_out` of them for testing, the rest for training.

    Directories ``train`` and ``test`` below it are the splits, as everywhere. Of a single photograph both splits are
    cut. `disk` as for :class:`~gankit.data.store.ImageStore`. UsageErrors where there are none, or none can be read.
    """

    def __init__(self, root: str, size: int, split: str, held_out: float, disk: int) -> None:
        from gankit.data.store import ImageStore

        self.root, self.size, self.split = directory(root, "data.photographs", "photographs"), size, split
        listing = list_images(self.root)
        if not listing.files:
            found = "; ".join((listing.describe_others(), *listing.problems))
            looked = " ".join(sorted(SUFFIXES))
            raise UsageError(f"data.photographs: no images in {self.root}: found {found}; looked for {looked}")
        splits = by_directories(listing.files)
        train, test = (splits.train, splits.test) if splits.test else hold_out(splits.train, held_out)
        self._notes = [*listing.problems, *splits.notes]
        if train == test:
            self._notes.append(
                f"there is one photograph alone, {train[0]}: what is held out stands on parts of it, too"
            )
        side = FINEST * size
        self._store = ImageStore(self.root, test if split == "test" else train, size=(side, side), disk=disk)
        self._own: dict[int, int] = {}

    @property
    def files(self) -> tuple[str, ...]:
        """The split's, relative to the directory."""
        return self._store.files

    def load(self, tell: OnEvent) -> None:
        self._store.load(tell)

    def cut(self, draw: np.random.Generator) -> np.ndarray:
        """A square part of one of them: float32 (size, size, 3), 0 to 255."""
        import numpy as np
        import torch
        from PIL import Image

        planes, found = self._store.read(torch.from_numpy(draw.integers(len(self._store), size=1)))
        whole = FINEST * self.size
        least = self.size * max(1.0, whole / self._side(int(found)))  # enlarging would make the ground softer
        side = float(draw.uniform(min(least, whole), whole))
        left, top = (float(draw.uniform(0, whole - side)) for _ in range(2))
        size, box = (self.size, self.size), (left, top, left + side, top + side)
        parts = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR, box=box) for plane in planes[0].numpy()]
        return np.stack(parts, axis=2).astype(np.float32)

    def _side(self, number: int) -> int:
        """The shorter side of a photograph as it is in its file."""
        from PIL import Image

        from gankit.data.images import ImageError, readable

        if number not in self._own:
            try:
                with readable(self.root / self.files[number]) as file, Image.open(file) as image:
                    self._own[number] = min(image.size)
            except ImageError:  # of a kind that Pillow does not read
                self._own[number] = FINEST * self.size
        return self._own[number]

    def notes(self) -> list[str]:
        """What the user should know: what was left out, what cannot be read, where the rest is kept."""
        notes = [*self._notes, *(f"{self.split} split: {note}" for note in self._store.notes())]
        return [f"data.photographs: {note}" for note in notes]

    def fingerprint(self) -> str:
        from gankit.data.fingerprint import fingerprint

        return fingerprint(self.root, self.files, [None] * len(self.files))
