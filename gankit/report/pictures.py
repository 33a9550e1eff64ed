"""The pictures of runs as parts of a page: those that matter, small enough, and only what is whole."""

from __future__ import annotations

import io
import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from gankit.errors import GankitError
from gankit.files import read_regular
from gankit.json_file import shortened
from gankit.sampling.animation import SHEET, series

MOST = 50
"""Most steps of a series that are shown."""
BUDGET = 9_000_000
"""Bytes that all pictures of a page come to, before they are written as text, which takes a third more."""
LARGEST = 200_000_000
"""Bytes of a file beyond which it is not looked at."""
PIXELS = 2**26
"""Pixels beyond which a picture is not decoded."""
QUALITY = 80
_SMALLEST = 64  # pixels a side below which nothing is to be seen


@dataclass
class Picture:
    """A picture of a run. `uri` is its content once :func:`embed` was called, "" if it could not be had."""

    path: Path
    step: int = 0
    uri: str = ""
    wide: int = 0
    high: int = 0
    problem: str = ""
    reduced: bool = False
    """Whether it is smaller than its file, or has lost details."""


@dataclass
class Series:
    """Pictures of one kind, one a step, oldest first."""

    name: str
    pictures: list[Picture]
    drawn: int
    """How many there are in the run."""

    @property
    def is_sheet(self) -> bool:
        return self.name == SHEET


def series_of(run: Path, best: int | None) -> list[Series]:
    """Of each series of a run no more than :data:`MOST` pictures: the first, the last, that of step `best`, and others
    evenly between."""
    found = []
    for name, paths in series(run).items():
        pictures = [Picture(path, int(path.name.partition(".")[0].partition("-")[0])) for path in paths]
        found.append(Series(name, chosen(pictures, best), len(pictures)))
    return found


def chosen(pictures: Sequence[Picture], best: int | None) -> list[Picture]:
    """No more than :data:`MOST` of them."""
    number = len(pictures)
    if number <= MOST:
        return list(pictures)
    kept = [round(i * (number - 1) / (MOST - 1)) for i in range(MOST)]
    wanted = next((i for i, picture in enumerate(pictures) if picture.step == best), None)
    if wanted is not None and wanted not in kept:  # in the place of its neighbour, but for the first and the last
        kept[min(range(1, MOST - 1), key=lambda at: abs(kept[at] - wanted))] = wanted
    return [pictures[i] for i in kept]


def embed(pictures: Sequence[Picture], budget: int = BUDGET) -> None:
    """Gives each its content, or a problem where it cannot be shown; together they come to `budget` bytes.

    A PNG that is no larger than its share stays as it is; others become WebP, and smaller as far as they have to.
    """
    left, waiting = budget, sorted(pictures, key=lambda picture: _bytes(picture.path))
    for done, picture in enumerate(waiting):  # the small ones first: what they leave is for the large ones
        share = left // (len(waiting) - done)
        try:
            content, kind = _content(picture, share)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, GankitError) as error:
            picture.problem = f"{_place(picture.path)} cannot be shown: {shortened(str(error))}"
            continue
        left -= len(content)
        picture.uri = f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"


def _content(picture: Picture, share: int) -> tuple[bytes, str]:
    """The bytes that are shown, no more than `share`, and their format."""
    if (size := _bytes(picture.path)) > LARGEST:
        raise ValueError(f"it has {size:,} bytes")
    content = read_regular(picture.path)
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            picture.wide, picture.high = image.size
            if image.width * image.height > PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels")
            if len(content) <= share:
                image.verify()
                return content, "png"
    except Image.UnidentifiedImageError:
        raise ValueError("it is no whole PNG file") from None
    picture.reduced = True
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        made = _webp(image.convert("RGBA" if "A" in image.getbands() else "RGB"), share)
    return made, "webp"


def _webp(image: Image.Image, share: int) -> bytes:
    """`image` as WebP, smaller until it has no more than `share` bytes."""
    while True:
        data = io.BytesIO()
        image.save(data, "WEBP", quality=QUALITY, method=2)
        if (size := data.tell()) <= share:
            return data.getvalue()
        factor = min(0.9, math.sqrt(share / size))
        wide, high = (max(1, int(side * factor)) for side in image.size)
        if max(wide, high) < _SMALLEST:
            raise ValueError("there is no room for it on the page")
        image = image.resize((wide, high), Image.Resampling.BOX)


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _place(path: Path) -> str:
    return "/".join(path.parts[-2:])


__all__ = ["Picture", "Series", "chosen", "embed", "series_of"]
