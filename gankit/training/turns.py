"""The turns that make a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from gankit.device import Precision
from gankit.errors import PluginError
from gankit.plugin import Variant
from gankit.processes import ALONE, World
from gankit.training.turn import Turn


class Turns:
    """The turns of a variant's phases, in order. :class:`PluginError` if there are none, or two of one name."""

    def __init__(
        self,
        variant: Variant[Any],
        networks: Mapping[str, nn.Module],
        precision: Precision,
        device: torch.device,
        world: World = ALONE,
    ) -> None:
        self._turns: dict[str, Turn] = {}
        for phase in variant.phases():
            if phase.name in self._turns:
                raise PluginError(f"{type(variant).__name__} has two phases of the name {phase.name!r}")
            self._turns[phase.name] = Turn(phase, networks, precision, device, list(self._turns.values()), world)
        if not self._turns:
            raise PluginError(f"{type(variant).__name__} has no phases: there is nothing to train")

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns.values())

    def __getitem__(self, name: str) -> Turn:
        return self._turns[name]

    def state_dict(self) -> dict[str, Any]:
        """The optimisers' tensors, keyed ``phase/network.parameter/name``; ``scalers``: the loss scalers' states."""
        state: dict[str, Any] = {}
        scalers = {}
        for turn in self:
            own = turn.state_dict()
            if (scaler := own.pop("scaler", None)) is not None:
                scalers[turn.name] = scaler
            state |= {f"{turn.name}/{key}": value for key, value in own.items()}
        return {**state, "scalers": scalers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The reverse of :meth:`state_dict`. ValueError or KeyError if it is of other phases."""
        rest = dict(state)
        scalers = rest.pop("scalers")
        for turn in sorted(self, key=lambda turn: -len(turn.name)):  # "a/b" before "a": names may have slashes in them
            prefix = f"{turn.name}/"
            own = {key.removeprefix(prefix): rest.pop(key) for key in list(rest) if key.startswith(prefix)}
            if turn.name in scalers:
                own["scaler"] = scalers[turn.name]
            turn.load_state_dict(own)
        if rest:
            raise ValueError(f"{next(iter(rest))!r} is of no phase")


__all__ = ["Turns"]
