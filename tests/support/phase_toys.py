"""Phases run by hand, for tests of turns."""

from __future__ import annotations

import torch
from torch import nn

from gankit.plugin import Optim, Phase
from gankit.training.step import TrainStep
from gankit.training.turn import Turn

CPU = torch.device("cpu")
SGD = Optim(kind="sgd", betas=(0.0, 0.0), lr=0.1)


def two_lines() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)}


class Toy:
    """Phases run by hand, over networks of their own; an input of ones."""

    def __init__(self, *phases: Phase, networks: dict[str, nn.Module] | None = None) -> None:
        self.networks = networks or two_lines()
        self.turns: list[Turn] = []
        for phase in phases:
            self.turns.append(Turn(phase, self.networks, "float32", CPU, self.turns))
        self.step = TrainStep(10, 2, CPU, self.networks, torch.Generator(), dict, None)

    def run(self, steps: int = 1) -> None:
        for index in range(steps):
            self.step.begin(index)
            for turn in self.turns:
                turn.schedule(index, 10)
                for _ in range(turn.repeats(index)):
                    turn.run([self.step])


def loss(name: str):
    return lambda step: {name: step.networks[name](torch.ones(2, 3)).square().sum()}
