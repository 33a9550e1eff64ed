"""Sliced Wasserstein distance of patches: Karras et al. 2018, section 5. Images are looked at a few at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 7
"""Side of a patch in pixels."""


@dataclass(frozen=True)
class Level:
    """One resolution of the pyramid, and what is drawn at random for it."""

    side: int
    """Shorter side in pixels."""
    top: Tensor
    left: Tensor
    """Top left corners of the patches, int64 (n, patches)."""
    axes: tuple[Tensor, ...]
    """Directions, (C * 49, directions) each."""


def levels(
    n: int, shape: tuple[int, int, int], seed: int = 0, *, patches: int = 64, repeats: int = 4, directions: int = 128
) -> list[Level]:
    """Levels for `n` images of `shape` (C, H, W), finest first, down to a shorter side of 16.

    Both sides of a comparison are cut at the same places. ValueError if `n` is 0 or a side is below 7 pixels.
    """
    channels, height, width = shape
    if n < 1 or min(height, width) < SIDE:
        raise ValueError(f"needs images of at least 7x7 pixels; got {n} of {shape}")
    generator = torch.Generator().manual_seed(seed)
    found = []
    while True:
        top = torch.randint(height - SIDE + 1, (n, patches), generator=generator)
        left = torch.randint(width - SIDE + 1, (n, patches), generator=generator)
        size = channels * SIDE * SIDE
        axes = tuple(F.normalize(torch.randn(size, directions, generator=generator), dim=0) for _ in range(repeats))
        found.append(Level(min(height, width), top, left, axes))
        if min(height, width) < 32:
            return found
        height, width = (height + 1) // 2, (width + 1) // 2


class Patches:
    """The patches of as many images as `levels` were made for; :meth:`add` takes them a few at a time."""

    def __init__(self, levels: list[Level], channels: int) -> None:
        self.levels, self.filled = levels, 0
        self.taken = [torch.empty(*level.top.shape, channels, SIDE, SIDE) for level in levels]

    def __len__(self) -> int:
        """Of how many images."""
        return len(self.taken[0])

    def add(self, images: Tensor) -> None:
        """Cuts the patches of float images (N, C, H, W); those past the number that is wanted are left alone."""
        images = images[: len(self) - self.filled].float()
        if len(images) == 0:
            return
        rows = slice(self.filled, self.filled + len(images))
        for level, kept, layer in zip(self.levels, self.taken, _pyramid(images), strict=True):
            windows = layer.unfold(2, SIDE, 1).unfold(3, SIDE, 1).permute(0, 2, 3, 1, 4, 5)  # a view
            kept[rows] = windows[torch.arange(len(images))[:, None], level.top[rows], level.left[rows]]
        self.filled = rows.stop


def distance(a: Patches, b: Patches) -> dict[int, float]:
    """Sliced Wasserstein distance x 1000, by the shorter side of the level, of two sets made for the same levels.

    Patches are normalised by each set's own mean and deviation per channel.
    """
    found = {}
    for level, left, right in zip(a.levels, a.taken, b.taken, strict=True):
        one, two = _normalised(left), _normalised(right)
        total = 0.0
        for axes in level.axes:
            total += float(((one @ axes).sort(0).values - (two @ axes).sort(0).values).abs().double().mean())
        found[level.side] = total / len(level.axes) * 1000
    return found


def between(images: Tensor, others: Tensor) -> float:
    """The distance between two sets of as many float images (N, C, H, W), the mean over all levels."""
    number, channels, height, width = images.shape
    cuts = levels(number, (channels, height, width))
    a, b = (Patches(cuts, channels) for _ in range(2))
    a.add(images)
    b.add(others)
    return math.fsum(distance(a, b).values()) / len(cuts)


def _pyramid(images: Tensor) -> Iterator[Tensor]:
    """Laplacian pyramid, finest level first; the last level is the small image itself."""
    while min(images.shape[-2:]) >= 32:
        kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        blur = torch.outer(kernel, kernel).expand(images.shape[1], 1, 5, 5)
        blurred = F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), blur, groups=images.shape[1])
        small = blurred[..., ::2, ::2]
        yield images - F.interpolate(small, images.shape[-2:], mode="bilinear")
        images = small
    yield images


def _normalised(patches: Tensor) -> Tensor:
    """(N, patches, C, 7, 7) as descriptors (N * patches, C * 49)."""
    flat = patches.flatten(0, 1)
    flat = flat - flat.mean((0, 2, 3), keepdim=True)
    return (flat / flat.std((0, 2, 3), keepdim=True).clamp_min(1e-6)).flatten(1)
