"""The one kind of network of this plugin."""

from __future__ import annotations

from torch import Tensor, nn


class Perceptron(nn.Module):
    """(N, 1) to (N, 1) through two hidden layers."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(1, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
