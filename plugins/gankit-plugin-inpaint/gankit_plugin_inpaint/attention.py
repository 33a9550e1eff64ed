"""Contextual attention: what is hidden is put together of patches of what is known.

Yu et al. 2018, "Generative Image Inpainting with Contextual Attention", section 4.1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["COARSER", "contextual_attention", "propagate"]

COARSER = 2
"""Patches are compared on maps of half the size, and pasted on the maps themselves."""
SHARPNESS = 10.0
"""Factor of the similarities before the softmax, lambda of the paper's equation 2."""


def contextual_attention(features: Tensor, hidden: Tensor) -> Tensor:
    """`features` (N, C, H, W) as weighted means of those 4x4 patches of themselves that are known.

    `hidden`, float (N, 1, H, W), is 1 where something is hidden. 2 divides H and W. Weights are the softmax of the
    cosine similarities of 3x3 patches of every second position, of which neighbours agree (:func:`propagate`); patches
    with anything hidden have none. Overlapping patches are averaged. Zeros where nothing is known. Computed in float32.
    """
    if features.shape[2] % COARSER or features.shape[3] % COARSER:
        raise ValueError(f"features must have sides that {COARSER} divides, not {tuple(features.shape[2:])}")
    with torch.autocast(features.device.type, enabled=False):
        return _attended(features.float(), hidden.float()).to(features.dtype)


def _attended(features: Tensor, hidden: Tensor) -> Tensor:
    height, width = features.shape[2] // COARSER, features.shape[3] // COARSER
    patches = F.normalize(F.unfold(features[:, :, ::COARSER, ::COARSER], 3, padding=1), dim=1)
    similar = torch.bmm(patches.transpose(1, 2), patches)  # (N, known, wanted)
    similar = propagate(similar.view(-1, height, width, height, width)).flatten(3).flatten(1, 2)
    coarse = F.max_pool2d(hidden, COARSER)
    known = (F.max_pool2d(coarse, 3, 1, 1) == 0).flatten(1)[:, :, None]
    weights = (SHARPNESS * similar).masked_fill(~known, torch.finfo(similar.dtype).min).softmax(1) * known
    side = 2 * COARSER
    pasted = torch.bmm(F.unfold(features, side, padding=COARSER // 2, stride=COARSER), weights)
    fold = {"output_size": features.shape[2:], "kernel_size": side, "padding": COARSER // 2, "stride": COARSER}
    ones = torch.ones(1, side * side, height * width, device=features.device, dtype=features.dtype)
    return F.fold(pasted, **fold) / F.fold(ones, **fold)


def propagate(similar: Tensor) -> Tensor:
    """Sums over neighbours: what goes with a patch, moved by a step, goes with the patch beside it (equation 3).

    `similar` (N, h, w, h', w') of a patch at (h, w) for the place (h', w'); first left and right, then up and down.
    """
    for here, there in ((2, 4), (1, 3)):
        length = similar.shape[here]
        inner = similar.narrow(here, 0, length - 1).narrow(there, 0, length - 1)
        outer = similar.narrow(here, 1, length - 1).narrow(there, 1, length - 1)
        similar = similar + _padded(inner, here, there, front=1) + _padded(outer, here, there, front=0)
    return similar


def _padded(similar: Tensor, here: int, there: int, front: int) -> Tensor:
    """One row of zeros more in the dimensions `here` and `there`, before (`front` 1) or behind."""
    sides = [0, 0] * similar.dim()
    for dimension in (here, there):
        at = 2 * (similar.dim() - 1 - dimension)
        sides[at], sides[at + 1] = front, 1 - front
    return F.pad(similar, sides)
