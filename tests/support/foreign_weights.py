"""Weights as other programs write them: networks drawn so that their outputs say something, and their files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


def drawn(network: nn.Module, variance: tuple[float, float] = (0.2, 0.6)) -> nn.Module:
    """`network` in eval mode, all of it at random: norms' scales and averages too.

    With averages of that `variance` values keep their size through many layers: neither nothing nor rounding is left.
    """
    for parameter in network.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(*variance)
        elif name.endswith("running_mean"):
            buffer.normal_(0, 0.05)
    return network.eval()


def saved(folder: Path, pattern: str, **networks: nn.Module) -> list[Path]:
    """The state of each network in a file of its own, named by `pattern`."""
    paths = [folder / pattern.format(name) for name in networks]
    for path, network in zip(paths, networks.values(), strict=True):
        torch.save(network.state_dict(), path)
    return paths
