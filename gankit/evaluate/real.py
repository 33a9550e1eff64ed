"""The real images that samples are compared with: those of one key of a dataset, and what describes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.data.images import at_once, to_float
from gankit.dataset import Dataset, DataSpec, read, stream_of
from gankit.evaluate.gathered import Gathered
from gankit.evaluate.metrics import reduce_to

if TYPE_CHECKING:
    from gankit.dataset import Batch


@dataclass(frozen=True)
class RealImages:
    """The images under `key` of one split, the classes that describe them, and the captions under `text`, if any."""

    data: Dataset[Any]
    key: str = "image"
    text: str = ""

    @cached_property
    def stream(self) -> str:
        """The stream of the dataset that the images belong to."""
        return stream_of(self.data, self.key)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.data.spec.shape_of(self.key)

    @cached_property
    def heads(self) -> dict[str, int]:
        """Number of classes by class key that describes these images."""
        return class_keys(self.data.spec, self.key)

    @cached_property
    def described(self) -> tuple[str, ...]:
        """The keys of what is known of an image."""
        return (*self.heads, *filter(None, [self.text]))

    def __len__(self) -> int:
        return self.data.streams()[self.stream]

    def batch(self, indices: Tensor) -> Batch:
        """The images, uint8 (N, C, H, W), their classes, int64 (N,), by key, and captions, uint8 (N, bytes)."""
        whole = read(self.data, {self.stream: indices})
        return {name: whole[name] for name in (self.key, *self.described)}

    def floats(self, indices: Tensor, side: int) -> tuple[Tensor, Batch]:
        """The images in [-1, 1], reduced to at most `side` pixels a side, and what is known of them by key."""
        images = Gathered(len(indices))
        classes = {name: Gathered(len(indices)) for name in self.described}
        for part in indices.split(at_once(self.shape)):
            batch = self.batch(part)
            images.add(reduce_to(to_float(batch[self.key]), side))
            for name, kept in classes.items():
                kept.add(batch[name])
        return images.rows(), {name: kept.rows() for name, kept in classes.items()}


def class_keys(spec: DataSpec, image: str = "image") -> dict[str, int]:
    """Number of classes of every ``class`` key of `image` that distinguishes anything (two classes or more)."""
    return {
        name: len(key.names)
        for name, key in spec.keys.items()
        if key.kind == "class" and len(key.names) > 1 and spec.image_of(name) == image
    }


def subset(length: int, limit: int) -> Tensor:
    """At most `limit` of the indices below `length`, int64, rising: always the same ones, drawn at random.

    Not evenly spaced ones: data often repeats its classes in turn, and every sixth image may show the same class.
    """
    if length <= limit:
        return torch.arange(length)
    return torch.randperm(length, generator=torch.Generator().manual_seed(0))[:limit].sort().values
