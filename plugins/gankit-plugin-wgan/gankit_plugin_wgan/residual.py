"""Residual networks of the Wasserstein GAN with a gradient penalty (Gulrajani et al. 2017, appendix F).

Legend: N batch, C x H x W image, Z length of the noise, B side of the smallest maps, W channels.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from gankit.nn import UpsampleConv2d


class Up(nn.Module):
    """(N, W, H, W) to twice the sides: norm, ReLU, doubling, 3x3; norm, ReLU, 3x3; beside it doubling, 1x1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.BatchNorm2d(width), nn.ReLU(), drawn(UpsampleConv2d(width, width), 2)),
            *(nn.BatchNorm2d(width), nn.ReLU(), conv(width, width, 3, 2)),
        )
        # a 1x1 says the same of the doubled map, at four times the cost
        self.beside = nn.Sequential(conv(width, width, 1), nn.Upsample(scale_factor=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.beside(x) + self.layers(x)


class Down(nn.Module):
    """(N, C, H, W) through ReLU, 3x3, ReLU, 3x3 to `width` channels and, with `halve`, half the sides.

    `first`: of the images themselves, so without the first ReLU, and what stands beside is halved before its 1x1.
    """

    def __init__(self, channels: int, width: int, *, halve: bool, first: bool = False) -> None:
        super().__init__()
        pool = [nn.AvgPool2d(2)] if halve else []
        layers = [nn.ReLU(), conv(channels, width, 3, 2), nn.ReLU(), conv(width, width, 3, 2), *pool]
        self.layers = nn.Sequential(*layers[first:])
        beside: list[nn.Module] = [conv(channels, width, 1)] if halve else []
        self.beside = nn.Sequential(*(pool + beside if first else beside + pool))

    def forward(self, x: Tensor) -> Tensor:
        return self.beside(x) + self.layers(x)


class ResidualGenerator(nn.Module):
    """(N, Z) noise to (N, C, H, W) images in [-1, 1]."""

    def __init__(self, z: int, shape: tuple[int, int, int], width: int, halvings: int) -> None:
        super().__init__()
        channels, height, wide = shape
        start = (width, height >> halvings, wide >> halvings)
        self.layers = nn.Sequential(
            *(nn.Linear(z, math.prod(start)), nn.Unflatten(1, start)),
            *(Up(width) for _ in range(halvings)),
            *(nn.BatchNorm2d(width), nn.ReLU(), conv(width, channels, 3), nn.Tanh()),
        )

    def forward(self, noise: Tensor) -> Tensor:
        return self.layers(noise)


class ResidualCritic(nn.Module):
    """(N, C, H, W) images to (N, 1) scores of any size, without norms; maps are halved down to 2 B, then averaged."""

    def __init__(self, shape: tuple[int, int, int], width: int, halvings: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Down(shape[0], width, halve=True, first=True),
            *(Down(width, width, halve=True) for _ in range(halvings - 2)),
            *(Down(width, width, halve=False) for _ in range(2)),
            nn.ReLU(),
        )
        self.head = nn.Linear(width, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layers(images).mean((2, 3)))


def conv(inside: int, outside: int, kernel: int, gain: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps the size, :func:`drawn` with `gain`."""
    return drawn(nn.Conv2d(inside, outside, kernel, padding=kernel // 2), gain)


def drawn(layer: nn.Conv2d, gain: float) -> nn.Conv2d:
    """`layer` with weights drawn uniformly with a variance of 2 gain / (inputs + outputs), and without bias at first.

    A gain of 2 is for layers behind a ReLU (He et al. 2015), as in the authors' code.
    """
    bound = math.sqrt(3 * 2 * gain / ((layer.in_channels + layer.out_channels) * layer.kernel_size[0] ** 2))
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
