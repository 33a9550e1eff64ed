"""The pictures that a run drew at one step after another, as one that moves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from gankit.data.images import load, readable
from gankit.errors import UsageError
from gankit.sampling.film import FORMATS, check_film, write_film

FRAMES = 200
"""Most frames of an animation: of more pictures every k-th is taken, the first and the last among them."""
SHEET = "sheet"
"""What the series of sample sheets is called, beside the names of figures."""

_PICTURE = re.compile(r"([0-9]{6,})(?:-([\w.-]+))?\.png")
_HOLD = 2.0  # seconds that the last frame stays before the first comes again


def series(run: Path) -> Mapping[str, list[Path]]:
    """The pictures in the directory of a run, oldest first, by name: :data:`SHEET`, and each figure's."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in (run / "samples").glob("*.png"):
        if match := _PICTURE.fullmatch(path.name):
            found.setdefault(match[2] or SHEET, []).append((int(match[1]), path))
    names = sorted(found, key=lambda name: (name != SHEET, name))
    return {name: [path for _, path in sorted(found[name])] for name in names}


def animate(run: Path, out: Path, figure: str | None = None, *, rate: float = 5.0, overwrite: bool = False) -> int:
    """Write the pictures of a run as the file `out`, .png, .gif, .webp or .mp4, `rate` a second; the number of frames.

    `figure` is a name that :func:`series` returns, by default its first. Bounded by :data:`FRAMES` and what
    :func:`~gankit.sampling.film.write_film` says. :class:`UsageError` if there is no such figure, fewer than two
    pictures, or `out` cannot be written.
    """
    check_out(out, overwrite=overwrite)
    found = series(run)
    name = figure if figure is not None else next(iter(found), SHEET)
    if name not in found:
        names = f"it has {', '.join(found)}" if found else "it has none yet"
        raise UsageError(f"{run} has no pictures of {name!r}: {names}.")
    if len(found[name]) < 2:
        raise UsageError(f"{run} has one picture of {name!r}, and an animation takes two: sample_every is how often.")
    paths = _thinned(found[name])
    return write_film(out, _alike(paths), len(paths), rate=rate, hold=_HOLD, overwrite=overwrite)


def check_out(out: Path, *, overwrite: bool) -> None:
    """:class:`UsageError` where no animation could be written: to be told before it is made."""
    if out.suffix.lower() not in (".png", *FORMATS):
        raise UsageError(f"{out}: an animation is a PNG, GIF, WebP or MP4 file. Give {out.with_suffix('.png')}.")
    check_film(out, overwrite=overwrite)


def _thinned(paths: Sequence[Path]) -> list[Path]:
    if len(paths) <= FRAMES:
        return list(paths)
    return [paths[round(i * (len(paths) - 1) / (FRAMES - 1))] for i in range(FRAMES)]


def _alike(paths: Sequence[Path]) -> Iterator[Image.Image]:
    """All in one size, the largest of them, on white; one is in memory at a time."""
    sizes = []
    for path in paths:
        with readable(path) as file, Image.open(file) as header:
            sizes.append(header.size)
    size = max(wide for wide, _ in sizes), max(high for _, high in sizes)
    for path in paths:
        image = load(path, 3)
        if image.size != size:
            whole = Image.new("RGB", size, "white")
            whole.paste(image)
            image = whole
        yield image


__all__ = ["FRAMES", "SHEET", "animate", "check_out", "series"]
