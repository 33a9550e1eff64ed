"""What the networks of both forms are made of (Reed et al. 2016, "Learning What and Where to Draw")."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from gankit.errors import UsageError
from gankit.nn import ConcatConv2d, ConcatSequential, LeakyReLU, UpsampleConv2d
from gankit.options.spelling import give

__all__ = [
    "GRID",
    "Doubling",
    "Features",
    "Residual",
    "Seen",
    "conv",
    "double",
    "doublings",
    "judged",
    "start",
    "together",
    "upwards",
]

Features = tuple[Tensor, Tensor, Tensor | None]
"""What a discriminator sees of images: where things are placed, of the whole, and its logits of patches, if any."""
GRID = 16
"""Side of the maps in which things are placed."""
SLOPE = 0.2
Doubling = Literal["deconv", "resize"]
"""How maps become twice as large: as published, or enlarged and convolved."""
Edges = Literal["zeros", "replicate"]
EDGES: dict[Doubling, Edges] = {"deconv": "zeros", "resize": "replicate"}
"""What lies around a generator's maps, by how they are doubled: zeros, as published, or their edges repeated. Then what
is the same everywhere, as a ground of one colour, can stay so: zeros leave a frame around it."""


def doublings(size: int, width: int) -> int:
    """How often a map of :data:`GRID` is doubled to images of `size` x `width`; :class:`UsageError` if it cannot be."""
    count = (size // GRID).bit_length() - 1
    if size != width or count < 1 or GRID << count != size:
        raise UsageError(
            f"gawwn draws squares with a power of two to a side, from {2 * GRID} on, and the dataset's images are "
            f"{width}x{size}: choose another size ({give('data.size', 64)})"
        )
    return count


def conv(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 1,
    act: str = "relu",
    edges: Edges = "zeros",
    norm: bool = True,
) -> list[nn.Module]:
    """A convolution, batch norm if any and an activation: relu, leaky or none."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, padding_mode=edges)
    return [layer, *_normed(outputs, norm), *_act(act)]


def together(
    inputs: int, told: int, outputs: int | None = None, kernel: int = 3, padding: int = 1, norm: bool = True
) -> ConcatSequential:
    """A convolution of a map and of what is told everywhere, batch norm if any and leaky ReLU.

    `outputs` as `inputs` if unset.
    """
    outputs = outputs or inputs
    first = ConcatConv2d(inputs, told, outputs, kernel, padding)
    return ConcatSequential(first, *_normed(outputs, norm), *_act("leaky"))


def start(inputs: int, outputs: int, act: str = "relu") -> list[nn.Module]:
    """4x4 places from a single one, batch norm and an activation."""
    return [nn.ConvTranspose2d(inputs, outputs, 4), nn.BatchNorm2d(outputs), *_act(act)]


def double(inputs: int, outputs: int, how: Doubling, act: str = "relu") -> list[nn.Module]:
    """Twice the size, batch norm and an activation."""
    return [*_doubled(inputs, outputs, how), nn.BatchNorm2d(outputs), *_act(act)]


def _doubled(inputs: int, outputs: int, how: Doubling) -> list[nn.Module]:
    if how == "resize":
        return [UpsampleConv2d(inputs, outputs, padding_mode=EDGES[how])]
    return [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)]


def _normed(channels: int, norm: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if norm else []


def _act(name: str) -> list[nn.Module]:
    return {"relu": [nn.ReLU(inplace=True)], "leaky": [LeakyReLU(negative_slope=SLOPE)], "none": []}[name]


class Residual(nn.Module):
    """1x1, 3x3, 3x3 beside an identity, of which the first two are narrow."""

    def __init__(self, channels: int, narrow: int, edges: Edges) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv(channels, narrow, 1, 1, 0),
            *conv(narrow, narrow, edges=edges),
            *conv(narrow, channels, act="none", edges=edges),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def upwards(widths: Sequence[int], channels: int, how: Doubling) -> nn.Sequential:
    """Doublings from `widths`[0] channels through the others to an image in [-1, 1]."""
    layers = [layer for a, b in pairwise(widths) for layer in double(a, b, how)]
    return nn.Sequential(*layers, *_doubled(widths[-1], channels, how), nn.Tanh())


class Seen(nn.Sequential):
    """An image (N, channels, size, size) as features (N, 2 width, GRID, GRID)."""

    def __init__(self, channels: int, width: int, count: int, norm: bool) -> None:
        layers: list[nn.Module] = []
        for k in range(count - 1):
            layers += [nn.Conv2d(width if k else channels, width, 4, 2, 1), LeakyReLU(negative_slope=SLOPE)]
        layers += conv(width if count > 1 else channels, 2 * width, 4, 2, act="leaky", norm=norm)
        super().__init__(*layers, *conv(2 * width, 2 * width, act="leaky", norm=norm))


def judged(width: int, norm: bool) -> nn.Sequential:
    """What the region and the whole say, (N, 2 width), to one logit."""
    normed = [nn.BatchNorm1d(width)] if norm else []
    return nn.Sequential(nn.Linear(2 * width, width), *normed, *_act("leaky"), nn.Linear(width, 1))
