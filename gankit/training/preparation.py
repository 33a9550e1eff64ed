"""What a variant's `prepare` is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from gankit.plugin import Dataset, Preparation


class TrainPreparation(Preparation):
    """See :class:`~gankit.plugin.Preparation`."""

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        train: Dataset[Any],
        generator: torch.Generator,
        device: torch.device,
        report: Callable[[str], None],
    ) -> None:
        self.networks = networks
        self.train = train
        self.generator = generator
        self.device = device
        self._report = report

    def report(self, text: str) -> None:
        self._report(text)

    def loop(self, total: int, what: str, **state: Any) -> Iterator[int]:
        yield from range(total)
