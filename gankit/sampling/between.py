"""A film of what lies between samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from torch import Tensor

from gankit.data.kinds import kind_of
from gankit.errors import UsageError
from gankit.plugin import DataSpec
from gankit.sampling.film import write_film
from gankit.sampling.interpolate import Ways
from gankit.sampling.sheets import sheet

__all__ = ["film_between"]


def film_between(
    found: Ways, spec: DataSpec, out: Path, *, frames: int, rate: float, loop: bool, overwrite: bool = False
) -> int:
    """Writes a film along the ways that were `found`, `frames` a way, `rate` a second; the number of frames.

    Ways that are joined are gone one after another, others side by side, all at once. With `loop` the last frame leads
    to the first: joined ways have to be closed, others are gone there and back, slowly where they turn. Frames are
    drawn as they are written. :class:`UsageError` if no images are drawn, or `out` cannot be written.
    """
    if not found.produces or not kind_of(spec[found.produces]).pixels:
        raise UsageError(f"{out}: what is drawn are no images. Give a name that ends in .npy.")
    if frames < 2:
        raise UsageError(f"frames must be at least 2, got {frames}.")
    n = found.asked.n
    count = n * (frames - 1) + (not loop) if found.joined else frames + (frames - 2) * loop
    to_picture = kind_of(spec[found.produces]).to_picture
    pictures = (_picture(to_picture(samples)) for samples in _along(found, frames, loop=loop))
    return write_film(out, pictures, count, rate=rate, overwrite=overwrite)


def _along(found: Ways, frames: int, *, loop: bool) -> Iterator[Tensor]:
    """The samples of each frame."""
    last, n = frames - 1, found.asked.n
    if found.joined:
        for way in range(n):
            for frame in range(last):
                yield found.draw(frame / last, slice(way, way + 1))
        if not loop:
            yield found.draw(1.0, slice(n - 1, n))
    elif loop:
        for frame in range(2 * last):
            yield found.draw((1 - math.cos(math.pi * frame / last)) / 2, slice(0, n))
    else:
        for frame in range(frames):
            yield found.draw(frame / last, slice(0, n))


def _picture(images: Tensor) -> Image.Image:
    """Images (N, C, H, W) side by side."""
    return Image.fromarray(sheet(images).squeeze(-1).numpy())
