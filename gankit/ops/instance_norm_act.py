"""Instance norm, affine, leaky ReLU and a residual, in one pass over memory where a kernel exists."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gankit.ops._library import NATIVE, is_compiling, transformed

__all__ = ["instance_norm_act", "instance_norm_act_reference"]


def instance_norm_act(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    negative_slope: float = 1.0,
    eps: float = 1e-5,
) -> Tensor:
    r"""Instance norm, then a leaky ReLU, then a residual added.

    .. math::
        y = \mathrm{leaky}\left(\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \, w + b\right) + r

    with the mean and the biased variance of each plane, that is over the spatial dimensions of one sample and channel
    (Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", arXiv:1607.08022). There are no running statistics.

    Args:
        x: ``[N, C, L]``, ``[N, C, H, W]`` or ``[N, C, D, H, W]``; float32, float64, bfloat16 or float16. N may be 0.
        weight: ``[C]``, of the dtype of ``x``, or float32 where ``x`` has 16 bits. Default: ones.
        bias: ``[C]``, of the dtype of ``weight``. Default: zeros.
        residual: of the shape and dtype of ``x``; added after the activation.
        negative_slope: slope of the activation below zero: 1 leaves it out, 0 is a ReLU.
        eps: added to the variance.

    Returns:
        Shape and dtype of ``x``, and its memory layout where that is contiguous or channels_last, else contiguous.

    Statistics are taken in float32 (float64 for float64), whatever the dtype of ``x``; results do not depend on the
    number of threads. First and second derivatives in ``x``, ``weight``, ``bias`` and ``residual``; the first is a
    fused kernel, the second plain torch. Under ``torch.func`` (vmap, grad, jvp) and forward-mode differentiation the
    reference runs.

    Raises:
        ValueError: a shape that does not fit, tensors on different devices, or planes of a single element, which have
            no variance.
        TypeError: an argument that is not a tensor, or of another dtype.
    """
    if transformed():  # vmap, grad, jvp: torch has every rule for the reference
        _check(x, weight, bias, residual)
        return instance_norm_act_reference(x, weight, bias, residual=residual, negative_slope=negative_slope, eps=eps)
    if is_compiling():
        _check(x, weight, bias, residual)
        return _ops.instance_norm_act.default(x, weight, bias, residual, negative_slope, eps)[0]
    try:
        if torch.is_grad_enabled() and (
            x.requires_grad
            or (weight is not None and weight.requires_grad)
            or (bias is not None and bias.requires_grad)
            or (residual is not None and residual.requires_grad)
        ):
            return _apply(x, weight, bias, residual, negative_slope, eps)
        return _forward_op(x, weight, bias, residual, negative_slope, eps)[0]
    except (RuntimeError, TypeError, AttributeError) as error:
        refused = error
    _check(x, weight, bias, residual)  # the op checks too, at less cost; this says it in Python's terms
    raise refused


def instance_norm_act_reference(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    negative_slope: float = 1.0,
    eps: float = 1e-5,
) -> Tensor:
    """What `instance_norm_act` means, in torch's own ops: the specification that the kernels are tested against."""
    wide = _compute_dtype(x)
    weight, bias = (t if t is None else t.to(wide) for t in (weight, bias))
    y = F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    if negative_slope != 1:
        y = F.leaky_relu(y, negative_slope)
    return y if residual is None else y + residual


# -- checks and geometry ----------------------------------------------------------------------------------------------

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def _compute_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _check(x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None) -> None:
    for name, value in (("x", x), ("weight", weight), ("bias", bias), ("residual", residual)):
        if not isinstance(value, Tensor) and (name == "x" or value is not None):
            raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
    if x.dtype not in _DTYPES:
        raise TypeError(f"x must be float32, float64, bfloat16 or float16, got {x.dtype}")
    if not 3 <= x.dim() <= 5:
        raise ValueError(f"x must have 3 to 5 dimensions (batch, channels, 1 to 3 spatial), got {x.dim()}")
    if x.shape[2:].numel() == 1:
        raise ValueError(f"x must have more than 1 spatial element, got shape {tuple(x.shape)}")
    allowed = {x.dtype, _compute_dtype(x)}
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


def _is_channels_last(x: Tensor) -> bool:
    return x.movedim(1, -1).is_contiguous()


def _empty_result(x: Tensor) -> Tensor:
    """Uninitialised, with the strides that a result for `x` has."""
    if x.is_contiguous() or _is_channels_last(x):
        return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
    return x.new_empty(x.shape)


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """[C] or [N, C] made to broadcast over the planes of `x`, in the dtype computed in."""
    return values.to(_compute_dtype(x)).reshape(*values.shape, *[1] * (x.dim() - 2))


def _rstd(var: Tensor, eps: float) -> Tensor:
    """1 / sqrt(var + eps); 0 where both are 0, as torch has it: a constant plane is then 0, not NaN."""
    return ((var + eps) if eps else var.masked_fill(var == 0, math.inf)).rsqrt()


# -- kernels in plain torch, for devices that have no other ------------------------------------------------------------


def _forward_plain(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    negative_slope: float,
    eps: float,
) -> tuple[Tensor, Tensor]:
    _check(x, weight, bias, residual)
    wide = x.to(_compute_dtype(x))
    var, mean = torch.var_mean(wide, _spatial(x), correction=0) if x.numel() else (wide.new_zeros(x.shape[:2]),) * 2
    rstd = _rstd(var, eps)
    y = (wide - _per_channel(mean, x)) * _per_channel(rstd, x)
    if weight is not None:
        y = y * _per_channel(weight, x)
    if bias is not None:
        y = y + _per_channel(bias, x)
    if negative_slope != 1:
        y = F.leaky_relu(y, negative_slope)
    if residual is not None:
        y = y + residual
    return _empty_result(x).copy_(y), torch.stack([mean, rstd])


def _backward_plain(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    negative_slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    dx, dweight, dbias = _gradients(grad, x, weight, bias, stats[0], stats[1], negative_slope)
    empty = x.new_empty(0)
    return (
        _empty_result(x).copy_(dx),
        empty if weight is None else dweight.to(weight.dtype),
        empty.clone() if bias is None else dbias.to(bias.dtype),
    )


def _gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    rstd: Tensor,
    negative_slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias in the dtype computed in; differentiable in all tensors given."""
    dims = _spatial(x)
    rstd = _per_channel(rstd, x)
    xhat = (x.to(rstd.dtype) - _per_channel(mean, x)) * rstd
    z = xhat if weight is None else xhat * _per_channel(weight, x)
    z = z if bias is None else z + _per_channel(bias, x)
    g = grad.to(rstd.dtype)
    g = torch.where(z > 0, g, g * negative_slope)
    dweight, dbias = (g * xhat).sum([0, *dims]), g.sum([0, *dims])
    if weight is not None:
        g = g * _per_channel(weight, x)
    dx = rstd * (g - g.mean(dims, keepdim=True) - xhat * (g * xhat).mean(dims, keepdim=True))
    return dx, dweight, dbias


# -- registration ------------------------------------------------------------------------------------------------------

_FORWARD = (
    "(Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, float negative_slope, float eps) -> (Tensor, Tensor)"
)
_BACKWARD = (
    "(Tensor grad, Tensor x, Tensor? weight, Tensor? bias, Tensor stats, float negative_slope) "
    "-> (Tensor, Tensor, Tensor)"
)
if not NATIVE:  # csrc/library.cpp defines them otherwise
    torch.library.define("gankit::instance_norm_act", _FORWARD)
    torch.library.define("gankit::instance_norm_act_forward", _FORWARD)
    torch.library.define("gankit::instance_norm_act_backward", _BACKWARD)
_ops = torch.ops.gankit
_forward_op = _ops.instance_norm_act_forward.default
_backward_op = _ops.instance_norm_act_backward.default

for _name, _kernel in (
    ("instance_norm_act", _forward_plain),
    ("instance_norm_act_forward", _forward_plain),
    ("instance_norm_act_backward", _backward_plain),
):
    torch.library.impl(f"gankit::{_name}", "CompositeExplicitAutograd")(_kernel)


@torch.library.register_fake("gankit::instance_norm_act")
@torch.library.register_fake("gankit::instance_norm_act_forward")
def _(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    negative_slope: float,
    eps: float,
) -> tuple[Tensor, Tensor]:
    _check(x, weight, bias, residual)
    return _empty_result(x), x.new_empty((2, *x.shape[:2]), dtype=_compute_dtype(x))


@torch.library.register_fake("gankit::instance_norm_act_backward")
def _(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    negative_slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    dweight, dbias = (x.new_empty(0) if t is None else t.new_empty(t.shape) for t in (weight, bias))
    return _empty_result(x), dweight, dbias


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, bias, _, ctx.negative_slope, ctx.eps = inputs
    ctx.save_for_backward(x, weight, bias, output[1])


def _backward(ctx: Any, grad: Tensor, _stats_grad: Tensor | None = None) -> tuple[Tensor | None, ...]:
    x, weight, bias, stats = ctx.saved_tensors
    if torch.is_grad_enabled():  # a gradient of this gradient is wanted: `stats` must depend on x
        var, mean = torch.var_mean(x.to(stats.dtype), _spatial(x), correction=0)
        rstd = _rstd(var, ctx.eps)
        dx, dweight, dbias = _gradients(grad, x, weight, bias, mean, rstd, ctx.negative_slope)
        dx = dx.to(x.dtype)
        dweight = dweight if weight is None else dweight.to(weight.dtype)
        dbias = dbias if bias is None else dbias.to(bias.dtype)
    else:
        dx, dweight, dbias = _backward_op(grad, x, weight, bias, stats, ctx.negative_slope)
    wanted = ctx.needs_input_grad
    return (
        dx if wanted[0] else None,
        dweight if wanted[1] else None,
        dbias if wanted[2] else None,
        grad if wanted[3] else None,
        None,
        None,
    )


torch.library.register_autograd("gankit::instance_norm_act", _backward, setup_context=_save)


class _InstanceNormAct(torch.autograd.Function):
    """The op's autograd formula for plain eager use, at a third of the cost of the registered one."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        output = _forward_op(*inputs)
        _save(ctx, inputs, output)
        return output[0]

    backward = staticmethod(_backward)


# Function.apply without its Python part, which looks for the transforms that `instance_norm_act` has excluded.
_apply = super(torch.autograd.Function, _InstanceNormAct).apply


# vmap of the ops themselves (batched gradients, compiled functions): planes are independent of each other, so that a
# batch of calls is one call with more channels.


def _fold(t: Tensor | None, dim: int | None, size: int, at: int) -> Tensor | None:
    """Moves the mapped dimension of `t` (expanded if it has none) before dimension `at`, and merges the two."""
    if t is None:
        return None
    t = t.unsqueeze(at).expand(*t.shape[:at], size, *t.shape[at:]) if dim is None else t.movedim(dim, at)
    return t.flatten(at, at + 1)


def _vmap_forward(
    info: Any, in_dims: tuple[Any, ...], x: Any, weight: Any, bias: Any, residual: Any, *rest: float
) -> Any:
    size = info.batch_size
    inputs = [
        _fold(t, dim, size, at) for t, dim, at in zip((x, weight, bias, residual), in_dims, (1, 0, 0, 1), strict=False)
    ]
    y, stats = _ops.instance_norm_act.default(*inputs, *rest)
    return (y.unflatten(1, (size, -1)), stats.unflatten(2, (size, -1))), (1, 2)


def _vmap_backward(
    info: Any,
    in_dims: tuple[Any, ...],
    grad: Any,
    x: Any,
    weight: Any,
    bias: Any,
    stats: Any,
    negative_slope: float,
) -> Any:
    size = info.batch_size
    inputs = [
        _fold(t, dim, size, at)
        for t, dim, at in zip((grad, x, weight, bias, stats), in_dims, (1, 1, 0, 0, 2), strict=False)
    ]
    dx, dweight, dbias = _backward_op(*inputs, negative_slope)
    dweight, dbias = (t.reshape(size, -1) for t in (dweight, dbias))
    return (dx.unflatten(1, (size, -1)), dweight, dbias), (1, 0, 0)


torch.library.register_vmap("gankit::instance_norm_act", _vmap_forward)
torch.library.register_vmap("gankit::instance_norm_act_backward", _vmap_backward)
