"""Two views of a real image show the same: so should the categorical codes read off them (Ji et al. 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gankit import whole_batch

DEGREES, SCALE, SHEAR, SHIFT = 10.0, 0.15, 0.3, 0.06
"""How far a view is turned, sized, sheared and moved (as a fraction of the image) at most, each way."""
BENDS, BEND = 5, 0.05
"""A view is bent by moves of BENDS x BENDS points, drawn with this deviation (as a fraction of the image)."""


def view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (N, C, H, W), each turned, sized, sheared, moved and bent a little, as another hand might draw it."""
    n, _, height, width = images.shape

    def between(limit: float) -> Tensor:
        return (whole_batch.rand(n, generator=generator, device=images.device) * 2 - 1) * limit

    angle, size, aspect = between(math.radians(DEGREES)), 1 + between(SCALE), 1 + between(SCALE)
    cos, sin, square = angle.cos() * size, angle.sin() * size, height / width
    top = torch.stack([cos * aspect, (between(SHEAR) - sin) * square, 2 * between(SHIFT)], 1)
    bottom = torch.stack([sin / square, cos, 2 * between(SHIFT)], 1)
    grid = F.affine_grid(torch.stack([top, bottom], 1), list(images.shape), align_corners=False)
    moves = whole_batch.randn(n, 2, BENDS, BENDS, generator=generator, device=images.device) * (2 * BEND)
    bends = F.interpolate(moves, (height, width), mode="bicubic", align_corners=True)
    grid = grid + bends.permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def shared_information(one: Tensor, other: Tensor) -> Tensor:
    """Mutual information in nats of the classes that two views have, as probabilities (N, K) each: a scalar.

    log K if every class is as frequent, sure, and the same in both. Ji et al. 2019, "Invariant Information Clustering",
    equation 3.
    """
    together = whole_batch.mean((one[:, :, None] * other[:, None, :]).mean(0))
    together = ((together + together.t()) / 2).clamp_min(1e-8)
    apart = together.sum(0, keepdim=True) * together.sum(1, keepdim=True)
    return (together * (together.log() - apart.log())).sum()
