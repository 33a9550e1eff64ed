"""The metrics of the variant's own, over held-out batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gankit.data.kinds import kind_of
from gankit.dataset import read
from gankit.device import derive_seed, make_generator
from gankit.errors import PluginError, UsageError
from gankit.evaluate.real import subset
from gankit.events import OnEvent, progress
from gankit.random_state import fork_rng
from gankit.sampling.draw import evaluating

if TYPE_CHECKING:
    from gankit.dataset import Batch, Dataset
    from gankit.plugin import Variant

LIMIT = 5000
"""Most samples that are measured."""


class HeldOut:
    """Batches of a split as in a step, on `device`, unmoved: always the same ones, in an order drawn once, so that a
    batch mixes what stands together in the data. Of several streams the shorter ones begin anew. May be gone through
    several times. :class:`UsageError` if one is empty."""

    def __init__(self, data: Dataset[Any], batch_size: int, device: torch.device, tell: OnEvent) -> None:
        self.data, self.device, self.tell = data, device, tell
        cpu = torch.device("cpu")
        orders = {}
        for stream, length in data.streams().items():
            if not length:
                raise UsageError(f"The {data.split} split has no {stream or 'samples'!r}: there is nothing to measure.")
            rows = subset(length, LIMIT)
            orders[stream] = rows[torch.randperm(len(rows), generator=make_generator(0, f"held-out {stream}", cpu))]
        longest = max(len(rows) for rows in orders.values())
        whole = {stream: rows.repeat(math.ceil(longest / len(rows)))[:longest] for stream, rows in orders.items()}
        starts = range(0, longest, batch_size)
        self._parts = [{name: rows[start : start + batch_size] for name, rows in whole.items()} for start in starts]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Batch]:
        spec = self.data.spec
        for part in progress(self._parts, "measuring held-out samples", self.tell):
            batch = read(self.data, part)
            yield {name: kind_of(spec[name]).to_step(value).to(self.device) for name, value in batch.items()}


@torch.no_grad()
def measure_own(
    variant: Variant[Any],
    networks: Mapping[str, nn.Module],
    data: Dataset[Any],
    *,
    batch_size: int,
    seed: int,
    device: torch.device,
    tell: OnEvent,
) -> dict[str, float]:
    """What ``variant.measure`` returns over `data`, checked. Leaves global random state and modes as they were.

    :class:`PluginError` if it returns other names than ``variant.metrics`` has, or something that is no number.
    """
    name = type(variant).__name__
    with evaluating(networks), fork_rng(device):
        torch.manual_seed(derive_seed(seed, "measure-global"))
        batches = HeldOut(data, batch_size, device, tell)
        values = variant.measure(networks, batches, make_generator(seed, "measure", device))
    if not isinstance(values, Mapping) or set(values) != set(variant.metrics):
        got = ", ".join(map(str, values)) if isinstance(values, Mapping) else f"a {type(values).__name__}"
        raise PluginError(
            f"measure() of {name} returned {got or 'nothing'}; `metrics` has {', '.join(variant.metrics)}"
        )
    figures = {}
    for key, value in values.items():
        try:
            figures[key] = float(value)
        except (TypeError, ValueError, RuntimeError):
            raise PluginError(f"measure() of {name} returned {key} = {value!r}, which is no number") from None
    return figures
