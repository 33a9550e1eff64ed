"""Moving averages of networks (Karras et al. 2018, section 4; samples are drawn from them)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gankit.ops._torch import lerp_all_
from gankit.training.networks import Weights


class Ema:
    """Exponential moving average of some networks' parameters; buffers are copied.

    The decay warms up as ``min(decay, (1 + t) / (10 + t))`` over updates t, so that the random start is forgotten.
    Parameters shared between networks stay shared in the averages.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._sources = dict(networks)
        self.networks: dict[str, nn.Module] = copy.deepcopy(self._sources)
        for network in self.networks.values():
            network.eval().requires_grad_(False)
        self._from = _parameters(self._sources)
        self._to = _parameters(self.networks)

    @torch.no_grad()
    def update(self) -> None:
        """Moves the averages a step towards the networks."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        if self._to:  # a network of buffers alone may be averaged too
            lerp_all_(self._to, self._from, 1.0 - decay)
        self.updates += 1

    @torch.no_grad()
    def sync_buffers(self) -> None:
        """Copies the buffers. Only samples and checkpoints read them, so a step does not pay for it."""
        for name, network in self._sources.items():
            for target, source in zip(self.networks[name].buffers(), network.buffers(), strict=True):
                target.copy_(source)

    def state_dict(self) -> dict[str, Any]:
        """The averaged networks, keyed ``network.name``, and the number of updates."""
        self.sync_buffers()
        return {**Weights(self.networks).state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The reverse of :meth:`state_dict`. :class:`UsageError` or ValueError if it is of other networks."""
        Weights(self.networks).load_state_dict({k: v for k, v in state.items() if isinstance(v, Tensor)})
        updates = state["updates"]
        if not isinstance(updates, int) or updates < 0:
            raise ValueError(f"updates is {updates!r:.40}")
        self.updates = updates


def _parameters(networks: Mapping[str, nn.Module]) -> list[Tensor]:
    """Each parameter once, in a stable order."""
    unique = {id(p): p for network in networks.values() for p in network.parameters()}
    return [p.detach() for p in unique.values()]
