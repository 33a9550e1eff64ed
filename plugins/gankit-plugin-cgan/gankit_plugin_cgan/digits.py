"""Dataset ``digits``: the 1,797 real handwritten digits that scikit-learn carries, so that nothing is downloaded.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998),
CC BY 4.0; its test part, 8x8 pixels in 17 grey levels.
"""

from __future__ import annotations

import gzip
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from gankit.errors import PluginError
from gankit.plugin import Config, Dataset, DataSpec, Key

if TYPE_CHECKING:
    import numpy as np
    import torch

    from gankit.plugin import Batch

NAMES = tuple("0123456789")


class DigitsConfig(Config):
    """Options of the dataset ``digits``."""

    size: int = Field(32, ge=8, le=256)
    """Width and height in pixels to which the 8x8 originals are enlarged."""


class Digits(Dataset[DigitsConfig]):
    """1,797 real handwritten digits, grey, with their labels.

    ``image``: uint8 (N, 1, size, size), white ink on black, the 8x8 originals enlarged bicubically and clipped.
    ``label``: int64 (N,), 0 to 9. Of each digit, in the order of the file, every fifth image is in the test split:
    1,442 train, 355 test.
    """

    Config = DigitsConfig
    in_memory = True

    def __init__(self, config: DigitsConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._images, self._labels = _load(config.size, split)

    @property
    def spec(self) -> DataSpec:
        size = self.config.size
        return DataSpec(
            keys={"image": Key(kind="image", shape=(1, size, size)), "label": Key(kind="class", names=NAMES)}
        )

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, indices: torch.Tensor) -> Batch:
        return {"image": self._images.index_select(0, indices), "label": self._labels.index_select(0, indices)}


@lru_cache(maxsize=4)
def _load(size: int, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images uint8 (N, 1, size, size) and labels int64 (N,) of one split."""
    import torch
    from torch.nn import functional as F

    pixels, labels = (torch.from_numpy(part) for part in _originals())
    rank = torch.zeros_like(labels)  # how many images of the same digit stand before this one
    for digit in range(len(NAMES)):
        rank[labels == digit] = torch.arange(int((labels == digit).sum()))
    chosen = (rank % 5 == 4) == (split == "test")
    images = pixels[chosen].float().mul_(255 / 16)
    if size != images.shape[-1]:
        images = F.interpolate(images, (size, size), mode="bicubic", antialias=True)
    return images.round_().clamp_(0, 255).to(torch.uint8), labels[chosen].clone()


def _originals() -> tuple[np.ndarray, np.ndarray]:
    """The digits as scikit-learn ships them: uint8 (1797, 1, 8, 8) from 0 to 16, and int64 (1797,)."""
    import numpy as np

    # Reading the file takes 0.05 s; importing sklearn.datasets to read the same file takes a second.
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise PluginError(
            "The dataset 'digits' is part of scikit-learn, which is not installed: pip install scikit-learn"
        )
    path = Path(found.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    if path.is_file():
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    else:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        table = np.column_stack([bunch.data, bunch.target])
    return table[:, :64].astype(np.uint8).reshape(-1, 1, 8, 8), table[:, 64].astype(np.int64)
