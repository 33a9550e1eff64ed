"""The digits that stand on houses: printed ones of fonts, and handwritten ones of ``mnist``."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gankit.errors import PluginError

if TYPE_CHECKING:
    import numpy as np

SIDE = 64
"""Height of a glyph, in pixels."""
FONTS = {
    "train": (
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Bold"),
        *("STIXGeneral", "STIXGeneralBol", "cmr10", "cmss10"),
    ),
    "test": ("DejaVuSans-BoldOblique", "DejaVuSerif-Italic", "DejaVuSansMono-Bold", "STIXGeneralItalic", "cmtt10"),
}
"""Fonts that matplotlib carries (Bitstream Vera's, STIX's and BaKoMa's licences); those of a split are its own."""


def printed(split: Literal["train", "test"]) -> list[list[np.ndarray]]:
    """Of each font of the split the ten digits, cut to what is inked: uint8 (SIDE, width)."""
    return [_of_font(path) for path in _font_files(FONTS[split])]


@lru_cache(maxsize=64)
def _of_font(path: Path) -> list[np.ndarray]:
    from PIL import ImageFont

    font = ImageFont.truetype(str(path), 2 * SIDE)
    return [_cut(font, str(digit)) for digit in range(10)]


def _cut(font: object, text: str) -> np.ndarray:
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    assert isinstance(font, ImageFont.FreeTypeFont)
    sheet = Image.new("L", (4 * SIDE, 4 * SIDE))
    ImageDraw.Draw(sheet).text((SIDE, SIDE // 2), text, fill=255, font=font)
    box = sheet.getbbox()
    assert box is not None
    inked = sheet.crop(box)
    return np.asarray(inked.resize((max(1, round(inked.width * SIDE / inked.height)), SIDE), Image.Resampling.LANCZOS))


def found(split: Literal["train", "test"]) -> tuple[str, ...]:
    """The names of the fonts of the split that are there."""
    return tuple(path.stem for path in _font_files(FONTS[split]))


def handwritten(split: Literal["train", "test"]) -> list[list[np.ndarray]]:
    """The odd-numbered digits of ``mnist`` of that split, by digit, cut to what is inked: uint8 (height, width)."""
    import torch
    from gankit_plugin_gan.mnist import Mnist, MnistConfig

    data = Mnist(MnistConfig(), split)
    batch = data.batch(torch.arange(1, len(data), 2))
    found: list[list[np.ndarray]] = [[] for _ in range(10)]
    for pixels, label in zip(batch["image"][:, 0].numpy(), batch["label"].tolist(), strict=True):
        rows, columns = pixels.any(1).nonzero()[0], pixels.any(0).nonzero()[0]
        found[label].append(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return found


def _font_files(names: tuple[str, ...]) -> list[Path]:
    found = importlib.util.find_spec("matplotlib")  # whose import would take a second
    places = (found.submodule_search_locations if found else None) or []
    folders = [Path(place, "mpl-data", "fonts", "ttf") for place in places]
    files = [folder / f"{name}.ttf" for folder in folders for name in names]
    there = [file for file in files if file.is_file()]
    if not there:
        raise PluginError("the printed digits of 'street-digits' are of matplotlib's fonts: pip install matplotlib")
    return there
