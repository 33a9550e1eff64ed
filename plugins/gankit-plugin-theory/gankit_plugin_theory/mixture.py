"""A mixture of Gaussians in closed form, and which of its components are among other numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gankit.nn import State

REACH = 3.0
"""Standard deviations from a component's mean within which a number belongs to it."""
SHARE = 0.25
"""Part of its share of the numbers from which on a component counts as covered."""


@dataclass(frozen=True)
class Mixture:
    """Weights, means and standard deviations of the components, float64 (K,) each, on the CPU."""

    weights: Tensor
    means: Tensor
    deviations: Tensor

    @classmethod
    def of(cls, x: Tensor, component: Tensor) -> Mixture:
        """The mixture that `x` (N, 1) was drawn from, each number from the Gaussian that `component`, int64 (N,), says.

        Knowing those, its parameters are the moments of each part.
        """
        x, component = x.flatten().double().cpu(), component.cpu()
        parts = [x[component == k] for k in component.unique()]
        return cls(
            torch.tensor([len(part) / len(x) for part in parts], dtype=torch.float64),
            torch.stack([part.mean() for part in parts]),
            torch.stack([part.std(correction=0).clamp_min(1e-6) for part in parts]),
        )

    @classmethod
    def kept(cls, state: State) -> Mixture:
        """The mixture whose parameters :meth:`state` keeps."""
        return cls(*(values.double().cpu() for values in (state.weights, state.means, state.deviations)))

    def state(self) -> State:
        """Its parameters, to be saved beside networks."""
        values = {"weights": self.weights, "means": self.means, "deviations": self.deviations}
        return State(**{name: value.float() for name, value in values.items()})

    def borders(self, bins: int) -> Tensor:
        """Borders of `bins` equal parts of the line, four deviations around each mean: float64 (bins + 1,)."""
        low = float((self.means - 4 * self.deviations).min())
        high = float((self.means + 4 * self.deviations).max())
        return torch.linspace(low, high, bins + 1, dtype=torch.float64)

    def mass(self, borders: Tensor) -> Tensor:
        """Probability of each part of the line, float64 (bins,). What lies outside counts for the outer parts."""
        scaled = (borders[:, None] - self.means) / (math.sqrt(2) * self.deviations)
        below = (0.5 * (1 + scaled.erf()) * self.weights).sum(1)
        below[0], below[-1] = 0.0, 1.0
        return below.diff()

    def covered(self, x: Tensor) -> int:
        """How many components have a quarter of their share of the numbers `x` (N, 1), or more.

        A number belongs to the component whose mean is nearest in its deviations, and to none beyond three of them.
        """
        distance = (x.flatten().double().cpu()[:, None] - self.means).abs() / self.deviations
        nearest, component = distance.min(1)
        count = component[nearest <= REACH].bincount(minlength=len(self.means))
        return int((count >= SHARE * self.weights * len(x)).sum())
