"""Nearest-neighbour doubling and a 3x3 convolution, computed as one transposed convolution."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["UpsampleConv2d"]

EDGES = ("zeros", "replicate")


class UpsampleConv2d(nn.Conv2d):
    """``Upsample(scale_factor=2)`` and ``Conv2d(..., 3, padding=1)``: (N, C, H, W) to (N, out_channels, 2H, 2W).

    Its weights are the convolution's, and so is its result, to rounding; it has no checkerboards either (Odena et al.
    2016, "Deconvolution and Checkerboard Artifacts"). Of four neighbouring pixels of a doubled map several are one and
    the same, so that weights which meet the same pixel are added up first: a transposed 4x4 convolution of stride 2
    multiplies 4 times an output where the other two multiply 9 times, and the doubled map is never made. Weights in
    channels_last give an output in it, as those of ``Conv2d`` do.

    Args:
        in_channels, out_channels, bias: as of ``Conv2d``.
        padding_mode: what is around the doubled map: ``zeros``, or its edges repeated (``replicate``); ValueError for
            another.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bias: bool = True,
        padding_mode: Literal["zeros", "replicate"] = "zeros",
    ) -> None:
        if padding_mode not in EDGES:
            raise ValueError(f"padding_mode must be {' or '.join(EDGES)}, got {padding_mode!r}")
        super().__init__(in_channels, out_channels, 3, 1, 1, bias=bias, padding_mode=padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        """Of a map (N, C, H, W): (N, out_channels, 2H, 2W)."""
        last = torch.channels_last
        if x.dim() == 4 and self.weight.is_contiguous(memory_format=last) and not self.weight.is_contiguous():
            x = x.contiguous(memory_format=last)  # the weights below are new, and say nothing of the layout
        padding = 1
        if self.padding_mode == "replicate":
            x, padding = F.pad(x, (1, 1, 1, 1), mode="replicate"), 3
        return F.conv_transpose2d(x, self.transposed_weight(), self.bias, stride=2, padding=padding)

    def transposed_weight(self) -> Tensor:
        """Weights of the transposed convolution: (in_channels, out_channels, 4, 4). Added up in float32 at least."""
        weight = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
        return _reached(_reached(weight, 2), 3).to(self.weight.dtype).transpose(0, 1)


def _reached(weight: Tensor, side: int) -> Tensor:
    """The three weights along `side` summed to four: of those that meet one pixel at each place that it reaches."""
    first, second, third = weight.unbind(side)
    return torch.stack([third, second + third, first + second, first], side)
