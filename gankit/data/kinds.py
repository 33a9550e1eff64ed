"""The table of kinds of keys: what a dataset delivers, what a step gets, how it moves, and what may stand in for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gankit.data.images import to_float
from gankit.data.moves import Moves
from gankit.plugin import DataSpec, Key

__all__ = ["KINDS", "KeyKind", "describe", "fault", "kind_of", "spec_fault"]


class KeyKind:
    """A row of the table. `gankit.dataset.Key` says what values of each kind are; texts returned are "" if all is well.

    Values are (N, *key.shape) throughout, as `dtype` from a dataset and as `step_dtype` inside a step.
    """

    dtype = torch.float32
    step_dtype = torch.float32
    pixels = False
    """Whether values are (N, C, H, W): pictures, which may stand in memory as channels_last."""
    moves = False
    """Whether values are places in an image, so that :meth:`move` changes them."""

    def shape_fault(self, key: Key) -> str:
        """What is wrong with the shape, or another field, of a key of this kind."""
        return ""

    def value_fault(self, key: Key, values: Tensor) -> str:
        """What is wrong with `values` of the right type and shape, on the CPU."""
        return "" if values.isfinite().all() else "is not finite"

    def describe(self, key: Key) -> str:
        """The key in words."""
        raise NotImplementedError

    def made_up(self, key: Key, number: int, generator: torch.Generator) -> Tensor:
        """`number` valid values as a dataset might deliver them, drawn from `generator` (on the CPU)."""
        raise NotImplementedError

    def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
