"""A large image as overlapping tiles of the size that a model takes, and their results joined without seams."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gankit.data.opacity import premultiplied, unmultiplied

__all__ = ["Tiles", "starts"]


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side: as few as overlap by at least `overlap`, evenly spread; 0 if one is enough."""
    if length <= tile:
        return [0]
    number = -(-(length - overlap) // (tile - overlap))
    return [round(i * (length - tile) / (number - 1)) for i in range(number)]


class Tiles:
    """The tiles of an image, and what their results are together.

    Where tiles overlap, their results are averaged, each by how far a pixel is from its own tile's border, up to the
    overlap: across a border the weights change by no step. An image smaller than a tile is mirrored up to one.

    Args:
        image: float (C, H, W).
        size: height and width of a tile.
        overlap: fraction of a tile, from 0 to 0.5, that neighbours share at least.
    """

    def __init__(self, image: Tensor, size: tuple[int, int], overlap: float) -> None:
        self._height, self._width = image.shape[1:]
        self._image, self._size = _at_least(image, size), size
        shared = [int(side * overlap) for side in size]
        sides = zip(self._image.shape[1:], size, shared, strict=True)
        self._tops, self._lefts = (starts(*side) for side in sides)
        self._weights = [_weights(side, max(1, wide)) for side, wide in zip(size, shared, strict=True)]
        self._sum: Tensor | None = None
        self.added = 0
        """How many results are there."""

    def __len__(self) -> int:
        return len(self._tops) * len(self._lefts)

    def __iter__(self) -> Iterator[Tensor]:
        height, width = self._size
        for top in self._tops:
            for left in self._lefts:
                yield self._image[:, top : top + height, left : left + width]

    @property
    def complete(self) -> bool:
        return self.added == len(self)

    def add(self, result: Tensor) -> None:
        """The next tile's result, float (C', h, w), of the size of a tile."""
        height, width = self._size
        if self._sum is None:
            self._sum = result.new_zeros(result.shape[0], *self._image.shape[1:])
        top, left = self._tops[self.added // len(self._lefts)], self._lefts[self.added % len(self._lefts)]
        down, across = self._weights
        self._sum[:, top : top + height, left : left + width] += premultiplied(result) * down[:, None] * across
        self.added += 1

    def joined(self) -> Tensor:
        """The whole result, (C', H, W), once all are added."""
        assert self._sum is not None
        for axis, (places, weights) in enumerate(zip((self._tops, self._lefts), self._weights, strict=True)):
            total = torch.zeros(self._image.shape[axis + 1])
            for start in places:
                total[start : start + len(weights)] += weights
            self._sum /= total.view(-1, 1) if axis == 0 else total
        return unmultiplied(self._sum[:, : self._height, : self._width])


def _weights(length: int, overlap: int) -> Tensor:
    """Of a tile's pixels along a side: a line up from the border over the overlap, 1 inside, a line down."""
    inside = torch.arange(length) + 0.5
    return torch.minimum(inside, length - inside).div(overlap).clamp(max=1)


def _at_least(image: Tensor, size: tuple[int, int]) -> Tensor:
    """`image` with its mirror images below and to the right of it, up to `size`."""
    down, right = (max(0, least - side) for least, side in zip(size, image.shape[1:], strict=True))
    if not down and not right:
        return image
    return torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, down), (0, right)), "symmetric"))
