"""What drawings of ``placed-emoji`` stand on: a colour, or a part of a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gankit.data.files import directory, list_images, named
from gankit.data.fingerprint import fingerprint
from gankit.errors import GankitError, UsageError
from gankit.events import OnEvent, ignore, progress

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

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
MOST = 1000
"""Photographs that are used of a directory, the first by name."""
FINEST = 3
"""Shorter side in which a photograph is held, in sides of the dataset's images."""
PARTS = {"train": (0.0, 0.75), "test": (0.75, 1.0)}
"""Which part of a photograph's width is a split's."""


class Photographs:
    """The photographs below a directory, held small, of which parts are cut. UsageErrors where there are none."""

    def __init__(self, root: str, size: int, split: str) -> None:
        self.root, self.size, self.part = directory(root, "data.photographs", "photographs"), size, PARTS[split]
        self.files = list_images(self.root).files[:MOST]
        if not self.files:
            raise UsageError(f"data.photographs: no image files in {self.root}")
        self.wrong: list[str] = []
        self._held: list[Image.Image] = []

    def load(self, tell: OnEvent = ignore) -> None:
        """Reads them, if they are not yet; UsageError if none can be."""
        from gankit.data.images import load

        if self._held:
            return
        held = []
        for name in progress(self.files, "reading photographs", tell):
            try:
                image = load(Path(self.root, name), 3, at_least=FINEST * self.size)
            except GankitError as error:
                self.wrong.append(str(error))
                continue
            left, right = (round(image.width * end) for end in self.part)
            left = min(left, image.width - 1)
            held.append(self._small(image.crop((left, 0, max(right, left + 1), image.height))))
        if not held:
            raise UsageError(f"data.photographs: none of the {len(self.files)} files can be read: {self.wrong[0]}")
        self._held = held

    def _small(self, image: Image.Image) -> Image.Image:
        from PIL import Image

        scale = FINEST * self.size / min(image.size)
        if scale >= 1:
            return image
        width, height = (max(1, round(side * scale)) for side in image.size)
        return image.resize((width, height), Image.Resampling.BOX)

    def cut(self, draw: np.random.Generator) -> np.ndarray:
        """A square part of one of them: float32 (size, size, 3), 0 to 255."""
        import numpy as np
        from PIL import Image

        self.load()
        image = self._held[draw.integers(len(self._held))]
        most = min(image.size)
        side = float(draw.uniform(min(self.size, most), most))
        left, top = (float(draw.uniform(0, whole - side)) for whole in image.size)
        box = (left, top, left + side, top + side)
        part = image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)
        return np.asarray(part, dtype=np.float32)

    def notes(self) -> list[str]:
        """What was left out, for the user."""
        return [f"Photographs that cannot be read: {named(self.wrong, 2)}"] if self.wrong else []

    def fingerprint(self) -> str:
        return fingerprint(self.root, self.files, [None] * len(self.files))
