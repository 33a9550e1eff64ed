"""Trainings in 64 bits, where what differs by rounding alone differs by less than 1e-9."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gankit.check.simulated import together
from gankit.data.feed import Feed
from gankit.data.images import to_float
from gankit.options.resolve import Resolved
from gankit.plugin import Dataset, Variant
from gankit.processes import ALONE, World
from gankit.training.session import Session


@contextmanager
def in_double() -> Iterator[None]:
    """Within, everything that says float32, or nothing, is float64."""
    single, feed, defaults = torch.Tensor.float, Feed.__call__, to_float.__defaults__

    def wide(self: Feed) -> dict[str, Tensor]:
        return {key: value.double() if value.is_floating_point() else value for key, value in feed(self).items()}

    torch.set_default_dtype(torch.float64)
    torch.Tensor.float, Feed.__call__, to_float.__defaults__ = torch.Tensor.double, wide, (torch.float64,)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.Tensor.float, Feed.__call__, to_float.__defaults__ = single, feed, defaults


def trained(
    variant: type[Variant[Any]],
    data: Dataset[Any],
    resolved: Resolved,
    size: int,
    steps: int,
    start: dict[str, Tensor] | None = None,
    **run: Any,
) -> list[dict[str, Tensor]]:
    """What each of `size` processes has after `steps` steps: weights, averages, means of the losses, random state.

    `start`: weights to begin with, as :func:`prepared` gives them, where a variant prepares.
    """

    def work(world: World) -> dict[str, Tensor]:
        session = _session(variant, data, resolved, world, **run)
        torch.manual_seed(0)
        if start is None:
            session.begin()
        else:
            session.weights.load_state_dict(start)
            session._start_averages()
        for index in range(steps):
            session.train_step(index)
        session.meter.drain()
        found = dict(session.weights.state_dict())
        if session.ema is not None:
            found |= {f"ema/{key}": value for key, value in session.ema.state_dict().items() if key != "updates"}
        found |= {f"log/{key}": torch.tensor(value) for key, value in session.meter.means().items()}
        return found | {"random": torch.cat([session.generator.get_state(), torch.get_rng_state()])}

    return together(size, work)


def prepared(variant: type[Variant[Any]], data: Dataset[Any], resolved: Resolved) -> dict[str, Tensor]:
    """The weights before the first step, as a leader sends them to the others."""
    session = _session(variant, data, resolved, ALONE)
    session.begin()
    return {key: value.clone() for key, value in session.weights.state_dict().items()}


def _session(variant: type[Variant[Any]], data: Dataset[Any], resolved: Resolved, world: World, **run: Any) -> Session:
    options = resolved.run.model_copy(update={"workers": 0, "device": "cpu", "precision": "float32", **run})
    return Session(variant(resolved.options), data, replace(resolved, run=options), world)


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> tuple[float, str]:
    """The largest difference between two of those, and where it is."""
    assert one.keys() == other.keys()
    both = {key: (value.double(), other[key].double()) for key, value in one.items() if value.numel()}
    return max((float((a - b).nan_to_num().abs().max()), key) for key, (a, b) in both.items())
