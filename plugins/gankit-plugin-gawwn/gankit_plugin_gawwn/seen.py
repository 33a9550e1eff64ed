"""Where in an image something is drawn, told of its pixels alone: what differs from a ground of one colour."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["drawn_box", "overlap"]

DIFFERS = 0.25
"""By how much a channel does, of a range of 2, where something is drawn."""
STRAY = 0.01
"""Part of what differs that counts for nothing on each of the four sides: specks."""


def drawn_box(images: Tensor) -> Tensor:
    """The box of what is drawn in images (N, C, H, W) in [-1, 1]: float32 (N, 4), all 0 where there is nothing.

    The ground is the median of the outermost pixels.
    """
    images = images.float()
    rim = torch.cat([images[:, :, 0], images[:, :, -1], images[:, :, :, 0], images[:, :, :, -1]], 2)
    ground = rim.median(2).values[:, :, None, None]
    drawn = ((images - ground).abs().amax(1) > DIFFERS).float()
    sides = [_ends(drawn.sum(axis)) for axis in (1, 2)]  # along x, along y
    box = torch.stack([sides[0][0], sides[1][0], sides[0][1], sides[1][1]], 1)
    return box * (drawn.sum((1, 2)) > 0)[:, None]


def _ends(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Where all but a stray part of `counts` (N, L) begins and ends, as fractions of L: (N,) each."""
    length = counts.shape[1]
    part = counts.cumsum(1) / counts.sum(1, keepdim=True).clamp(min=1)
    start = (part <= STRAY).sum(1)
    end = (part < 1 - STRAY).sum(1) + 1
    return start / length, end.clamp(max=length) / length


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes (N, 4), one to one: (N,)."""
    both = (
        (torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])).clamp(min=0).prod(1)
    )
    each = [(boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1) for boxes in (first, second)]
    return both / (each[0] + each[1] - both).clamp(min=1e-9)
