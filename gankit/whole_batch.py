"""A batch that several processes share: draws, rows and means that are those of one process with the whole batch.

Each process has its rows of the batch. What a loss, a pool or an augmentation draws for the samples of a batch it draws
for all of them, from a generator that stands at the same place in each process, and keeps its rows: ``rand``,
``randn``, ``randint``. What looks across samples looks at all of them: ``gather``, ``mean``. What is drawn with torch's
own functions is the same in each process. With one process, and outside of a training step, these are torch's own.

Several batches behind one another, as ``torch.cat([real, fake])``, are that in the whole as well: all reals, all fakes.
So several rows a sample stand as a dimension of their own, (N, P, ...), and not among the rows, (N * P, ...).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from gankit.processes import ALONE, World

__all__ = ["current", "gather", "mean", "rand", "randint", "randn", "rows", "shared", "whole"]

_WORLD: ContextVar[World] = ContextVar("world", default=ALONE)
_SIZE: ContextVar[int] = ContextVar("size", default=0)
"""Samples of a batch that this process has; 0: unknown."""


@contextmanager
def shared(world: World, size: int = 0) -> Iterator[None]:
    """Within, this process has the `size` rows of a batch that are its share among `world`."""
    tokens = _WORLD.set(world), _SIZE.set(size)
    try:
        yield
    finally:
        _WORLD.reset(tokens[0])
        _SIZE.reset(tokens[1])


def current() -> tuple[World, int]:
    """What :func:`shared` was entered with."""
    return _WORLD.get(), _SIZE.get()


def whole(count: int) -> int:
    """Rows of the whole batch where this process has `count`."""
    return count * _WORLD.get().size


def rand(*shape: int, generator: torch.Generator | None = None, dim: int = 0, **kwargs: Any) -> Tensor:
    """Uniform numbers in [0, 1) of `shape`, of which `dim` counts this process's samples. `kwargs` are torch.rand's."""
    return rows(torch.rand(_wide(shape, dim), generator=generator, **kwargs), dim)


def randn(
    *shape: int, generator: torch.Generator | None = None, dim: int = 0, out: Tensor | None = None, **kwargs: Any
) -> Tensor:
    """Standard normal numbers, as :func:`rand`. `out`, if given, is of the whole batch and is filled."""
    wide = _wide(shape, dim)
    if out is not None:
        return rows(torch.randn(wide, generator=generator, out=out), dim)
    return rows(torch.randn(wide, generator=generator, **kwargs), dim)


def randint(high: int, *shape: int, generator: torch.Generator | None = None, dim: int = 0, **kwargs: Any) -> Tensor:
    """Whole numbers from 0 to `high` - 1, as :func:`rand`."""
    return rows(torch.randint(high, _wide(shape, dim), generator=generator, **kwargs), dim)


def rows(tensor: Tensor, dim: int = 0) -> Tensor:
    """This process's rows of a `tensor` that has all rows of the whole batch along `dim`."""
    world = _WORLD.get()
    if world.size == 1 or not tensor.dim():
        return tensor
    own = tensor.shape[dim] // world.size
    if (batches := _batches(own)) == 1:
        return tensor.narrow(dim, world.rank * own, own)
    return tensor.unflatten(dim, (batches, world.size, -1)).select(dim + 1, world.rank).flatten(dim, dim + 1)


def gather(tensor: Tensor) -> Tensor:
    """The rows (N, ...) of all processes, in the order of the whole batch; each process has as many.

    Differentiable, to any order: a gradient comes back to the process whose row it is. What is computed from all rows
    is a mean over the whole batch, which each process computes, and not a share of it.
    """
    world = _WORLD.get()
    if world.size == 1:
        return tensor
    sent = tensor.to(_summed(tensor.dtype))
    others = sent.new_zeros(whole(len(sent)), *sent.shape[1:])
    own = world.share(len(others))
    gathered: Tensor = _Sum.apply(torch.cat([others[: own.start], sent, others[own.stop :]]), world)
    if (batches := _batches(len(sent))) > 1:
        gathered = gathered.unflatten(0, (world.size, batches, -1)).transpose(0, 1).flatten(0, 2)
    return gathered.to(tensor.dtype)


def mean(tensor: Tensor) -> Tensor:
    """The mean over all processes of a statistic of each one's rows, differentiable like :func:`gather`."""
    world = _WORLD.get()
    return tensor if world.size == 1 else _Sum.apply(tensor, world) / world.size


class _Sum(torch.autograd.Function):
    """The sum over all processes. All of them go on from it, so a gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, world: World) -> Tensor:
        ctx.world = world  # on a GPU a thread of its own goes backward
        return world.sum_(tensor.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Sum.apply(gradients[0], ctx.world), None


def _batches(count: int) -> int:
    """How many batches behind one another so many rows of this process are."""
    size = _SIZE.get()
    return count // size if size and count and count % size == 0 else 1


def _wide(shape: Sequence[int], dim: int) -> list[int]:
    """The shape for all processes."""
    wide = list(shape)
    if wide:
        wide[dim] *= _WORLD.get().size
    return wide


def _summed(dtype: torch.dtype) -> torch.dtype:
    """A type that can be added up, and sent: truth values as bytes."""
    return {torch.bool: torch.uint8, torch.int16: torch.int32}.get(dtype, dtype)
