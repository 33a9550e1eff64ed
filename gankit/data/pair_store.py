"""Pairs of images as rows of uint8 tensors: two files, or one in which they stand side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from gankit.data.files import state_of
from gankit.data.images import MODES, ImageError, eight_bit
from gankit.data.planes import load_channels, resized
from gankit.data.store import ImageStore
from gankit.options.spelling import give

__all__ = ["PairStore"]

_PROPORTIONS = 0.02
"""By how much the proportions of two pictures may differ that are laid on each other: a pixel or two, of rounding."""


class PairStore(ImageStore):
    """:class:`ImageStore` of pairs. A pair of which one image cannot be read is left out as one.

    `pairs`: the file of b by that of a, each relative to its `roots`; a file paired with itself holds both, a on the
    left (b if `swapped`). `channels` are those of a and of b. Both are brought to `size` in the same way: unless they
    are stretched, two of other proportions cannot be laid on each other, and count as not readable.
    """

    what = "pairs of images"

    def __init__(
        self,
        roots: tuple[Path, Path],
        pairs: Mapping[str, str],
        *,
        channels: tuple[int, int],
        swapped: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(roots[0], tuple(pairs), channels=sum(channels), **options)
        self._roots, self._pairs, self._each, self._swapped = roots, pairs, channels, swapped

    def read_pairs(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The pairs at `indices` (int64, (N,)): uint8 (N, channels of a, height, width), and the same of b."""
        both, _ = self.read(indices)
        first, second = both.split(self._each, 1)
        return first.contiguous(), second.contiguous()

    def _how(self) -> tuple[object, ...]:
        return *super()._how(), os.path.realpath(self._roots[1]), self._each, self._swapped, tuple(self._pairs.items())

    def _state(self, file: str) -> tuple[int, ...]:
        own = super()._state(file)
        return own if self._one(file) else (*own, *state_of(self._roots[1] / self._pairs[file]))

    def _one(self, file: str) -> bool:
        """Whether both stand in one file."""
        return self._roots[0] == self._roots[1] and self._pairs[file] == file

    def _decode(self, file: str) -> np.ndarray:
        sides = self._halves(file) if self._one(file) else self._two(file)
        return np.concatenate([resized(side, self.size, self.fit).numpy().reshape(-1) for side in sides])

    def _halves(self, file: str) -> list[list[Image.Image]]:
        """Left and right half of a file, in the order of a and b; of an odd width the middle column belongs to none."""
        path, channels = self.root / file, max(self._each)
        if not {*self._each} <= MODES.keys() and min(self._each) != channels:
            raise ImageError(
                f"{path}: one file cannot hold pictures of {self._each[0]} and of {self._each[1]} channels"
            )
        pictures = load_channels(path, channels, 4 * max(self.size))
        width, height = pictures[0].size
        half = width // 2
        if not half:
            raise ImageError(f"{path}: too narrow for two pictures side by side ({width}x{height})")
        boxes = [(0, 0, half, height), (width - half, 0, width, height)]
        halves = [[picture.crop(box) for picture in pictures] for box in (reversed(boxes) if self._swapped else boxes)]
        if channels not in MODES:
            return halves
        return [[eight_bit(half[0], channels)] for half, channels in zip(halves, self._each, strict=True)]

    def _two(self, file: str) -> list[list[Image.Image]]:
        paths = [self.root / file, self._roots[1] / self._pairs[file]]
        sides = [
            load_channels(path, channels, 2 * max(self.size)) for path, channels in zip(paths, self._each, strict=True)
        ]
        (width, height), (other_width, other_height) = (pictures[0].size for pictures in sides)
        uneven = abs(width * other_height - other_width * height) > _PROPORTIONS * width * other_height
        if uneven and self.fit != "stretch":
            raise ImageError(
                f"{paths[0]} ({width}x{height}) and {paths[1]} ({other_width}x{other_height}) have other proportions: "
                f"they cannot be laid on each other unless they are stretched ({give('data.fit', 'stretch')})"
            )
        return sides
