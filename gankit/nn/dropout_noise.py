"""Dropout that stays on: the noise of a translation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gankit import whole_batch

__all__ = ["DropoutNoise"]


class DropoutNoise(nn.Module):
    """Dropout in training and in eval mode alike, with masks from a generator: same shape, dtype and layout.

    Isola et al. 2017, section 2.1: the noise of pix2pix is dropout, in drawing as in training. `nn.Dropout` is no noise
    in eval mode, and knows torch's global generator alone.

    Args:
        p: fraction of the values that become 0; the others are divided by 1 - p. ValueError unless 0 <= p < 1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must be at least 0 and less than 1, got {p}")
        self.p = p

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """`generator`, on the device of `x`: ``step.generator`` or ``request.generator``; None: torch's global one."""
        if self.p == 0:
            return x
        kept = whole_batch.rand(*x.shape, generator=generator, device=x.device) >= self.p
        return x * kept.to(x.dtype).div_(1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"
