"""torch's private names that gankit calls, each with what stands in for it in a torch that has renamed it.

They are looked up once, here, so that a name that is gone costs speed and never an import. `MISSING` lists those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["MISSING", "batched", "call_directly", "function_apply", "goes_on_to", "lerp_all_", "norms", "transformed"]

MISSING: list[str] = []
"""What this torch lacks."""


def _look_up(name: str) -> Any:
    """What torch has under a dotted name, None if there is no such thing."""
    found: Any = torch
    for part in name.split(".")[1:]:
        found = getattr(found, part, None)
        if found is None:
            MISSING.append(name)
            break
    return found


# -- transforms: of these kernels know nothing, so that callers take the formula inside them ---------------------------


class _Refused(torch.autograd.Function):
    """A Function without `setup_context`, which torch refuses to call inside torch.func transforms."""

    @staticmethod
    def forward(ctx: Any) -> None:
        return None


def _functorch_refuses() -> bool:
    try:
        _Refused.apply()
    except Exception:
        return True
    return False


def _dual_level_open() -> bool:
    """Dual tensors, of forward-mode differentiation, can be made inside `forward_ad.dual_level()` alone."""
    try:
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))
    except Exception:
        return False
    return True


_functorch_active: Callable[[], bool] = _look_up("torch._C._are_functorch_transforms_active") or _functorch_refuses
_is_legacy_batched: Callable[[Tensor], bool] | None = _look_up("torch._C._functorch.is_legacy_batchedtensor")

if _look_up("torch.autograd.forward_ad._current_level") is None:

    def transformed() -> bool:
        """True inside torch.func transforms (vmap, grad, jvp, ...) and forward-mode differentiation."""
        return _functorch_active() or _dual_level_open()

else:

    def transformed() -> bool:
        """True inside torch.func transforms (vmap, grad, jvp, ...) and forward-mode differentiation."""
        return _functorch_active() or forward_ad._current_level >= 0


def batched(t: Tensor) -> bool:
    """True for what `torch.autograd.grad(..., is_grads_batched=True)`, an older vmap, hands to backward functions, and
    where torch does not tell: the formula is right for every gradient."""
    return _is_legacy_batched is None or _is_legacy_batched(t) or _functorch_active()


# -- calls at less cost ------------------------------------------------------------------------------------------------


def function_apply(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """`function.apply` without its Python part, which looks for the transforms that callers have excluded."""
    return getattr(super(torch.autograd.Function, function), "apply", function.apply)


def call_directly(op: Any) -> Callable[..., Any]:
    """What an op's `__call__` hands its arguments on to: a third of a microsecond less for each call."""
    return getattr(op, "_op", op)


_will_execute = _look_up("torch._C._will_engine_execute_node")


def goes_on_to(node: Any) -> bool:
    """Whether the backward pass that is running goes on to `node`, one of `ctx.next_functions`.

    `ctx.needs_input_grad` says what could be asked for, not what is: where ``torch.autograd.grad`` or
    ``backward(inputs=...)`` wants something else, the work would be for nothing. True where torch does not tell.
    """
    if node is None or _will_execute is None:
        return node is not None
    try:
        return bool(_will_execute(node))
    except RuntimeError:  # torch does not say it of a leaf that autograd.grad was asked for, which is a yes
        return True


# -- many tensors at once ----------------------------------------------------------------------------------------------

_foreach_lerp_ = _look_up("torch._foreach_lerp_")
_foreach_norm = _look_up("torch._foreach_norm")


def lerp_all_(tensors: Sequence[Tensor], ends: Sequence[Tensor], weight: float) -> None:
    """Moves each tensor, in place, by `weight` of the way to its end; shapes and dtypes agree pair by pair."""
    if _foreach_lerp_ is not None:
        _foreach_lerp_(tensors, ends, weight)
        return
    for tensor, end in zip(tensors, ends, strict=True):
        tensor.lerp_(end, weight)


def norms(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The Euclidean norm of each tensor, scalars of its dtype."""
    return _foreach_norm(tensors) if _foreach_norm is not None else [torch.linalg.vector_norm(t) for t in tensors]
