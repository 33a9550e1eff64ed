"""Nearest-neighbour doubling and a 3x3 convolution, computed as one transposed convolution."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["UpsampleConv2d"]

TAPS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Which of a side's three weights meet one pixel at each of the four places that it reaches."""


class UpsampleConv2d(nn.Conv2d):
    """``Upsample(scale_factor=2)`` and ``Conv2d(..., 3, padding=1)``: (N, C, H, W) to (N, out_channels, 2H, 2W).

    Its weights are the convolution's, and so is its result, to rounding; it has no checkerboards either (Odena et al.
    2016, "Deconvolution and Checkerboard Artifacts"). Of four neighbouring pixels of a doubled map several are one and
    the same, so that weights which meet the same pixel are added up first: a transposed 4x4 convolution of stride 2
    multiplies 4 times an output where the other two multiply 9 times, and the doubled map is never made.

    Args:
        in_channels, out_channels, bias: as of ``Conv2d``.
        padding_mode: what is around the doubled map: ``zeros``, or its edges repeated (``replicate``).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bias: bool = True,
        padding_mode: Literal["zeros", "replicate"] = "zeros",
    ) -> None:
        super().__init__(in_channels, out_channels, 3, 1, 1, bias=bias, padding_mode=padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        """Of a map (N, C, H, W): (N, out_channels, 2H, 2W)."""
        padding = 1
        if self.padding_mode == "replicate":
            x, padding = F.pad(x, (1, 1, 1, 1), mode="replicate"), 3
        return F.conv_transpose2d(x, self.transposed_weight(), self.bias, stride=2, padding=padding)

    def transposed_weight(self) -> Tensor:
        """Weights of the transposed convolution: (in_channels, out_channels, 4, 4)."""
        weight = self.weight
        with torch.autocast(weight.device.type, enabled=False):
            exact = torch.promote_types(weight.dtype, torch.float32)
            taps = torch.tensor(TAPS, dtype=exact, device=weight.device)
            return (taps @ weight.to(exact) @ taps.T).to(weight.dtype).transpose(0, 1)
