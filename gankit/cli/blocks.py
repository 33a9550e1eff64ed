"""A picture on a terminal: two pixels a character, one above the other, as the colours of a half block."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.color import Color
from rich.console import RenderableType
from rich.progress import Progress
from rich.segment import Segment, Segments
from rich.style import Style

from gankit.data.images import load
from gankit.errors import GankitError

BELOW = 8
"""Lines of a terminal that are left to what stands below the picture."""


class PictureAbove(Progress):
    """Progress bars with a picture above them, which is redrawn in its place."""

    picture: Segments | None = None

    def draw(self, path: Path) -> None:
        """Show the image file `path` from now on. A file that cannot be read, or a console without colours or half
        blocks, is no reason for the work to stop: then nothing changes."""
        if self.console.color_system is None or "utf" not in self.console.encoding.lower():
            return
        try:
            self.picture = blocks(path, self.console.width - 1, self.console.height - BELOW)
        except GankitError:
            return
        self.refresh()

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.picture is not None:
            yield self.picture
        yield from super().get_renderables()


def blocks(path: Path, columns: int, lines: int) -> Segments:
    """The image file as coloured half blocks, as large as fits into `columns` x `lines` characters, never enlarged.

    :class:`gankit.data.images.ImageError` if it cannot be read.
    """
    image = load(path, 3)
    factor = min(1.0, max(1, columns) / image.width, 2 * max(1, lines) / image.height)
    size = max(1, int(image.width * factor)), max(2, int(image.height * factor) // 2 * 2)
    pairs = np.asarray(image.resize(size, Image.Resampling.BOX)).reshape(size[1] // 2, 2, size[0], 3)
    segments = []
    for above, below in pairs.tolist():
        for one, other in zip(above, below, strict=True):
            segments.append(Segment("▀", Style(color=Color.from_rgb(*one), bgcolor=Color.from_rgb(*other))))
        segments.append(Segment.line())
    return Segments(segments)


__all__ = ["BELOW", "PictureAbove", "blocks"]
