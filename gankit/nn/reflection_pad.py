"""Reflection at the borders of images, which keeps nothing for its backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.ops._library import is_compiling
from gankit.ops._torch import batched, function_apply, transformed

__all__ = ["ReflectionPad2d"]


class ReflectionPad2d(nn.Module):
    """`nn.ReflectionPad2d` of one width: (N, C, H, W) to (N, C, H + 2 padding, W + 2 padding), same values and layout.

    torch's own keeps its input for backward, of which it needs the shape alone: a third of what a residual block of
    image translation keeps. Differentiable to any order. RuntimeError unless H and W are larger than `padding`.
    """

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, images: Tensor) -> Tensor:
        if images.requires_grad and torch.is_grad_enabled() and not is_compiling() and not transformed():
            return _reflected(images, self.padding)
        return F.pad(images, [self.padding] * 4, "reflect")

    def extra_repr(self) -> str:
        return str(self.padding)


class _Reflected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, padding: int) -> Tensor:
        ctx.shape, ctx.padding = images.shape, padding
        return F.pad(images, [padding] * 4, "reflect")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        # its values are not read, and never touched memory costs nothing
        last = grad.dim() == 4 and not batched(grad) and grad.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        like = torch.empty(ctx.shape, dtype=grad.dtype, device=grad.device, memory_format=layout)
        return torch.ops.aten.reflection_pad2d_backward(grad, like, [ctx.padding] * 4), None


_reflected = function_apply(_Reflected)
