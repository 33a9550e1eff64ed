"""How much memory a backward pass waits with."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

__all__ = ["kept_bytes"]


class Kept:
    """A tensor that autograd keeps, as long as it does."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def kept_bytes(loss: Callable[[], Tensor], own: Iterable[Tensor]) -> int:
    """What autograd keeps for backward when `loss` has been computed, besides the memory of `own`: weights, images."""
    alive: weakref.WeakSet[Kept] = weakref.WeakSet()

    def pack(tensor: Tensor) -> Kept:
        alive.add(kept := Kept(tensor))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        value = loss()
    held = {s.data_ptr(): s.nbytes() for kept in alive for s in [kept.tensor.untyped_storage()]}
    for tensor in own:
        held.pop(tensor.untyped_storage().data_ptr(), None)
    del value
    return sum(held.values())
