"""Distortion: images that say the same and look a little different, for networks that learn to tell what they show."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gankit import whole_batch

__all__ = ["Distortion", "distort"]


@dataclass(frozen=True)
class Distortion:
    """The most that each image is shifted, turned, scaled and noised."""

    shift: float
    """As a fraction of the image."""
    degrees: float
    scale: float
    noise: float
    """Standard deviation of the largest noise added, in [-1, 1] units."""


def distort(images: Tensor, most: Distortion, generator: torch.Generator) -> Tensor:
    """Images (N, C, H, W), each a little shifted, turned, scaled and noised; edges are repeated. Never mirrored.

    Float32, whatever the images are. Differentiable. `generator` may be on another device than the images.
    """
    n = len(images)
    if not n:
        return images.float()

    def uniform(*shape: int) -> Tensor:
        return whole_batch.rand(n, *shape, generator=generator, device=generator.device).to(images.device)

    def between(limit: float, *shape: int) -> Tensor:
        return (uniform(*shape) * 2 - 1) * limit

    angle, scale = between(torch.pi * most.degrees / 180), 1 + between(most.scale)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    aspect = images.shape[-2] / images.shape[-1]
    move = between(2 * most.shift, 2)
    top = torch.stack([cos, -sin * aspect, move[:, 0]], 1)
    bottom = torch.stack([sin / aspect, cos, move[:, 1]], 1)
    with torch.autocast(images.device.type, enabled=False):  # which would round the places
        grid = F.affine_grid(torch.stack([top, bottom], 1), list(images.shape), align_corners=False)
        moved = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    strength = uniform(1, 1, 1) * most.noise
    noise = whole_batch.randn(*moved.shape, generator=generator, device=generator.device).to(images.device)
    return moved.add_(noise * strength)
