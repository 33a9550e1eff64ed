"""Dataset ``street-digits``: house numbers, composed as the cropped digits of SVHN look.

A digit stands in the middle, printed or handwritten, in one colour on a crop of a photograph, and often others beside
it, cut off at the border. The photographs are those of scikit-learn (CC BY), whose right quarter is kept for the test
split; the handwriting is that of every second digit of ``mnist``, the fonts are those of matplotlib.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from gankit.errors import PluginError
from gankit.events import Progress, ignore
from gankit.plugin import Config, Dataset, DataSpec, Key
from gankit_plugin_cycada import glyphs
from gankit_plugin_cycada.composed import composed

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gankit.events import OnEvent
    from gankit.plugin import Batch

NAMES = tuple("0123456789")
VERSION = 1
"""Of how samples are composed: what was kept of another one is composed anew."""
TEST_PART = 4
"""The last part of so many of a photograph's width is for the test split, and of so many samples one is tested."""
DETAIL = 2
"""How many times as large a sample is drawn as it is delivered."""


class StreetDigitsConfig(Config):
    """Options of the dataset ``street-digits``."""

    size: int = Field(32, ge=16, le=128)
    """Width and height in pixels."""
    number: int = Field(8000, ge=40, le=100_000)
    """How many there are to train on; a quarter as many are held out."""
    printed: float = Field(0.5, ge=0, le=1)
    """Part of them whose digits are printed; the others are handwritten."""


class StreetDigits(Dataset[StreetDigitsConfig]):
    """Digits in colours on crops of photographs, with neighbours at their sides, as house numbers look.

    ``image``: uint8 (N, 3, size, size). ``label``: int64 (N,), the digit in the middle, 0 to 9 as often. Photographs,
    handwriting and fonts of a split are its own. A sample follows from its number, the size and the options alone.
    """

    Config = StreetDigitsConfig
    in_memory = True

    def __init__(self, config: StreetDigitsConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._count = config.number if split == "train" else config.number // TEST_PART
        self._images: Tensor | None = None

    @property
    def spec(self) -> DataSpec:
        size = self.config.size
        image = Key(kind="image", shape=(3, size, size))
        return DataSpec(keys={"image": image, "label": Key(kind="class", names=NAMES)})

    def __len__(self) -> int:
        return self._count

    def load(self, tell: OnEvent) -> None:
        self._composed(tell)

    def batch(self, indices: Tensor) -> Batch:
        return {"image": self._composed().index_select(0, indices), "label": indices % len(NAMES)}

    def fingerprint(self) -> str:
        return f"street-digits {len(self)} {blake2b(self._composed().numpy().data, digest_size=16).hexdigest()}"

    def _composed(self, tell: OnEvent = ignore) -> Tensor:
        if self._images is None:
            import numpy as np
            import torch

            shape = (self._count, 3, self.config.size, self.config.size)
            content = composed(
                self._name(), math.prod(shape), lambda: _all(self.split, self.config, shape, tell).tobytes()
            )
            self._images = torch.from_numpy(np.frombuffer(content, np.uint8).reshape(shape).copy())
        return self._images

    def _name(self) -> str:
        made_of = (VERSION, self.split, self._count, self.config.size, self.config.printed, glyphs.found(self.split))
        return f"street-digits-{blake2b(repr(made_of).encode(), digest_size=12).hexdigest()}"


def _all(
    split: Literal["train", "test"], config: StreetDigitsConfig, shape: Sequence[int], tell: OnEvent
) -> np.ndarray:
    """All samples of a split, uint8 of that shape; sample i shows the digit i % 10."""
    import numpy as np

    fonts, hands, grounds = glyphs.printed(split), glyphs.handwritten(split), _photographs(split)
    images, size = np.empty(shape, np.uint8), config.size
    for index in range(len(images)):
        if index % 500 == 0:
            tell(Progress(what="composing house numbers", done=index, total=len(images)))
        draw = np.random.default_rng((0 if split == "train" else 1, index))
        font = fonts[draw.integers(len(fonts))] if draw.random() < config.printed else None

        def glyph(digit: int, draw: np.random.Generator = draw, font: list[np.ndarray] | None = font) -> np.ndarray:
            return font[digit] if font else hands[digit][draw.integers(len(hands[digit]))]

        ground = _ground(grounds[draw.integers(len(grounds))], size, draw)
        alpha = _number(index % len(NAMES), glyph, size, draw)[..., None]
        ink = _ink(ground.mean((0, 1)), draw)
        pixels = ground + alpha * (ink - ground) + draw.normal(0, 4, ground.shape)
        images[index] = np.rint(pixels).clip(0, 255).transpose(2, 0, 1)
    return images


def _number(digit: int, glyph: Callable[[int], np.ndarray], size: int, draw: np.random.Generator) -> np.ndarray:
    """How much of the ink there is at each pixel, 0 to 1, (size, size): the digit, and what stands beside it."""
    import numpy as np
    from PIL import Image, ImageFilter

    side = DETAIL * size
    height = int(side * draw.uniform(0.62, 0.9))
    mask = Image.new("L", (side, side))
    stretch, gap = draw.uniform(0.85, 1.15), int(side * draw.uniform(0.02, 0.1))

    def standing(of: int) -> Image.Image:
        drawn = Image.fromarray(glyph(of))
        return drawn.resize((max(2, int(drawn.width * height / drawn.height * stretch)), height))

    middle = standing(digit)
    left = (side - middle.width) // 2 + int(side * draw.uniform(-0.06, 0.06))
    top = (side - height) // 2 + int(side * draw.uniform(-0.05, 0.05))
    mask.paste(middle, (left, top), middle)
    if draw.random() < 0.6:
        before = standing(int(draw.integers(10)))
        mask.paste(before, (left - gap - before.width, top), before)
    if draw.random() < 0.6:
        after = standing(int(draw.integers(10)))
        mask.paste(after, (left + gap + middle.width, top), after)
    turned = mask.rotate(draw.uniform(-10, 10), Image.Resampling.BILINEAR)
    blurred = turned.filter(ImageFilter.GaussianBlur(DETAIL * draw.uniform(0.0, 0.7)))
    small = blurred.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255


def _ground(photograph: Any, size: int, draw: np.random.Generator) -> np.ndarray:
    """A crop of a photograph in other colours and of less contrast, as a wall is: float32 (size, size, 3)."""
    import numpy as np
    from PIL import Image

    most = min(photograph.size)
    side = int(draw.integers(min(size // 2, most // 3 - 1), most // 3))
    left, top = (int(draw.integers(0, whole - side)) for whole in photograph.size)
    crop = photograph.resize((size, size), Image.Resampling.BOX, box=(left, top, left + side, top + side))
    pixels = np.asarray(crop, dtype=np.float32)
    mean = pixels.mean((0, 1))
    tint = draw.uniform(20, 235) + draw.uniform(-40, 40, 3)
    return tint + (pixels - mean) * draw.uniform(0.15, 0.7)


def _ink(ground: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A colour that stands out from the mean colour of the ground: 70 grey levels lighter or darker at least."""
    grey = float(ground.mean())
    room = [(low, high) for low, high in ((0.0, grey - 70), (grey + 70, 255.0)) if high - low > 10]
    low, high = room[draw.integers(len(room))]
    colour: np.ndarray = (draw.uniform(low, high) + draw.uniform(-30, 30, 3)).clip(0, 255)
    return colour


@lru_cache(maxsize=2)
def _photographs(split: str) -> list[Any]:
    """The split's part of each of scikit-learn's photographs, as Pillow images."""
    from gankit.data.images import load

    found = importlib.util.find_spec("sklearn")  # whose import would take seconds
    places = (found.submodule_search_locations if found else None) or []
    files = [file for place in places for file in sorted(Path(place, "datasets", "images").glob("*.jpg"))]
    if not files:
        raise PluginError("'street-digits' stand on the photographs of scikit-learn: pip install scikit-learn")
    parts = []
    for photograph in (load(file, 3) for file in files):
        edge = photograph.width * (TEST_PART - 1) // TEST_PART
        left, right = (0, edge) if split == "train" else (edge, photograph.width)
        parts.append(photograph.crop((left, 0, right, photograph.height)))
    return parts
