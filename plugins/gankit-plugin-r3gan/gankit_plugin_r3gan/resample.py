"""Halving and doubling of images by the filter [1, 2, 1] over repeated pixels, that is [1, 3, 3, 1], zeros outside.

Each is the other's adjoint up to a factor: a derivative of any order is one of the two again. torch's own backward pass
of a strided convolution a channel takes 100 times as long in bfloat16 on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


def halve(images: Tensor) -> Tensor:
    """(N, C, 2 H, 2 W) to (N, C, H, W), same type and layout."""
    return _Halve.apply(images)


def double(images: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C, 2 H, 2 W), same type and layout."""
    return _Double.apply(images)


class _Halve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return F.conv2d(images, _filter(images), None, 2, 1, 1, images.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return double(gradients[0]) / 4


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        slow = images.device.type == "cpu" and images.dtype in (torch.bfloat16, torch.float16)
        wide = images.float() if slow else images
        with torch.autocast(images.device.type, enabled=False):
            doubled = F.conv_transpose2d(wide, 4 * _filter(wide), None, 2, 1, 0, images.shape[1])
        return doubled.to(images.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return 4 * halve(gradients[0])


def _filter(images: Tensor) -> Tensor:
    """Of each channel the same, (C, 1, 4, 4)."""
    square = torch.outer(_TAPS, _TAPS).to(images.device, images.dtype)
    return square.expand(images.shape[1], 1, 4, 4)


__all__ = ["double", "halve"]
