"""What is in the boxes of images: what a caption is about, and so what its encoder is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.data.images import to_float, to_uint8
from gankit.plugin import Dataset, DataSpec, Preparation
from gankit.text.matching import SIDE
from gankit.text.training import EncoderTraining
from gankit_plugin_gawwn.placing import cropped

if TYPE_CHECKING:
    from gankit.plugin import Batch
    from gankit.text.config import TextConfig

__all__ = ["crops", "train_encoders"]

MARGIN = 0.1
"""Part of a box's sides that is taken along all around it: the ground, which captions name, too."""


def crops(images: Tensor, batch: Batch, key: str) -> Tensor:
    """Float `images` (N, C, H, W) as (N, C, SIDE, SIDE) of what is in the boxes `key` of `batch`, if it has any."""
    boxes = batch.get(key)
    if boxes is None or boxes.dim() != 2:
        return images
    corner, far = boxes[:, :2], boxes[:, 2:]
    rim = (far - corner) * MARGIN
    return cropped(images, torch.cat([corner - rim, far + rim], 1).clamp(0, 1), SIDE)


class _Crops(Dataset[Any]):
    """The crops of the images of a dataset, and their captions."""

    def __init__(self, data: Dataset[Any], key: str) -> None:
        super().__init__(data.config, data.split)
        self._data, self._key = data, key

    @property
    def spec(self) -> DataSpec:
        return self._data.spec

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, indices: Tensor) -> Batch:
        batch = self._data.batch(indices)
        return {"image": to_uint8(crops(to_float(batch["image"]), batch, self._key)), "text": batch["text"]}


class _OfCrops(Preparation):
    """A preparation that sees crops."""

    def __init__(self, whole: Preparation, key: str) -> None:
        self.networks, self.generator, self.device = whole.networks, whole.generator, whole.device
        self.train = _Crops(whole.train, key)
        self._whole = whole

    def report(self, text: str) -> None:
        self._whole.report(text)

    def loop(self, total: int, what: str, **state: Any) -> Iterator[int]:
        return self._whole.loop(total, what, **state)


def train_encoders(config: TextConfig, preparation: Preparation, key: str, match: float) -> None:
    """Trains the networks ``text`` and ``images`` on what is in the boxes `key`; see :class:`EncoderTraining`."""
    networks: Any = preparation.networks
    crops = _OfCrops(preparation, key)
    EncoderTraining(networks["text"], networks["images"], SIDE // 2, config, crops, match).run()
