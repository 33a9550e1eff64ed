"""What looks at patches: places of a map, and a perceptron for each map (Park et al. 2020, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PatchHeads", "at_places", "draw_places"]


class PatchHeads(nn.Module):
    """A perceptron of two layers for each map: (N, P, channels) each to features of length 1, float32 (N, P, width).

    Args:
        channels: of the maps, in their order.
        width: of the features, and of the layer before.
    """

    def __init__(self, channels: Sequence[int], width: int = 256) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(wide, width), nn.ReLU(), nn.Linear(width, width)) for wide in channels
        )

    def forward(self, patches: Sequence[Tensor]) -> list[Tensor]:
        return [F.normalize(head(one).float(), dim=-1) for head, one in zip(self.heads, patches, strict=True)]


def draw_places(maps: Sequence[Tensor], most: int, generator: torch.Generator) -> list[Tensor]:
    """Up to `most` different places of each of `maps` (N, C, H, W), int64 (P,), the same for all N images."""
    sizes = [one.shape[2] * one.shape[3] for one in maps]
    return [torch.randperm(size, generator=generator, device=generator.device)[:most] for size in sizes]


def at_places(maps: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
    """What stands in each of `maps` (N, C, H, W) at its `places`: (N, P, C)."""
    return [one.flatten(2).index_select(2, place).transpose(1, 2) for one, place in zip(maps, places, strict=True)]
