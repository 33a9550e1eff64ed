"""Made-up data of a spec: for a look at whether a variant works, without the time that real data takes to open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gankit.config import Config
from gankit.data.kinds import kind_of
from gankit.plugin import Dataset, DataSpec

if TYPE_CHECKING:
    from gankit.plugin import Batch


class MadeUp(Dataset[Config]):
    """`count` samples of what `spec` says, random and the same each time, in one stream."""

    in_memory = True

    def __init__(self, spec: DataSpec, count: int) -> None:
        super().__init__(Config())
        self._spec = spec
        generator = torch.Generator().manual_seed(0)
        self._rows = {name: kind_of(key).made_up(key, count, generator) for name, key in spec.keys.items()}
        self._count = count

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: Any) -> Batch:
        return {name: rows[indices] for name, rows in self._rows.items()}


__all__ = ["MadeUp"]
