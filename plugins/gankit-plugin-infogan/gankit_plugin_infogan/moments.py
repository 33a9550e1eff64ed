"""What can be measured on an image of a stroke without knowing what it shows, and whether a code moves it."""

from __future__ import annotations

import torch
from torch import Tensor


def slant(images: Tensor) -> Tensor:
    """How far the strokes of images (N, C, H, W) in [-1, 1] lean, (N,): columns to the right a row upwards.

    The second moment of columns and rows over that of rows: the shear that would leave them uncorrelated.
    """
    weights, rows, columns = _centred(images)
    together = (weights * rows * columns).sum((1, 2))
    return -together / (weights * rows.square()).sum((1, 2)).clamp_min(1e-6)


def width(images: Tensor) -> Tensor:
    """Horizontal extent of what is light on images (N, C, H, W) in [-1, 1], (N,): a standard deviation, in columns."""
    weights, _, columns = _centred(images)
    return (weights * columns.square()).sum((1, 2)).sqrt()


def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Spearman's, along the last dimension of two tensors of one shape, which goes. 0 where either is constant."""
    ranks = [_ranks(values) for values in (one, other)]
    first, second = (each - each.mean(-1, keepdim=True) for each in ranks)
    scale = (first.square().sum(-1) * second.square().sum(-1)).sqrt()
    return torch.where(scale > 0, (first * second).sum(-1) / scale.clamp_min(1e-12), 0.0)


def _centred(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lightness (N, H, W) that sums to 1, and rows and columns (N, H, W) as distances from its centre."""
    light = (images.float().mean(1) + 1).clamp_min(0) + 1e-6
    weights = light / light.sum((1, 2), keepdim=True)
    _, high, wide = weights.shape
    rows = torch.arange(high, dtype=torch.float32, device=images.device).view(1, -1, 1).expand_as(weights)
    columns = torch.arange(wide, dtype=torch.float32, device=images.device).view(1, 1, -1).expand_as(weights)
    middle = [(weights * place).sum((1, 2), keepdim=True) for place in (rows, columns)]
    return weights, rows - middle[0], columns - middle[1]


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 0 along the last dimension, float; equal values share the mean of theirs."""
    below = (values[..., None, :] < values[..., :, None]).sum(-1)
    upto = (values[..., None, :] <= values[..., :, None]).sum(-1)
    return (below + upto - 1).float() / 2
