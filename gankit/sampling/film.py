"""Pictures that move, in one file: GIF, animated PNG and WebP by Pillow, MP4 by PyAV (the extra ``video``)."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gankit.errors import UsageError
from gankit.files import placed
from gankit.json_file import shortened

__all__ = ["FORMATS", "PIXELS", "check_film", "write_film"]

FORMATS = {".mp4": "MP4", ".gif": "GIF", ".webp": "WEBP", ".apng": "PNG"}
"""What names of films end in; who writes one may take .png for an animated PNG, too."""
PIXELS = 2**26
"""Most pixels of all frames of a film that is no MP4 file: Pillow holds them until it writes."""
MP4_SIDE = 4096
"""Most pixels a side of MP4: what players can be expected to show."""


def check_film(out: Path, *, overwrite: bool) -> None:
    """:class:`UsageError` where no film could be written: to be told before it is made."""
    if out.suffix.lower() == ".mp4" and importlib.util.find_spec("av") is None:
        raise UsageError(f"{out}: MP4 needs PyAV: pip install 'gankit[video]'. A GIF or WebP file needs nothing more.")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists already. Give another --out.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"there is no directory {out.parent}.")


def write_film(
    out: Path, frames: Iterable[Image.Image], count: int, *, rate: float, hold: float = 0.0, overwrite: bool = False
) -> int:
    """Writes `frames`, RGB or grey and all of one size, `rate` a second, in the format that the name of `out` says.

    There are `count` of them; the last stays for `hold` seconds before the first comes again. Frames of MP4 are
    encoded as they come; of other formats they are made smaller if there are more than :data:`PIXELS` together. The
    file is there once it is whole. Returns the number of frames. :class:`UsageError` if it cannot be written.
    """
    kind = {**FORMATS, ".png": "PNG"}[out.suffix.lower()]
    try:
        with placed(out, overwrite=overwrite) as beside:
            if kind == "MP4":
                return _write_mp4(beside, frames, rate, hold)
            return _write_pillow(beside, kind, frames, count, rate, hold)
    except OSError as error:
        reason = "it exists already" if isinstance(error, FileExistsError) else error.strerror or error
        raise UsageError(f"cannot write to {out}: {reason}. Give another --out.") from error


def _write_pillow(path: Path, kind: str, frames: Iterable[Image.Image], count: int, rate: float, hold: float) -> int:
    images = (_smaller(frame, PIXELS // count) for frame in frames)
    first, *rest = images  # Pillow goes through those of a PNG twice
    durations = [max(1, round(1000 / rate))] * count
    durations[-1] = round(1000 * hold) or durations[-1]
    how: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    first.save(path, kind, save_all=True, append_images=rest, duration=durations, loop=0, **how)
    return count


def _smaller(image: Image.Image, most: int) -> Image.Image:
    wide, high = image.size
    factor = min(1.0, math.sqrt(most / (wide * high)))
    size = max(1, int(wide * factor)), max(1, int(high * factor))
    return image if image.size == size else image.resize(size, Image.Resampling.BOX)


def _write_mp4(path: Path, frames: Iterable[Image.Image], rate: float, hold: float) -> int:
    """H.264 in 4:2:0, which all players know: its sides are even, so that a row or a column may be doubled."""
    import av

    images = iter(frames)
    first = _even(next(images))
    speed = Fraction(rate).limit_denominator(1000)
    written = 0
    try:
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=speed, options={"crf": "18"})
            stream.height, stream.width, stream.pix_fmt = *first.shape[:2], "yuv420p"
            last = first
            for last in chain([first], map(_even, images)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(last, format="rgb24")))
                written += 1
            for _ in range(round(hold * rate)):  # there is no other way to say it that players heed
                container.mux(stream.encode(av.VideoFrame.from_ndarray(last, format="rgb24")))
            container.mux(stream.encode())
    except av.FFmpegError as error:
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, error.strerror) from error
        raise UsageError(f"the film cannot be encoded: {shortened(str(error))}") from error
    return written


def _even(image: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3) of even sides, of no more than :data:`MP4_SIDE` pixels."""
    image = _smaller(image.convert("RGB"), image.width * image.height * MP4_SIDE**2 // max(*image.size, MP4_SIDE) ** 2)
    pixels = np.asarray(image)
    high, wide = pixels.shape[:2]
    return np.pad(pixels, ((0, high % 2), (0, wide % 2), (0, 0)), mode="edge")
