"""Convolution whose second derivatives cost what its first ones do.

torch differentiates the gradient of a grouped convolution group by group, and computes the weight's part of it as a
convolution with the batch for channels and the images for kernels. None of that is needed: the gradients dx and dw are
linear in the gradient that comes in, and in the weight or in x. So their gradients are a forward pass, an input's
gradient and a weight's gradient, with other arguments.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gankit.ops._library import is_compiling
from gankit.ops._torch import batched, function_apply, goes_on_to, transformed

__all__ = ["conv2d"]

How = tuple[list[int], list[int], int]
"""Stride, padding, groups."""


def conv2d(
    x: Tensor,
    weight: Tensor,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv2d` without bias, zeros coming in at the borders, for networks under a gradient penalty.

    Args:
        x: (N, C, H, W), any floating-point type and memory layout.
        weight: (O, C / groups, kH, kW), of x's type; under autocast both are cast as by torch's own.
        stride, padding: one number or (vertical, horizontal).
        groups: C and O are multiples of it.

    Returns:
        (N, O, H', W') of x's type, torch's own values. Gradients of every order.

    Raises:
        RuntimeError: torch's own, for shapes and types that do not fit.
    """
    if is_compiling() or transformed() or not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        return F.conv2d(x, weight, None, stride, padding, 1, groups)
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        low = torch.get_autocast_dtype(kind)
        x, weight = (t if t.dtype == torch.float64 else t.to(low) for t in (x, weight))
    return _apply(x, weight, (_pair(stride), _pair(padding), groups))


def _pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _forward(x: Tensor, weight: Tensor, how: How) -> Tensor:
    return F.conv2d(x, weight, None, how[0], how[1], 1, how[2])


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, how: How, of_x: bool, of_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Those of x and weight that are asked for, by torch's own backward pass."""
    stride, padding, groups = how
    mask = [of_x, of_weight, False]
    backward = torch.ops.aten.convolution_backward.default
    dx, dw, _ = backward(grad, x, weight, None, stride, padding, [1, 1], False, [0, 0], groups, mask)
    return dx, dw


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, how: How) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = how
        return _forward(x, weight, how)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = _wanted(ctx)
        # somebody differentiates this gradient, and by one at a time
        apply = _apply_backward if torch.is_grad_enabled() and not batched(grad) else _gradients
        return *apply(grad, x, weight, ctx.how, of_x, of_weight), None


class _Conv2dBackward(torch.autograd.Function):
    """Backward as a function of all that it depends on."""

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, x: Tensor, weight: Tensor, how: How, of_x: bool, of_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(grad, x, weight)
        ctx.how = how
        return _gradients(grad, x, weight, how, of_x, of_weight)

    @staticmethod
    def backward(ctx: Any, v: Tensor | None, v_weight: Tensor | None) -> tuple[Tensor | None, ...]:
        grad, x, weight = ctx.saved_tensors
        of_grad, of_x, of_weight = _wanted(ctx)
        d_grad, d_x, d_weight = None, None, None
        if v is not None:
            d_grad = _forward(v, weight, ctx.how) if of_grad else None
            d_weight = _gradients(grad, v, weight, ctx.how, False, True)[1] if of_weight else None
        if v_weight is not None:
            if of_grad:
                more = _forward(x, v_weight, ctx.how)
                d_grad = more if d_grad is None else d_grad + more
            d_x = _gradients(grad, x, v_weight, ctx.how, True, False)[0] if of_x else None
        return d_grad, d_x, d_weight, None, None, None


def _wanted(ctx: Any) -> list[bool]:
    """Of each input that is a tensor (they come first), whether this backward pass is to give its gradient."""
    return [
        needed and goes_on_to(node) for needed, (node, _) in zip(ctx.needs_input_grad, ctx.next_functions, strict=False)
    ]


_apply = function_apply(_Conv2d)
_apply_backward = function_apply(_Conv2dBackward)
