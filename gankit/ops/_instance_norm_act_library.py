"""Registers the ops of `instance_norm_act`: schemas, plain kernels, shapes and vmap."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gankit.ops import _instance_norm_act_plain as plain
from gankit.ops._library import NATIVE

__all__ = ["backward_op", "double_backward_op", "forward_op", "op"]

_FORWARD = "(Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, float negative_slope, float eps"
_KNOWN = "Tensor known, Tensor? weight, Tensor? bias, Tensor stats, float negative_slope, bool from_output)"
if not NATIVE:  # csrc/library.cpp defines them otherwise
    for _name, _schema in (
        ("instance_norm_act", f"{_FORWARD}, bool from_output) -> (Tensor, Tensor)"),
        ("instance_norm_act_forward", f"{_FORWARD}) -> (Tensor, Tensor)"),
        ("instance_norm_act_backward", f"(Tensor grad, {_KNOWN} -> (Tensor, Tensor, Tensor)"),
        (
            "instance_norm_act_double_backward",
            f"(Tensor v, Tensor? v_weight, Tensor? v_bias, Tensor grad, {_KNOWN} -> (Tensor, Tensor, Tensor)",
        ),
    ):
        torch.library.define(f"gankit::{_name}", _schema)
_ops = torch.ops.gankit
op = _ops.instance_norm_act.default  # the one that has a gradient; `from_output` says what that keeps
forward_op = _ops.instance_norm_act_forward.default
backward_op = _ops.instance_norm_act_backward.default
double_backward_op = _ops.instance_norm_act_double_backward.default


def _forward_plain(*inputs: Any) -> tuple[Tensor, Tensor]:
    return plain.forward(*inputs[:6])


for _name, _kernel in (
    ("instance_norm_act", _forward_plain),
    ("instance_norm_act_forward", plain.forward),
    ("instance_norm_act_backward", plain.backward),
    ("instance_norm_act_double_backward", plain.double_backward),
):
    torch.library.impl(f"gankit::{_name}", "CompositeExplicitAutograd")(_kernel)


# -- shapes ------------------------------------------------------------------------------------------------------------


@torch.library.register_fake("gankit::instance_norm_act")
@torch.library.register_fake("gankit::instance_norm_act_forward")
def _(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, *_rest: Any
) -> tuple[Tensor, Tensor]:
    plain.check(x, weight, bias, residual)
    return plain.empty_result(x), x.new_empty((2, *x.shape[:2]), dtype=plain.compute_dtype(x))


def _like(t: Tensor | None, x: Tensor) -> Tensor:
    return x.new_empty(0) if t is None else t.new_empty(t.shape)


@torch.library.register_fake("gankit::instance_norm_act_backward")
def _(grad: Tensor, known: Tensor, weight: Tensor | None, bias: Tensor | None, *_rest: Any) -> tuple[Tensor, ...]:
    return plain.empty_result(known), _like(weight, known), _like(bias, known)


@torch.library.register_fake("gankit::instance_norm_act_double_backward")
def _(
    v: Tensor,
    v_weight: Tensor | None,
    v_bias: Tensor | None,
    grad: Tensor,
    known: Tensor,
    weight: Tensor | None,
    *_rest: Any,
) -> tuple[Tensor, ...]:
    return plain.empty_result(known), plain.empty_result(known), _like(weight, known)


# -- vmap of the ops themselves (batched gradients, compiled functions) ------------------------------------------------
# Planes are independent of each other, so that a batch of calls is one call with more channels.


def _fold(t: Tensor | None, dim: int | None, size: int, at: int) -> Tensor | None:
    """Moves the mapped dimension of `t` (expanded if it has none) before dimension `at`, and merges the two."""
    if t is None:
        return None
    t = t.unsqueeze(at).expand(*t.shape[:at], size, *t.shape[at:]) if dim is None else t.movedim(dim, at)
    return t.flatten(at, at + 1)


def _fold_all(info: Any, in_dims: tuple[Any, ...], at: tuple[int, ...], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The tensors that `inputs` begins with folded, each before its dimension `at`; what follows them unchanged."""
    folded = (_fold(t, dim, info.batch_size, a) for t, dim, a in zip(inputs, in_dims, at, strict=False))
    return (*folded, *inputs[len(at) :])


def _vmap_forward(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
    y, stats = op(*_fold_all(info, in_dims, (1, 0, 0, 1), inputs))
    return (y.unflatten(1, (info.batch_size, -1)), stats.unflatten(2, (info.batch_size, -1))), (1, 2)


def _vmap_backward(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
    dx, *of_channels = backward_op(*_fold_all(info, in_dims, (1, 1, 0, 0, 2), inputs))
    size = info.batch_size
    return (dx.unflatten(1, (size, -1)), *(t.reshape(size, -1) for t in of_channels)), (1, 0, 0)


def _vmap_double_backward(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
    *maps, grad_weight = double_backward_op(*_fold_all(info, in_dims, (1, 0, 0, 1, 1, 0, 0, 2), inputs))
    size = info.batch_size
    return (*(t.unflatten(1, (size, -1)) for t in maps), grad_weight.reshape(size, -1)), (1, 1, 0)


torch.library.register_vmap("gankit::instance_norm_act", _vmap_forward)
torch.library.register_vmap("gankit::instance_norm_act_backward", _vmap_backward)
torch.library.register_vmap("gankit::instance_norm_act_double_backward", _vmap_double_backward)
