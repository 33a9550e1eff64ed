"""Dataset ``captioned-digits``: real handwritten digits in coloured ink on a coloured or photographic ground."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from gankit.errors import PluginError
from gankit.plugin import Config, Dataset, DataSpec, Key
from gankit_plugin_stackgan import captions, chinese

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from gankit.plugin import Batch

EDGE = 0.3
"""Ink density over which a stroke's edge runs from bare to covered: about a pixel and a half at 32x32."""
JITTER = 6.0
"""Most that a sample's ink or ground departs from its colour, in each of R, G and B."""
MARGIN = 0.06
"""Bare border around the writing, as a part of the image's side."""
PATCH = (96.0, 160.0)
"""Side of the squares cut from the photographs, in their pixels."""


class CaptionedDigitsConfig(Config):
    """Options of the dataset ``captioned-digits``."""

    size: int = Field(32, ge=16, le=256)
    """Width and height of the images in pixels."""
    copies: int = Field(8, ge=1, le=64)
    """How often each handwritten digit is rendered for training, each time with other colours and another caption."""
    text_length: int = Field(112, ge=96, le=1024)
    """Bytes kept of a caption."""
    language: Literal["en", "zh"] = "en"
    """Of the captions: English or Chinese."""
    seed: int = Field(0, ge=0)
    """Which colours, strokes, patches and words the renderings get."""


class CaptionedDigits(Dataset[CaptionedDigitsConfig]):
    """Real handwritten digits in coloured ink on coloured or photographic grounds, with captions.

    ``image``: uint8 (N, 3, size, size). ``text``: uint8 (N, text_length), a caption that says digit, ink, ground and
    stroke weight. ``digit``, ``ink``, ``ground``, ``stroke``: int64 (N,), the same as classes; nothing trains on them
    but the judge.

    The writing is that of the dataset ``digits``; the test split has the held-out writing. An eighth of the
    combinations of digit, ink and ground stands in no training sample; half of the test samples are such. A quarter of
    the test captions use sentences that stand in no training caption.
    """

    Config = CaptionedDigitsConfig
    in_memory = True

    def __init__(self, config: CaptionedDigitsConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._held = _render(config.size, config.copies if split == "train" else 4, config.seed, split)
        copies = config.copies if split == "train" else 4
        self._text = _text(copies, config.seed, split, config.text_length, config.language)

    @property
    def spec(self) -> DataSpec:
        size = self.config.size
        return DataSpec(
            keys={
                "image": Key(kind="image", shape=(3, size, size)),
                "text": Key(kind="text", shape=(self.config.text_length,)),
                "digit": Key(kind="class", names=tuple(str(digit) for digit in range(10))),
                "ink": Key(kind="class", names=tuple(ink.name for ink in captions.INKS)),
                "ground": Key(kind="class", names=tuple(ground.name for ground in captions.GROUNDS)),
                "stroke": Key(kind="class", names=tuple(stroke.name for stroke in captions.STROKES)),
            }
        )

    def __len__(self) -> int:
        return len(self._text)

    def batch(self, indices: torch.Tensor) -> Batch:
        batch = {key: value.index_select(0, indices) for key, value in self._held.items()}
        batch["text"] = self._text.index_select(0, indices)
        return batch


@lru_cache(maxsize=4)
def _attributes(copies: int, seed: int, split: str) -> dict[str, np.ndarray]:
    """For each sample: int64 `digit`, `ink`, `ground`, `stroke`, and `row`, its digit's place in the split."""
    import numpy as np
    import torch
    from gankit_plugin_cgan.digits import Digits

    random = np.random.default_rng([seed, split == "test"])
    digits = Digits(Digits.Config(size=8), split)
    labels = digits.batch(torch.arange(len(digits)))["label"].numpy()
    row = np.tile(np.arange(len(labels)), copies)
    digit = labels[row]
    pairs = np.array(captions.allowed())
    held = np.array([[captions.held_out(d, i, g) for i, g in pairs] for d in range(10)])
    if split == "train":
        admitted = ~held[digit]
    else:  # every other copy of a digit has a combination that no training sample has
        admitted = held[digit] | (np.arange(len(row)) // len(labels) % 2 == 1)[:, None]
    # every ground, then every ink on it, equally often
    weight = 1 / np.bincount(pairs[:, 1])[pairs[:, 1]]
    keys = np.where(admitted, random.exponential(size=admitted.shape) / weight, np.inf)
    ink, ground = pairs[keys.argmin(1)].T
    stroke = random.integers(len(captions.STROKES), size=len(row))
    return {"row": row, "digit": digit, "ink": ink, "ground": ground, "stroke": stroke}


@lru_cache(maxsize=4)
def _text(copies: int, seed: int, split: str, length: int, language: str) -> Tensor:
    """The samples' captions, uint8 (N, length)."""
    import random

    from gankit.data.text import encode_text

    said = captions if language == "en" else chinese
    drawn = random.Random(f"{seed} {split}")
    a = _attributes(copies, seed, split)
    rows = zip(*(a[key].tolist() for key in ("digit", "ink", "ground", "stroke")), strict=True)
    return encode_text(
        [
            said.caption(
                *row,
                templates=said.UNSEEN if split == "test" and index % 4 == 0 else said.SEEN,
                pick=drawn.randrange,
            )
            for index, row in enumerate(rows)
        ],
        length,
    )


@lru_cache(maxsize=4)
def _render(size: int, copies: int, seed: int, split: str) -> dict[str, Tensor]:
    """Images, uint8 (N, 3, size, size), and the class keys, int64 (N,)."""
    import torch

    a = {key: torch.from_numpy(value) for key, value in _attributes(copies, seed, split).items()}
    count = len(a["row"])
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    density = _density(size, split)
    threshold = _thresholds(density)
    inks = torch.tensor([ink.rgb for ink in captions.INKS]).float()
    jitter = (torch.rand(2, count, 3, 1, 1, generator=generator) * 2 - 1) * JITTER
    grounds = _grounds(a["ground"], size, generator)

    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    for part in torch.arange(count).split(1024):
        cut = threshold[a["row"][part], a["stroke"][part]].view(-1, 1, 1, 1)
        alpha = _cover(density[a["row"][part]], cut)
        ink = inks[a["ink"][part]].view(-1, 3, 1, 1) + jitter[0, part]
        ground = grounds[part].float() + jitter[1, part]
        images[part] = torch.lerp(ground, ink, alpha).round().clamp(0, 255).to(torch.uint8)
    return {"image": images, **{key: a[key] for key in ("digit", "ink", "ground", "stroke")}}


def _density(size: int, split: str) -> Tensor:
    """Where the ink lies: float32 (rows, 1, size, size), about 1 along the middle of every stroke."""
    import torch
    from gankit_plugin_cgan.digits import Digits
    from torch.nn import functional as F

    margin = round(MARGIN * size)
    digits = Digits(Digits.Config(size=size - 2 * margin), split)
    density = digits.batch(torch.arange(len(digits)))["image"].float() / 255
    # A faint stroke is as much a stroke as a dark one: ink is measured against the darkest nearby.
    reach = max(1, size // 10)
    ridge = F.avg_pool2d(F.max_pool2d(density, 2 * reach + 1, 1, reach), 2 * reach + 1, 1, reach, True, False)
    density = density / (0.25 * density.amax((1, 2, 3), keepdim=True) + 0.75 * ridge)
    return F.pad(density, (margin,) * 4)


def _cover(density: Tensor, threshold: Tensor | float) -> Tensor:
    """How much ink covers each pixel, 0 to 1: strokes end where `density` falls to `threshold`, with a soft edge."""
    return ((density - threshold) / EDGE + 0.5).clamp(0, 1)


def _thresholds(density: Tensor) -> Tensor:
    """Where the strokes of each digit have to end for each weight to come out as wide as it should: (rows, strokes).

    Writers press differently: one threshold for all would make one's thick strokes another's thin ones. Mean width is
    measured as twice the area over the length of the edge.
    """
    import torch

    levels = torch.linspace(0.15, 0.81, 23)
    widths = []
    for level in levels.tolist():
        ink = _cover(density, level)
        across, along = ink[..., 1:, :-1] - ink[..., :-1, :-1], ink[..., :-1, 1:] - ink[..., :-1, :-1]
        edge = (across.square() + along.square()).sqrt().sum((1, 2, 3))
        widths.append(2 * ink.sum((1, 2, 3)) / edge.clamp(min=1))
    wanted = torch.tensor([stroke.width for stroke in captions.STROKES]) * density.shape[-1] * (1 - 2 * MARGIN)
    nearest = (torch.stack(widths, 1)[:, :, None] - wanted).abs().argmin(1)
    return levels[nearest]


def _grounds(ground: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """What each sample is written on: uint8 (N, 3, size, size)."""
    import torch
    from torch.nn import functional as F

    images = torch.empty(len(ground), 3, size, size, dtype=torch.uint8)
    for index, kind in enumerate(captions.GROUNDS):
        rows = (ground == index).nonzero().flatten()
        if kind.photo is None:
            images[rows] = torch.tensor(kind.rgb, dtype=torch.uint8).view(3, 1, 1)
            continue
        photo = torch.lerp(_photo(kind.photo), torch.tensor(255.0), kind.fade)
        # smoothed to the coarsest scale it is read at, so that sampling it does not alias
        scale = size / PATCH[1]
        photo = F.interpolate(photo, scale_factor=min(1.0, 2 * scale), mode="bicubic", antialias=True)
        height, width = photo.shape[-2:]
        full = 427.0 / height
        side = torch.empty(len(rows)).uniform_(*PATCH, generator=generator) / full
        left, top, right, bottom = (edge / full for edge in kind.box)
        room = torch.rand(2, len(rows), generator=generator)
        x = left + room[0] * (right - left - side)
        y = top + room[1] * (bottom - top - side)
        grid = (torch.arange(size) + 0.5) / size
        gx = (x[:, None] + side[:, None] * grid) / width * 2 - 1
        gy = (y[:, None] + side[:, None] * grid) / height * 2 - 1
        for part in torch.arange(len(rows)).split(1024):
            places = torch.stack(
                [gx[part, None, :].expand(-1, size, -1), gy[part, :, None].expand(-1, -1, size)], dim=-1
            )
            cut = F.grid_sample(photo.expand(len(part), -1, -1, -1), places, padding_mode="border", align_corners=False)
            images[rows[part]] = cut.round().clamp(0, 255).to(torch.uint8)
    return images


def _photo(name: str) -> Tensor:
    """A photograph of scikit-learn's, float32 (1, 3, H, W) from 0 to 255."""
    from gankit.data.images import decode

    found = importlib.util.find_spec("sklearn")
    folders = list(found.submodule_search_locations or []) if found else []
    paths = [Path(folder, "datasets", "images", name) for folder in folders]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise PluginError(f"The photograph {name} is part of scikit-learn, which is not installed or incomplete: "
                          "pip install --force-reinstall scikit-learn")  # fmt: skip
    return decode(path, 3)[None].float()
