"""Networks of the DCGAN, after the rules of Radford et al. 2016, "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks", section 3.

Strided convolutions in place of pooling and resizing; batch norm in every layer but the generator's last and the
discriminator's first; ReLU and at the end tanh in the generator, leaky ReLU of slope 0.2 in the discriminator; no fully
connected hidden layers; weights from N(0, 0.02).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from gankit.errors import UsageError
from gankit.nn import LeakyReLU
from gankit.nn.init import init_normal
from gankit.options.spelling import give
from gankit.plugin import DataSpec
from gankit_plugin_dcgan.variant import DCGANConfig

_WIDEST = 8
"""The widest layer has this many times the channels of the narrowest."""


def build(config: DCGANConfig, spec: DataSpec) -> dict[str, nn.Module]:
    """Generator and discriminator for the images of `spec`."""
    channels, height, width = spec.image_shape
    if height != width:
        raise UsageError(f"dcgan draws square images, and the dataset's are {height} x {width}")
    base, doublings = split_size(height)
    shape = (channels, base, doublings)
    generator = Generator(
        config.z, shape, config.g_width, config.kernel, bias=config.bias, last_norm=config.g_last_norm
    )
    discriminator = Discriminator(shape, config.d_width, config.kernel, bias=config.bias)
    return {"generator": init_normal(generator), "discriminator": init_normal(discriminator)}


def split_size(size: int) -> tuple[int, int]:
    """`size` as (base, doublings), size = base * 2^doublings, with base 4 if possible, else 3, 5 or 7.

    8 -> (4, 1), 48 -> (3, 4), 64 -> (4, 4). Any other size is a :class:`UsageError`.
    """

    def split(size: int) -> tuple[int, int]:
        doublings = 0
        while size % 2 == 0 and size > 4:
            size, doublings = size // 2, doublings + 1
        return size, doublings

    def possible(size: int) -> bool:
        base, doublings = split(size)
        return size >= 8 and base in (3, 4, 5, 7) and doublings > 0

    if not possible(size):
        nearest = min((other for other in range(8, 2 * size + 9) if possible(other)), key=lambda n: abs(n - size))
        raise UsageError(
            f"dcgan cannot draw {size} x {size} images: the side must be 3, 4, 5 or 7 times a power of two, "
            f"at least 8; {give('data.size', nearest)} is the nearest"
        )
    return split(size)


def _widths(width: int, doublings: int) -> list[int]:
    """Channels of the layers, from the one next to the image inwards: 64, 128, 256, 512, 512, ..."""
    return [width * min(2**level, _WIDEST) for level in range(doublings)]


def _up(inputs: int, outputs: int, kernel: int, bias: bool) -> nn.ConvTranspose2d:
    """Doubles height and width exactly, with a kernel of 4 as with one of 5."""
    return nn.ConvTranspose2d(inputs, outputs, kernel, 2, (kernel - 1) // 2, output_padding=kernel % 2, bias=bias)


def _down(inputs: int, outputs: int, kernel: int, bias: bool) -> nn.Conv2d:
    """Halves height and width."""
    return nn.Conv2d(inputs, outputs, kernel, 2, (kernel - 1) // 2, bias=bias)


class _MapBias(nn.Module):
    """A bias for every value of maps (N, C, H, W), as a linear layer has that they are the reshaped output of."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, side, side))

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.bias


class Generator(nn.Module):
    """(N, z) noise to (N, C, S, S) images in [-1, 1]; `shape` is (C, base, doublings) with S = base * 2^doublings."""

    def __init__(
        self, z: int, shape: tuple[int, int, int], width: int, kernel: int, *, bias: bool, last_norm: bool
    ) -> None:
        super().__init__()
        channels, base, doublings = shape
        widths = _widths(width, doublings)[::-1]
        layers: list[nn.Module] = [nn.ConvTranspose2d(z, widths[0], base, bias=False)]
        if bias:
            layers.append(_MapBias(widths[0], base))
        for wide, narrow in pairwise(widths):
            layers += [nn.BatchNorm2d(wide), nn.ReLU(True), _up(wide, narrow, kernel, bias)]
        last = [nn.BatchNorm2d(width)] if last_norm else []
        self.layers = nn.Sequential(*layers, *last, nn.ReLU(True), _up(width, channels, kernel, bias), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z[:, :, None, None])


class Discriminator(nn.Module):
    """(N, C, S, S) images to (N,) logits; `shape` is (C, base, doublings) with S = base * 2^doublings."""

    def __init__(self, shape: tuple[int, int, int], width: int, kernel: int, *, bias: bool) -> None:
        super().__init__()
        channels, base, doublings = shape
        widths = _widths(width, doublings)
        # The first layer has no norm; its bias, if any, is added by the activation, in the same pass.
        layers: list[nn.Module] = [_down(channels, width, kernel, False), LeakyReLU(0.2, width if bias else None)]
        for narrow, wide in pairwise(widths):
            layers += [_down(narrow, wide, kernel, bias), nn.BatchNorm2d(wide), LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, base, bias=bias))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten()
