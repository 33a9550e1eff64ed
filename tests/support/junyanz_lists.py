"""Layer lists of pytorch-CycleGAN-and-pix2pix in plain torch, written anew, with the names that its weights have."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def norm_of(kind: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels)


class Residual(nn.Module):
    def __init__(self, width: int, dropout: bool = False) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(), *([nn.Dropout(0.5)] if dropout else []), *other)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class ResNet(nn.Module):
    def __init__(self, inputs: int = 3, outputs: int = 3, width: int = 4, blocks: int = 2, dropout: bool = False):
        super().__init__()
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
        for wide in (width, 2 * width):
            layers += [nn.Conv2d(wide, 2 * wide, 3, 2, 1), nn.InstanceNorm2d(2 * wide), nn.ReLU()]
        layers += [Residual(4 * width, dropout) for _ in range(blocks)]
        for wide in (4 * width, 2 * width):
            layers += [nn.ConvTranspose2d(wide, wide // 2, 3, 2, 1, 1), nn.InstanceNorm2d(wide // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Level(nn.Module):
    """Of a U-Net: a halving, the levels within, a doubling; beside it what came in."""

    def __init__(self, layers: list[nn.Module], outermost: bool = False) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)
        self.outermost = outermost

    def forward(self, x: Tensor) -> Tensor:
        made = self.model(x)  # which activates x in place
        return made if self.outermost else torch.cat([x, made], 1)


class UNet(nn.Module):
    """Without the dropout, which has no weights and is not the same twice; where it is makes no name another."""

    def __init__(self, inputs: int = 3, outputs: int = 3, width: int = 4, downs: int = 6, norm: str = "batch") -> None:
        super().__init__()
        bias = norm == "instance"
        wide = [width * min(2**k, 8) for k in range(downs)]

        def up(inner: int, outer: int) -> nn.Module:
            return nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias)

        def down(outer: int, inner: int) -> nn.Module:
            return nn.Conv2d(outer, inner, 4, 2, 1, bias=bias)

        def act() -> nn.Module:
            return nn.LeakyReLU(0.2, inplace=True)

        level = Level([act(), down(wide[-2], wide[-1]), nn.ReLU(True), up(wide[-1], wide[-2]), norm_of(norm, wide[-2])])
        for k in reversed(range(1, downs - 1)):
            outer, inner = wide[k - 1], wide[k]
            halving = [act(), down(outer, inner), norm_of(norm, inner)]
            level = Level([*halving, level, nn.ReLU(True), up(2 * inner, outer), norm_of(norm, outer)])
        last = nn.ConvTranspose2d(2 * width, outputs, 4, 2, 1)
        self.model = Level([down(inputs, width), level, nn.ReLU(True), last, nn.Tanh()], outermost=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Patch(nn.Module):
    def __init__(self, channels: int = 3, width: int = 4, layers: int = 3, norm: str = "instance") -> None:
        super().__init__()
        made: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        wide = width
        for i in range(1, layers + 1):
            inner, wide = wide, width * min(2**i, 8)
            conv = nn.Conv2d(inner, wide, 4, 2 if i < layers else 1, 1, bias=norm == "instance")
            made += [conv, norm_of(norm, wide), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*made, nn.Conv2d(wide, 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Pixel(nn.Module):
    def __init__(self, channels: int = 3, width: int = 4, norm: str = "instance") -> None:
        super().__init__()
        bias = norm == "instance"
        middle = [nn.Conv2d(width, 2 * width, 1, bias=bias), norm_of(norm, 2 * width), nn.LeakyReLU(0.2)]
        first = [nn.Conv2d(channels, width, 1), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*first, *middle, nn.Conv2d(2 * width, 1, 1, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
