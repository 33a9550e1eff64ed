"""Rows that come a few at a time and are kept as one tensor."""

from __future__ import annotations

import torch
from torch import Tensor


class Gathered:
    """`n` rows of one tensor, which has its whole length from the first part on.

    A list of parts, each taken between two large images, would leave holes in the heap that no later image fits into:
    it grew by all images that were ever looked at.
    """

    def __init__(self, n: int) -> None:
        self._n, self._filled = n, 0
        self._rows: Tensor | None = None

    def add(self, part: Tensor) -> None:
        """The next rows (k, ...)."""
        if self._rows is None:
            self._rows = part.new_empty(self._n, *part.shape[1:])
        self._rows[self._filled : self._filled + len(part)] = part
        self._filled += len(part)

    def rows(self) -> Tensor:
        """All of them, (n, ...); of none, (0,)."""
        if self._filled != self._n:
            raise ValueError(f"{self._filled} of {self._n} rows are there")
        return torch.empty(0) if self._rows is None else self._rows
