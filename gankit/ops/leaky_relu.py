"""Leaky ReLU with a bias added in the same pass.

How a call finds its way (microseconds for one element, torch 2.13): without a gradient the kernel is called straight
(1.9; eager torch 3.3). With one, an old-style `autograd.Function` around the kernel costs less (27 forward + backward)
than `torch.library.register_autograd` (38), whose Python runs even where no gradient is asked for (5). So every op has
two names for one kernel: `gankit::leaky_relu` carries the registered gradient, for `torch.compile`, export and direct
calls, and `gankit::leaky_relu_forward`, which has none, serves the Function. Eager torch with its three nodes takes 27
as well, and an empty Function 20: one more tensor saved, or two more layers of Python, and small tensors lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gankit.ops._library import NATIVE, is_compiling
from gankit.ops._torch import batched, call_directly, function_apply, transformed

__all__ = ["leaky_relu", "leaky_relu_reference"]

_DTYPES = frozenset({torch.float32, torch.float64, torch.bfloat16, torch.float16})


def leaky_relu_reference(x: Tensor, bias: Tensor | None = None, *, negative_slope: float = 0.2) -> Tensor:
    """The specification of `leaky_relu` in plain torch; half types are computed in float32 and rounded once."""
    if bias is None:
        return F.leaky_relu(x, negative_slope)
    bias = bias.view(-1, *(1,) * (x.dim() - 2))
    if x.dtype is bias.dtype and x.dtype in (torch.float32, torch.float64):
        return F.leaky_relu(x + bias, negative_slope)
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    return F.leaky_relu(x.to(wide) + bias.to(wide), negative_slope).to(x.dtype)


def leaky_relu(x: Tensor, bias: Tensor | None = None, *, negative_slope: float = 0.2) -> Tensor:
    """Leaky ReLU of `x + bias`: v where v > 0, `negative_slope * v` elsewhere (Maas et al. 2013, section 2).

    Args:
        x: (N, C, ...) of float32, float64, bfloat16 or float16, any memory layout. Without a bias, any shape.
        bias: (C,), added to dimension 1. Its dtype may differ from x's (a float32 bias beside bfloat16 under autocast).
        negative_slope: 0 is ReLU, 1 is the identity.

    Returns:
        A tensor of x's shape and dtype, and of x's memory layout (dense: a slice gives a tensor without its gaps).

    Gradients of every order in x and bias. The backward pass reads the result, not the input, so that `x`
    is free for reuse once the next layer has run. Without a bias there is nothing to fuse: torch's own op runs.

    Raises:
        TypeError: with a bias, where x or bias is not a tensor of one of these dtypes.
        ValueError: bias is not (C,), x has no dimension 1, or they are on different devices.
    """
    if bias is None:
        return F.leaky_relu(x, negative_slope)
    if is_compiling():
        _check(x, bias)
        # A negative slope folds both signs onto one, so that the result no longer tells the input's sign.
        if not NATIVE or not negative_slope >= 0 or transformed():
            return leaky_relu_reference(x, bias, negative_slope=negative_slope)
        return torch.ops.gankit.leaky_relu.default(x, bias, negative_slope)
    try:
        if NATIVE and negative_slope >= 0 and not transformed():
            if torch.is_grad_enabled() and (x.requires_grad or bias.requires_grad):
                return _apply(x, bias, negative_slope)
            return _forward(x, bias, negative_slope)
    except (AttributeError, RuntimeError, TypeError) as error:
        raise (_wrong(x, bias) or error) from None
    _check(x, bias)
    y = leaky_relu_reference(x, bias, negative_slope=negative_slope)
    return y if transformed() else _with_strides_of_kernel(y, x)


def _with_strides_of_kernel(y: Tensor, x: Tensor) -> Tensor:
    """torch's own ops give dimensions of size 1 other strides than kernels do, and so do tensors without elements."""
    strides = torch.empty_like(x, device="meta").stride()
    return y if y.stride() == strides else y.as_strided(y.shape, strides)


def _check(x: Tensor, bias: Tensor) -> None:
    if error := _wrong(x, bias):
        raise error


def _wrong(x: Tensor, bias: Tensor) -> Exception | None:
    """The error for arguments that do not fit, None if they do."""
    for name, tensor in (("x", x), ("bias", bias)):
        if not isinstance(tensor, Tensor):
            return TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
        if tensor.dtype not in _DTYPES:
            return TypeError(f"{name} must be float32, float64, bfloat16 or float16, got {tensor.dtype}")
    if x.dim() < 2:
        return ValueError(f"x must have at least 2 dimensions (N, C, ...) to take a bias, got {tuple(x.shape)}")
    if bias.shape != x.shape[1:2]:
        return ValueError(f"bias must have shape ({x.size(1)},) for x {tuple(x.shape)}, got {tuple(bias.shape)}")
    if bias.device != x.device:
        return ValueError(f"bias must be on x's device {x.device}, got {bias.device}")
    return None


def _leaky_relu_backward_reference(
    grad: Tensor, y: Tensor, negative_slope: float, input_grad: bool, bias_grad: bool
) -> tuple[Tensor, Tensor]:
    """The gradients in plain torch, differentiable in `grad`; what is not asked for is an empty tensor."""
    dx = torch.where(y > 0, grad, grad * negative_slope)
    summed = [d for d in range(y.dim()) if d != 1]
    wide = torch.float64 if y.dtype == torch.float64 else torch.float32
    db = dx.sum(summed, dtype=wide) if bias_grad else y.new_empty(0, dtype=wide)
    return (dx if input_grad else y.new_empty(0)), db


class _LeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, negative_slope: float) -> Tensor:
        y = _forward(x, bias, negative_slope)
        ctx.save_for_backward(y)
        ctx.negative_slope = negative_slope
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (y,) = ctx.saved_tensors
        input_grad, bias_grad, _ = ctx.needs_input_grad
        dx, db = _differentiable_backward(grad, y, ctx.negative_slope, input_grad, bias_grad)
        return dx if input_grad else None, db if bias_grad else None, None  # autograd rounds db to the bias's dtype


class _LeakyReLUBackward(torch.autograd.Function):
    """Backward as a function of the gradient that comes in; being linear in it, its derivative is itself again."""

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, y: Tensor, negative_slope: float, input_grad: bool, bias_grad: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y)
        ctx.negative_slope = negative_slope
        return _backward(grad, y, negative_slope, input_grad, bias_grad)

    @staticmethod
    def backward(ctx: Any, v: Tensor | None, v_bias: Tensor | None) -> tuple[Tensor | None, ...]:
        (y,) = ctx.saved_tensors
        if v_bias is not None:
            per_channel = v_bias.to(y.dtype).view(-1, *[1] * (y.dim() - 2))
            v = per_channel.expand(y.shape) if v is None else v + per_channel
        if v is None:
            return (None,) * 5
        return _differentiable_backward(v, y, ctx.negative_slope, True, False)[0], None, None, None, None


def _differentiable_backward(
    grad: Tensor, y: Tensor, negative_slope: float, input_grad: bool, bias_grad: bool
) -> tuple[Tensor, Tensor]:
    if not torch.is_grad_enabled():
        return _backward(grad, y, negative_slope, input_grad, bias_grad)
    # Somebody differentiates this gradient.
    backward = _leaky_relu_backward_reference if batched(grad) else _apply_backward
    return backward(grad, y.detach(), negative_slope, input_grad, bias_grad)


_apply = function_apply(_LeakyReLU)
_apply_backward = function_apply(_LeakyReLUBackward)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.negative_slope = inputs[2]
    ctx.save_for_backward(output)


def _fake_forward(x: Tensor, bias: Tensor, negative_slope: float) -> Tensor:
    _check(x, bias)  # also what tensors on different devices get, one of them being "meta"
    return torch.empty_like(x)


def _fake_backward(
    grad: Tensor, y: Tensor, negative_slope: float, input_grad: bool, bias_grad: bool
) -> tuple[Tensor, Tensor]:
    dx = torch.empty_like(y) if input_grad else y.new_empty(0)
    wide = torch.float64 if y.dtype == torch.float64 else torch.float32
    return dx, y.new_empty(y.size(1) if bias_grad else 0, dtype=wide)


def _vmap(info: Any, dims: Sequence[int | None], x: Tensor, bias: Tensor, negative_slope: float) -> tuple[Tensor, int]:
    """The batch joins N. With a bias for each of its samples, it joins C: act(x[b] + bias[b]) is one wider layer."""
    op = torch.ops.gankit.leaky_relu.default
    x = x.expand(info.batch_size, *x.shape) if dims[0] is None else x.movedim(dims[0], 0)
    if dims[1] is None:
        return op(x.flatten(0, 1), bias, negative_slope).unflatten(0, x.shape[:2]), 0
    x, bias = x.movedim(0, 1), bias.movedim(dims[1], 0)
    y = op(x.flatten(1, 2), bias.flatten(), negative_slope)
    return y.unflatten(1, x.shape[1:3]), 1


def _any_device(x: Tensor, bias: Tensor, negative_slope: float) -> Tensor:
    _check(x, bias)
    return leaky_relu_reference(x, bias, negative_slope=negative_slope)


if NATIVE:
    _forward = call_directly(torch.ops.gankit.leaky_relu_forward.default)
    _backward = call_directly(torch.ops.gankit.leaky_relu_backward.default)
    # Devices without a kernel of their own run the reference.
    torch.library.impl("gankit::leaky_relu", "CompositeExplicitAutograd", _any_device)
    torch.library.impl("gankit::leaky_relu_forward", "CompositeExplicitAutograd", _any_device)
    torch.library.impl("gankit::leaky_relu_backward", "CompositeExplicitAutograd", _leaky_relu_backward_reference)
    torch.library.register_fake("gankit::leaky_relu", _fake_forward)
    torch.library.register_fake("gankit::leaky_relu_forward", _fake_forward)
    torch.library.register_fake("gankit::leaky_relu_backward", _fake_backward)
    torch.library.register_autograd("gankit::leaky_relu", _LeakyReLU.backward, setup_context=_setup_context)
    torch.library.register_vmap("gankit::leaky_relu", _vmap)
