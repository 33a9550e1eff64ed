"""The pictures that a run drew at one step after another, as one that moves: an animated PNG or GIF."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from gankit.data.images import load
from gankit.errors import UsageError
from gankit.files import write_whole

FRAMES = 200
"""Most frames of an animation: of more pictures every k-th is taken, the first and the last among them."""
PIXELS = 2**26
"""Most pixels of all frames together: what has more is made smaller. They are held at once while the file is made."""
SHEET = "sheet"
"""What the series of sample sheets is called, beside the names of figures."""

_PICTURE = re.compile(r"([0-9]{6,})(?:-([\w.-]+))?\.png")
_FORMATS = {".png": "PNG", ".gif": "GIF"}
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
    """Write the pictures of a run as the file `out`, .png or .gif, `rate` a second; the number of frames.

    `figure` is a name that :func:`series` returns, by default its first. Bounded by :data:`FRAMES` and :data:`PIXELS`.
    :class:`UsageError` if there is no such figure, fewer than two pictures, or `out` cannot be written.
    """
    check_out(out, overwrite=overwrite)
    found = series(run)
    name = figure if figure is not None else next(iter(found), SHEET)
    if name not in found:
        names = f"it has {', '.join(found)}" if found else "it has none yet"
        raise UsageError(f"{run} has no pictures of {name!r}: {names}.")
    if len(found[name]) < 2:
        raise UsageError(f"{run} has one picture of {name!r}, and an animation takes two: sample_every is how often.")
    frames = _alike([load(path, 3) for path in _thinned(found[name])])
    durations = [max(1, round(1000 / rate))] * (len(frames) - 1) + [round(1000 * _HOLD)]
    data = io.BytesIO()
    kind = _FORMATS[out.suffix.lower()]
    frames[0].save(data, kind, save_all=True, append_images=frames[1:], duration=durations, loop=0)
    try:
        write_whole(out, data.getbuffer(), overwrite=overwrite)
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror or error}. Give another --out.") from error
    return len(frames)


def check_out(out: Path, *, overwrite: bool) -> None:
    """:class:`UsageError` where no animation could be written: to be told before it is made."""
    if out.suffix.lower() not in _FORMATS:
        raise UsageError(f"{out}: an animation is a PNG or a GIF file. Give {out.with_suffix('.png')}.")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists already. Give another --out.")


def _thinned(paths: Sequence[Path]) -> list[Path]:
    if len(paths) <= FRAMES:
        return list(paths)
    return [paths[round(i * (len(paths) - 1) / (FRAMES - 1))] for i in range(FRAMES)]


def _alike(images: Sequence[Image.Image]) -> list[Image.Image]:
    """All in one size, the largest of them, on white; made smaller where they have too many pixels together."""
    wide, high = (max(image.size[side] for image in images) for side in (0, 1))
    factor = min(1.0, math.sqrt(PIXELS / (len(images) * wide * high)))
    size = max(1, int(wide * factor)), max(1, int(high * factor))
    frames = []
    for image in images:
        if image.size != (wide, high):
            whole = Image.new("RGB", (wide, high), "white")
            whole.paste(image)
            image = whole
        frames.append(image if image.size == size else image.resize(size, Image.Resampling.BOX))
    return frames


__all__ = ["FRAMES", "PIXELS", "SHEET", "animate", "check_out", "series"]
