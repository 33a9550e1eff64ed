"""Derivatives of `instance_norm_act`: of the op that `torch.compile` sees, and of plain eager calls."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gankit.ops._instance_norm_act_library import backward_op, double_backward_op, forward_op
from gankit.ops._instance_norm_act_plain import gradients_from_input, input_from_output
from gankit.ops._torch import batched, function_apply

__all__ = ["apply"]


class _Forward(torch.autograd.Function):
    """The op in plain eager use, at a third of the cost of the registered one.

    With `from_output` y is kept and the input is not. A second derivative still has to reach the input in autograd's
    graph: there the second output, `placeholder`, stands for it. It has the input's shape and gradient, but no value
    and the memory of one element.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        residual: Tensor | None,
        negative_slope: float,
        eps: float,
        from_output: bool,
    ) -> Any:
        y, stats = forward_op(x, weight, bias, residual, negative_slope, eps)
        ctx.negative_slope, ctx.eps, ctx.from_output = negative_slope, eps, from_output
        if not from_output:
            ctx.save_for_backward(x, weight, bias, stats)
            return y
        placeholder = x.new_empty_strided(x.shape, (0,) * x.dim())
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y, weight, bias, stats, placeholder)
        return y, placeholder

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, to_input: Tensor | None = None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (to_input, *[None] * 6)
        known, weight, bias, stats, *placeholder = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            derive = _differentiable if batched(grad) else _apply_backward
            x, y = (placeholder[0], known.detach()) if placeholder else (known, None)
            dx, dweight, dbias = derive(grad, x, weight, bias, stats, y, ctx.negative_slope, ctx.eps)
        else:
            dx, dweight, dbias = backward_op(grad, known, weight, bias, stats, ctx.negative_slope, ctx.from_output)
        wanted = ctx.needs_input_grad
        return (
            (dx if to_input is None else dx + to_input) if wanted[0] else None,
            dweight if wanted[1] else None,
            dbias if wanted[2] else None,
            grad if wanted[3] else None,
            None,
            None,
            None,
        )


class _Backward(torch.autograd.Function):
    """Backward as a function of its own, which has a derivative. `x` is the input, or its placeholder if y is given."""

    @staticmethod
    def forward(
        ctx: Any,
        grad: Tensor,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        stats: Tensor,
        y: Tensor | None,
        negative_slope: float,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.negative_slope, ctx.eps = negative_slope, eps
        ctx.save_for_backward(grad, x, weight, bias, stats, y)
        return backward_op(grad, x if y is None else y, weight, bias, stats, negative_slope, y is not None)

    @staticmethod
    def backward(
        ctx: Any, v: Tensor | None, v_weight: Tensor | None, v_bias: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        grad, x, weight, bias, stats, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # third derivatives: by autograd through the formula
            inputs = (_leaf(grad), _leaf(x), _leaf(weight), _leaf(bias))
            outputs = zip(
                _differentiable(*inputs, stats, y, ctx.negative_slope, ctx.eps), (v, v_weight, v_bias), strict=True
            )
            asked, gradients = zip(*((o, g) for o, g in outputs if g is not None), strict=True)
            found = iter(
                torch.autograd.grad(
                    asked, [t for t in inputs if t is not None], gradients, create_graph=True, allow_unused=True
                )
            )
            return (*(t if t is None else next(found) for t in inputs), None, None, None, None)
        to_x, to_grad, to_weight = double_backward_op(
            torch.zeros_like(grad) if v is None else v,
            v_weight,
            v_bias,
            grad,
            x if y is None else y,
            weight,
            bias,
            stats,
            ctx.negative_slope,
            y is not None,
        )
        return to_grad, to_x, None if weight is None else to_weight, None, None, None, None, None


def _leaf(t: Any) -> Any:
    """What a partial derivative is taken in: the tensors may depend on each other, views of them do not."""
    return t if t is None else t.view_as(t) if t.requires_grad else t.detach().requires_grad_()


class _WithValue(torch.autograd.Function):
    """Gives a placeholder its value: returns `value`, and passes the gradient on to `placeholder`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(placeholder: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def _differentiable(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    y: Tensor | None,
    negative_slope: float,
    eps: float,
) -> tuple[Tensor, ...]:
    """Backward in torch's ops, which have all derivatives."""
    if y is not None:
        with torch.no_grad():
            recovered = input_from_output(y, weight, bias, stats, negative_slope).to(x.dtype)
        x = _WithValue.apply(x, recovered)
    gradients = gradients_from_input(grad, x, weight, bias, negative_slope, eps)
    return tuple(
        g.to((x if like is None else like).dtype) for g, like in zip(gradients, (x, weight, bias), strict=True)
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, bias, residual, ctx.negative_slope, ctx.eps, ctx.from_output = inputs
    if ctx.from_output and residual is not None:
        raise ValueError("from_output must be False where a residual is added")
    ctx.save_for_backward(output[0] if ctx.from_output else x, weight, bias, output[1])


def _backward(ctx: Any, grad: Tensor, _stats_grad: Tensor) -> tuple[Tensor | None, ...]:
    if ctx.from_output and torch.is_grad_enabled():
        raise RuntimeError("no second derivative of a compiled instance_norm_act without its input: keep_input=True")
    return _Forward.backward(ctx, grad)


torch.library.register_autograd("gankit::instance_norm_act", _backward, setup_context=_save)

apply = function_apply(_Forward)
_apply_backward = function_apply(_Backward)
