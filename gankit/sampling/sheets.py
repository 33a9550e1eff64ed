"""Sheets: many samples in one picture, in columns or side by side, words above, none larger than :data:`MOST`."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from gankit.data.images import MODES, to_uint8
from gankit.data.opacity import on_white

MOST = 4096
"""Most pixels a side of a sheet: of more samples than fit the first are shown, and what is too wide is made smaller."""
PANELS = 16
"""Rows of panels that are drawn for a sheet."""
_SEEN = 96  # images of fewer pixels a side are enlarged, so that a person can see them
_FONT, _LINE, _LINES = 12, 15, 5
_NARROW = 20  # pixels of a column above which no words are put


@dataclass(frozen=True)
class Layout:
    """How a sheet of samples is laid out."""

    columns: int | None = None
    """None: about square."""
    words: tuple[str, ...] = ()
    """Above the columns; with panels, above the last, whose images stand in as many columns, beside the others'."""
    panels: Mapping[str, Tensor] = field(default_factory=dict)
    """Images (N, C, H, W) that stand side by side in place of the samples alone, a row a sample, below their names."""


def page(images: Tensor, layout: Layout) -> Tensor:
    """The sheet of `images`, uint8 (height, width, 1 or 3)."""
    if layout.panels and layout.words:
        return turned_sheet(layout.panels, layout.words)
    if layout.panels:
        return panel_sheet(layout.panels)
    return sheet(images, layout.columns, words=layout.words)


def sheet(
    images: Tensor,
    columns: int | None = None,
    *,
    words: Sequence[str] = (),
    scale: int | None = None,
    gutter: int = 2,
    most: int = MOST,
) -> Tensor:
    """One picture of many: uint8 (height, width, 1 or 3) of float `images` (N, C, H, W) in [-1, 1].

    Row by row in `columns` columns (as square as it goes if None) with white gutters of `gutter` pixels, and `words`
    above the columns. Images of less than 96 pixels are enlarged by a whole `scale`, so that a person can see them.
    What :func:`visible` says of channels and :data:`MOST` of sizes holds.
    """
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must be (N, C, H, W) and not empty, got {tuple(images.shape)}")
    number = len(images)
    columns = min(columns or math.ceil(math.sqrt(number)), number, max(1, (most + gutter) // (1 + gutter)))
    rows = math.ceil(number / columns)
    high = most - (_LINES + 1) * _LINE if words else most
    tiles = to_uint8(visible(images)).cpu()
    scale, size = _fitting(tiles.shape[-2:], columns, rows, scale, gutter, (high, most), bool(words))
    rows = max(1, min(rows, (high + gutter) // (size[0] * scale + gutter)))
    tiles = _reduced(tiles[: rows * columns], size).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    picture = _laid_out(tiles, rows, columns, gutter)
    if words and size[1] * scale >= _NARROW:
        band = torch.from_numpy(_band(words[:columns], size[1] * scale, gutter, picture.shape[1]))
        picture = torch.cat([band[..., None].expand(-1, -1, picture.shape[2]), picture])
    return picture


def panel_sheet(panels: Mapping[str, Tensor]) -> Tensor:
    """`panels`, images (N, C, H, W) each, side by side, a row a sample, below their names."""
    same = _alike(panels)
    return sheet(torch.stack(same, 1).flatten(0, 1), len(same), words=tuple(panels))


def turned_sheet(panels: Mapping[str, Tensor], words: Sequence[str]) -> Tensor:
    """What was asked with, once a row, and the last of `panels`, whose images belong to the `words` in turn."""
    *sources, made = _alike(panels)
    rows = math.ceil(len(made) / len(words))
    missing = torch.ones(rows * len(words) - len(made), *made.shape[1:])  # white
    results = torch.cat([made, missing]).unflatten(0, (rows, len(words)))
    shown = torch.cat([*(images[:: len(words)][:, None] for images in sources), results], 1)
    return sheet(shown.flatten(0, 1), shown.shape[1], words=(*list(panels)[:-1], *words))


def _alike(panels: Mapping[str, Tensor]) -> list[Tensor]:
    """The images of `panels`, of one size and number of channels."""
    shown = [visible(images.float()) for images in panels.values()]
    channels = max(images.shape[1] for images in shown)
    size = max(images.shape[-2] for images in shown), max(images.shape[-1] for images in shown)
    return [_brought_to(images, size).expand(-1, channels, -1, -1) for images in shown]


def visible(images: Tensor) -> Tensor:
    """`images`, float (N, C, H, W) in [-1, 1], if they are grey or colour; opacity, a fourth channel, is laid on white;
    of more or fewer channels the first three, or the first."""
    channels = images.shape[1]
    if channels == 4:
        return on_white(images)
    return images if channels in (1, 3) else images[:, : 3 if channels > 3 else 1]


def hidden_channels(channels: int) -> str:
    """What is to be said where pictures show a part of the channels; "" where they show all."""
    if channels in MODES:
        return ""
    return f"pictures show {'the first 3' if channels > 3 else 'the first'} of {channels} channels"


def bounded(picture: Tensor, most: int = MOST) -> Tensor:
    """A picture, uint8 (H, W, 3), made smaller if a side is longer than `most`."""
    high, wide = picture.shape[:2]
    if max(high, wide) <= most:
        return picture
    factor = most / max(high, wide)
    return _reduced(picture.movedim(-1, 0)[None], (int(high * factor) or 1, int(wide * factor) or 1))[0].movedim(0, -1)


def _fitting(
    size: Sequence[int],
    columns: int,
    rows: int,
    scale: int | None,
    gutter: int,
    most: tuple[int, int],
    worded: bool,
) -> tuple[int, tuple[int, int]]:
    """(scale, (height, width)): how tiles of `size` are enlarged, or what they are reduced to, so that columns fit."""
    high, wide = size
    wish = scale or (math.ceil(_SEEN / wide) if worded else max(1, _SEEN // max(high, wide)))
    room = max(1, (most[1] + gutter) // columns - gutter)
    for scale in range(wish, 0, -1):
        if wide * scale <= room and rows * (high * scale + gutter) - gutter <= most[0]:
            return scale, (high, wide)
    factor = min(1.0, room / wide, most[0] / high)
    return 1, (max(1, int(high * factor)), max(1, int(wide * factor)))


def _reduced(images: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 images (N, C, H, W) at a size that is no larger, each pixel the mean of those it stands for."""
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images.float(), size, mode="area").round().clamp(0, 255).to(torch.uint8)


def _brought_to(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size, mode="nearest")


def _laid_out(tiles: Tensor, rows: int, columns: int, gutter: int) -> Tensor:
    number, channels, height, width = tiles.shape
    high, wide = height + gutter, width + gutter
    cells = torch.full((rows * columns, channels, high, wide), 255, dtype=torch.uint8)
    cells[:number, :, :height, :width] = tiles
    cells = cells.view(rows, columns, channels, high, wide).permute(0, 3, 1, 4, 2)
    return cells.reshape(rows * high, columns * wide, channels)[: rows * high - gutter, : columns * wide - gutter]


def _band(words: Sequence[str], wide: int, gutter: int, width: int) -> np.ndarray:
    """uint8 (height, width): `words` above columns that are `wide`, wrapped, centred, standing on the images."""
    columns = [_wrapped(text, wide) for text in words]
    lines = max(map(len, columns))
    band = Image.new("L", (width, lines * _LINE + 4), 255)
    drawing = ImageDraw.Draw(band)
    for column, texts in enumerate(columns):
        left, top = column * (wide + gutter), 2 + (lines - len(texts)) * _LINE
        for row, text in enumerate(texts):
            drawing.text((left + max(0, (wide - _length(text)) // 2), top + row * _LINE), text, fill=0, font=_font())
    return np.array(band)


def _wrapped(text: str, wide: int) -> list[str]:
    """`text` in lines of no more than `wide` pixels; what does not fit into the last ends in dots."""
    lines = [""]
    for word in _drawable(text).split() or [""]:
        if lines[-1] and _length(f"{lines[-1]} {word}") <= wide:
            lines[-1] += f" {word}"
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:  # a word that is longer than a line is broken where the line ends
            if lines[-1] and _length(lines[-1] + letter) > wide:
                lines.append("")
            lines[-1] += letter
    if len(lines) > _LINES:
        last = lines[_LINES - 1]
        while last and _length(f"{last}...") > wide:
            last = last[:-1]
        lines = [*lines[: _LINES - 1], f"{last}..."]
    return lines


def _drawable(text: str) -> str:
    """`text` as far as the font can be asked for it: without control characters and halves of surrogate pairs."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    try:
        _font().getlength(plain)
        return "".join(map(_letter, plain))
    except (UnicodeError, ValueError, OSError):  # Pillow without FreeType has a font of Latin-1 alone
        return plain.encode("ascii", "replace").decode()


@cache
def _letter(letter: str) -> str:
    """`letter`, without its accents if the font has it only without."""
    if letter.isascii() or _glyph(letter) != _glyph("\uffff"):
        return letter
    bare = unicodedata.normalize("NFKD", letter)
    bare = "".join(part for part in bare if not unicodedata.combining(part))
    return bare if bare.isascii() and bare else letter


def _glyph(letter: str) -> bytes:
    return bytes(_font().getmask(letter))


def _length(text: str) -> int:
    return math.ceil(_font().getlength(text))


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(_FONT)
    except (ImportError, OSError, TypeError):  # built without FreeType
        return ImageFont.load_default()


__all__ = [
    "MOST",
    "PANELS",
    "Layout",
    "bounded",
    "hidden_channels",
    "page",
    "panel_sheet",
    "sheet",
    "turned_sheet",
    "visible",
]
