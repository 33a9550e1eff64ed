"""Leaky ReLU as a module, with an optional bias of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gankit.ops.leaky_relu import leaky_relu

__all__ = ["LeakyReLU"]


class LeakyReLU(nn.Module):
    """`leaky_relu(x + bias)` in one pass; see `gankit.ops.leaky_relu`.

    Args:
        negative_slope: slope below zero.
        channels: with a number, a learnable bias of that many channels (starting at zero), so that the convolution
            before can go without; None: no bias, no parameters, and the state dict of `nn.LeakyReLU` (an empty one).
        device, dtype: of the bias.
    """

    bias: Tensor | None

    def __init__(
        self,
        negative_slope: float = 0.2,
        channels: int | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        bias = None if channels is None else nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))
        self.register_parameter("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, self.bias, negative_slope=self.negative_slope)

    def extra_repr(self) -> str:
        channels = "" if self.bias is None else f", channels={self.bias.numel()}"
        return f"negative_slope={self.negative_slope}{channels}"
