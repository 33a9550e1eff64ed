"""`instance_norm_act` in plain torch: its checks, and kernels for devices that have no other."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "backward",
    "check",
    "compute_dtype",
    "double_backward",
    "empty_result",
    "forward",
    "gradients_from_input",
    "input_from_output",
]

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def compute_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def check(x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None) -> None:
    for name, value in (("x", x), ("weight", weight), ("bias", bias), ("residual", residual)):
        if not isinstance(value, Tensor) and (name == "x" or value is not None):
            raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
    if x.dtype not in DTYPES:
        raise TypeError(f"x must be float32, float64, bfloat16 or float16, got {x.dtype}")
    if not 3 <= x.dim() <= 5:
        raise ValueError(f"x must have 3 to 5 dimensions (batch, channels, 1 to 3 spatial), got {x.dim()}")
    if all(size == 1 for size in x.shape[2:]):
        raise ValueError(f"x must have more than 1 spatial element, got shape {tuple(x.shape)}")
    allowed = {x.dtype, compute_dtype(x)}
    for name, value in (("weight", weight), ("bias", bias)):
        if value is None:
            continue
        if value.device != x.device:
            raise ValueError(f"{name} must be on the device of x, {x.device}, got {value.device}")
        if value.dim() != 1 or value.shape[0] != x.shape[1]:
            raise ValueError(
                f"{name} must have one element per channel of x, got shape {tuple(value.shape)} "
                f"for {x.shape[1]} channels"
            )
        if value.dtype not in allowed:
            raise TypeError(f"{name} must be {' or '.join(sorted(map(str, allowed)))}, got {value.dtype}")
    if weight is not None and bias is not None and weight.dtype != bias.dtype:
        raise TypeError(f"bias must have the dtype of weight, {weight.dtype}, got {bias.dtype}")
    if residual is not None and residual.shape != x.shape:
        raise ValueError(f"residual must have the shape of x, {tuple(x.shape)}, got {tuple(residual.shape)}")
    if residual is not None and residual.dtype != x.dtype:
        raise TypeError(f"residual must have the dtype of x, {x.dtype}, got {residual.dtype}")
    if residual is not None and residual.device != x.device:
        raise ValueError(f"residual must be on the device of x, {x.device}, got {residual.device}")


def is_channels_last(x: Tensor) -> bool:
    return x.movedim(1, -1).is_contiguous()


def empty_result(x: Tensor) -> Tensor:
    """Uninitialised, with the strides that a result for `x` has."""
    if x.is_contiguous() or is_channels_last(x):
        return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
    return x.new_empty(x.shape)


def spatial(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """[C] or [N, C] made to broadcast over the planes of `x`, in the dtype computed in."""
    return values.to(compute_dtype(x)).reshape(*values.shape, *[1] * (x.dim() - 2))


def inverse_deviation(var: Tensor, eps: float) -> Tensor:
    """1 / sqrt(var + eps); 0 where both are 0, as torch has it: a constant plane is then 0, not NaN."""
    return ((var + eps) if eps else var.masked_fill(var == 0, math.inf)).rsqrt()


def forward(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    negative_slope: float,
    eps: float,
) -> tuple[Tensor, Tensor]:
    check(x, weight, bias, residual)
    wide = x.to(compute_dtype(x))
    var, mean = torch.var_mean(wide, spatial(x), correction=0) if x.numel() else (wide.new_zeros(x.shape[:2]),) * 2
    rstd = inverse_deviation(var, eps)
    y = (wide - per_channel(mean, x)) * per_channel(rstd, x)
    if weight is not None:
        y = y * per_channel(weight, x)
    if bias is not None:
        y = y + per_channel(bias, x)
    if negative_slope != 1:
        y = F.leaky_relu(y, negative_slope)
    if residual is not None:
        y = y + residual
    return empty_result(x).copy_(y), torch.stack([mean, rstd])


def backward(
    grad: Tensor,
    known: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    negative_slope: float,
    from_output: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    xhat, z = _normalised(known, weight, bias, stats, negative_slope, from_output)
    dx, dweight, dbias = _gradients(grad, xhat, z, weight, per_channel(stats[1], known), negative_slope)
    empty = known.new_empty(0)
    return (
        empty_result(known).copy_(dx),
        empty if weight is None else dweight.to(weight.dtype),
        empty.clone() if bias is None else dbias.to(bias.dtype),
    )


def double_backward(
    v: Tensor,
    v_weight: Tensor | None,
    v_bias: Tensor | None,
    grad: Tensor,
    known: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    negative_slope: float,
    from_output: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the input, of `grad` and of the weight; see csrc/instance_norm_act_backward.h for the formulas."""
    xhat, z = _normalised(known, weight, bias, stats, negative_slope, from_output)
    rstd, dims = per_channel(stats[1], known), spatial(known)
    w = 1 if weight is None else per_channel(weight, known)
    gate = torch.where(z > 0, z.new_ones(()), negative_slope)  # of two numbers it would be float32
    g, v = gate * grad, v.to(rstd.dtype)

    def mean(t: Tensor) -> Tensor:
        return t.mean(dims, keepdim=True)

    def through_norm(t: Tensor) -> Tensor:
        return rstd * (t - mean(t) - xhat * mean(t * xhat))

    to_dx = through_norm(v)
    to_grad = w * to_dx
    to_xhat = -w * rstd * (v * mean(g * xhat) + g * mean(v * xhat))
    if v_weight is not None:
        to_grad = to_grad + per_channel(v_weight, known) * xhat
        to_xhat = to_xhat + per_channel(v_weight, known) * g
    if v_bias is not None:
        to_grad = to_grad + per_channel(v_bias, known)
    grad_x = through_norm(to_xhat) - w * rstd * xhat * mean(g * to_dx)
    return (
        empty_result(known).copy_(grad_x),
        empty_result(known).copy_(gate * to_grad),
        known.new_empty(0) if weight is None else (g * to_dx).sum([0, *dims]).to(weight.dtype),
    )


def input_from_output(
    y: Tensor, weight: Tensor | None, bias: Tensor | None, stats: Tensor, negative_slope: float
) -> Tensor:
    """The input that gave `y`, in the dtype computed in, to within the rounding of `y`."""
    xhat, _ = _normalised(y, weight, bias, stats, negative_slope, True)
    rstd = per_channel(stats[1], y)
    return torch.where(rstd == 0, 0, xhat / rstd) + per_channel(stats[0], y)  # 0: constant, and without eps


def gradients_from_input(
    grad: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, negative_slope: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What `backward` gives, in the dtype computed in, and differentiable in all of its tensors."""
    var, mean = torch.var_mean(x.to(compute_dtype(x)), spatial(x), correction=0)
    stats = torch.stack([mean, inverse_deviation(var, eps)])
    xhat, z = _normalised(x, weight, bias, stats, negative_slope, False)
    return _gradients(grad, xhat, z, weight, per_channel(stats[1], x), negative_slope)


def _normalised(
    known: Tensor, weight: Tensor | None, bias: Tensor | None, stats: Tensor, negative_slope: float, from_output: bool
) -> tuple[Tensor, Tensor]:
    """The normalised input and what the activation is applied to, from the op's input or from its output."""
    wide = known.to(stats.dtype)
    if not from_output:
        xhat = (wide - per_channel(stats[0], known)) * per_channel(stats[1], known)
        z = xhat if weight is None else xhat * per_channel(weight, known)
        return xhat, z if bias is None else z + per_channel(bias, known)
    xhat = z = torch.where(wide > 0, wide, wide / negative_slope)
    if bias is not None:
        xhat = xhat - per_channel(bias, known)
    if weight is not None:
        w = per_channel(weight, known)
        xhat = torch.where(w == 0, 0, xhat / w)
    return xhat, z


def _gradients(
    grad: Tensor, xhat: Tensor, z: Tensor, weight: Tensor | None, rstd: Tensor, negative_slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Of x, weight and bias, in the dtype computed in; differentiable in all tensors given."""
    dims = spatial(xhat)
    g = grad.to(rstd.dtype)
    g = torch.where(z > 0, g, g * negative_slope)
    dweight, dbias = (g * xhat).sum([0, *dims]), g.sum([0, *dims])
    if weight is not None:
        g = g * per_channel(weight, xhat)
    dx = rstd * (g - g.mean(dims, keepdim=True) - xhat * (g * xhat).mean(dims, keepdim=True))
    return dx, dweight, dbias
