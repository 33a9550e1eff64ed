"""What drawings of ``placed-emoji`` stand on: a colour, or a part of a photograph."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from gankit.data.files import SUFFIXES, directory, list_images, named
from gankit.data.layout import by_directories, hold_out
from gankit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

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

        self.root, self.size = directory(root, "data.photographs", "photographs"), size
        self._split, self._held_out = split, held_out
        listing = list_images(self.root)
        if not listing.files:
            found = "; ".join((listing.describe_others(), *listing.problems))
            looked = " ".join(sorted(SUFFIXES))
            raise UsageError(f"data.photographs: no images in {self.root}: found {found}; looked for {looked}")
        self._named = by_directories(listing.files)
        self._notes = [*listing.problems, *self._named.notes]
        files, side = (*self._named.train, *self._named.test), FINEST * size
        # of all, not in memory: both splits share what is on disk
        self._store = ImageStore(self.root, files, size=(side, side), memory=0, disk=disk)
        self._sides: dict[int, int] = {}

    @cached_property
    def _splits(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The photographs for training and for testing, without those known to be broken."""
        readable = set(self._store.files)
        train, test = (
            tuple(file for file in part if file in readable) for part in (self._named.train, self._named.test)
        )
        if not train:
            reason = named(sorted(self._store.unreadable.values()), 1)
            raise UsageError(f"data.photographs: none of those for training can be read: {reason}")
        return (train, test) if test else hold_out(train, self._held_out)

    @cached_property
    def _numbers(self) -> list[int]:
        """Those of the split's photographs in the store."""
        number = {file: one for one, file in enumerate(self._store.files)}
        return [number[file] for file in self.files]

    @property
    def files(self) -> tuple[str, ...]:
        """The split's, relative to the directory."""
        return self._splits[self._split == "test"]

    def load(self, tell: OnEvent) -> None:
        self._store.load(tell)

    def cut(self, draw: np.random.Generator) -> np.ndarray:
        """A square part of one of them: float32 (size, size, 3), 0 to 255."""
        import numpy as np
        from PIL import Image

        planes, number = self._readable(int(draw.integers(len(self._numbers))))
        whole = FINEST * self.size
        least = self.size * max(1.0, whole / self._side(number))  # enlarging would make the ground softer
        side = float(draw.uniform(min(least, whole), whole))
        left, top = (float(draw.uniform(0, whole - side)) for _ in range(2))
        size, box = (self.size, self.size), (left, top, left + side, top + side)
        parts = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR, box=box) for plane in planes.numpy()]
        return np.stack(parts, axis=2).astype(np.float32)

    def _readable(self, start: int) -> tuple[Tensor, int]:
        """The square of one of the split's, or of the next of them that can be read, and its number."""
        import torch

        for offset in range(len(self._numbers)):
            number = self._numbers[(start + offset) % len(self._numbers)]
            planes, found = self._store.read(torch.tensor([number]))
            if int(found) == number:  # of another split otherwise, it may be
                return planes[0], number
        raise UsageError(f"data.photographs: none of the {len(self.files)} of the {self._split} split can be read")

    def _side(self, number: int) -> int:
        """The shorter side of a photograph as it is in its file."""
        from PIL import Image

        from gankit.data.images import ImageError, readable

        if number not in self._sides:
            try:
                with readable(self.root / self._store.files[number]) as file, Image.open(file) as image:
                    self._sides[number] = min(image.size)
            except ImageError:  # of a kind that Pillow does not read
                self._sides[number] = FINEST * self.size
        return self._sides[number]

    def notes(self) -> list[str]:
        """What the user should know: what was left out, what cannot be read, where the rest is kept."""
        train, test = self._splits
        notes = [*self._notes, *self._store.notes()]
        if train == test:
            notes.append(f"there is one alone, {train[0]}: what is held out stands on parts of it, too")
        return [f"data.photographs: {note}" for note in notes]

    def fingerprint(self) -> str:
        from gankit.data.fingerprint import fingerprint

        return fingerprint(self.root, self.files, [None] * len(self.files))
