"""Networks of StarGAN (Choi et al. 2018, appendix, tables 4 and 5).

Legend: N batch, C x H x W image, c channels of the domain.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gankit.errors import UsageError
from gankit.nn import ConcatConv2d, ConcatSequential, Conv2d, InstanceNormAct2d, LeakyReLU
from gankit.options.spelling import give
from gankit_plugin_stargan.domains import Domain
from gankit_plugin_stargan.variant import StarGANConfig

__all__ = ["Discriminator", "Generator", "MaskGenerator", "build"]

SLOPE = 0.01


def build(config: StarGANConfig, shape: tuple[int, int, int], domain: Domain) -> dict[str, nn.Module]:
    """Generator and discriminator for images of `shape` (C, H, W). :class:`UsageError` if there are none for that."""
    channels, height, width = shape
    if height % 4 or width % 4 or min(height, width) < 8:
        raise UsageError(
            f"stargan takes sides that 4 divides, from 8 on; the images are {width}x{height}. "
            f"Choose another size ({give('data.size', 64)})."
        )
    if not min(height, width) >> config.d_layers:
        raise UsageError(
            f"d_layers = {config.d_layers}: nothing is left of {width}x{height} pixels. "
            f"Choose fewer ({give('d_layers', min(height, width).bit_length() - 1)})."
        )
    left = height >> config.d_layers, width >> config.d_layers
    projection = config.told_by == "projection"
    return {
        "generator": (MaskGenerator if config.mask else Generator)(channels, domain, config.g_width, config.blocks),
        "discriminator": Discriminator(channels, domain.number, config.d_width, config.d_layers, left, projection),
    }


class Generator(nn.Module):
    """(N, C, H, W) images and labels of `domain`, (N,) or (N, c), to (N, C, H, W) in [-1, 1]; 4 divides H and W.

    7x7, two halvings, residual blocks, two doublings, 7x7, zeros at the borders, affine instance norm: with the paper's
    width of 64 and 6 blocks 8,430,528 parameters for 3 channels and c = 5.
    """

    def __init__(self, channels: int, domain: Domain, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        self.domain = domain
        layers = _normed(ConcatConv2d(channels, domain.number, width, 7, 3, bias=False))
        for wide in (width, 2 * width):
            layers += _normed(nn.Conv2d(wide, 2 * wide, 4, 2, 1, bias=False))
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        for wide in (4 * width, 2 * width):
            layers += _normed(nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False))
        self.layers = ConcatSequential(*layers, nn.Conv2d(width, channels, 7, 1, 3, bias=False), nn.Tanh())

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        told = self.domain.planes(labels).to(images.dtype)
        return self.layers(images, told).to(images.dtype)


class MaskGenerator(nn.Module):
    """The same for changes of colour: says of each pixel its new colour, and how much of it is to be seen.

    What is not to be changed stays as it is (Pumarola et al. 2018, "GANimation", section 4.1). Which pixels are to be
    changed is decided at their own resolution: features go across at every size (Ronneberger et al. 2015), and
    the last two layers, 1x1, see the image itself and have no norm, so that a colour is the same in a large figure and
    in a small one.
    """

    def __init__(self, channels: int, domain: Domain, width: int = 16, blocks: int = 3) -> None:
        super().__init__()
        self.domain = domain
        self.whole = ConcatSequential(*_normed(ConcatConv2d(channels, domain.number, width, bias=False)))
        self.down = nn.Sequential(*_normed(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False)))
        self.inner = nn.Sequential(
            *_normed(nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False)),
            *(ResidualBlock(4 * width) for _ in range(blocks)),
            *_normed(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False)),
        )
        self.up = nn.Sequential(*_normed(nn.ConvTranspose2d(4 * width, width, 4, 2, 1, bias=False)))
        self.pixels = ConcatSequential(
            ConcatConv2d(2 * width + channels, domain.number, 2 * width, 1, 0, bias=False),
            LeakyReLU(0.2, 2 * width),
            nn.Conv2d(2 * width, channels + 1, 1),
        )

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        told = self.domain.planes(labels).to(images.dtype)
        whole = self.whole(images, told)
        half = self.down(whole)
        up = self.up(torch.cat([self.inner(half), half], 1))
        drawn = self.pixels(torch.cat([up, whole, images.to(up.dtype)], 1), told).to(images.dtype)
        return torch.lerp(images, drawn[:, :-1].tanh(), drawn[:, -1:].sigmoid())


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), 3x3 with zeros; the sum is part of the second norm's pass."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, 1, 1, bias=False) for _ in range(2))
        self.norm_relu = InstanceNormAct2d(channels, affine=True, negative_slope=0.0)
        self.norm_add = InstanceNormAct2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm_add(self.second(self.norm_relu(self.first(x))), residual=x)


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [layer, InstanceNormAct2d(layer.out_channels, affine=True, negative_slope=0.0)]


class Discriminator(nn.Module):
    """(N, C, H, W) images to a map of what seems real, (N, 1, h, w), and to logits of the domain, (N, c).

    4x4 convolutions that halve the sides, leaky ReLU 0.01, no norm: a gradient penalty is of each image alone. With the
    paper's width of 64 and 6 layers 44,762,048 parameters for 3x128x128 and c = 5. `left` is (h, w).

    With `projection` there are no logits of the domain: what seems real depends on it instead, patch by patch (Miyato
    and Koyama 2018, "cGANs with Projection Discriminator", equation 4, of maps).
    """

    def __init__(
        self,
        channels: int,
        domain: int,
        width: int = 64,
        layers: int = 6,
        left: tuple[int, int] = (2, 2),
        projection: bool = False,
    ) -> None:
        super().__init__()
        made: list[nn.Module] = []
        inner = channels
        for wide in (width << i for i in range(layers)):
            # nothing else keeps the scale through layers without norms (He et al. 2015)
            made += [he_normal(Conv2d(inner, wide, 4, 2, 1)), LeakyReLU(SLOPE, wide)]
            inner = wide
        self.layers = nn.Sequential(*made)
        self.source = Conv2d(inner, 1, 3, 1, 1)
        self.domain = Conv2d(inner, domain, 3, 1, 1) if projection else Conv2d(inner, domain, left)
        self.projection = projection

    def forward(self, images: Tensor, told: Tensor) -> tuple[Tensor, Tensor | None]:
        """`told`, float (N, c): the domain that the images are said to be of. No logits with `projection`."""
        features = self.layers(images)
        source = self.source(features)
        if not self.projection:
            return source, self.domain(features).flatten(1)
        return source + (self.domain(features) * told[:, :, None, None]).sum(1, keepdim=True), None

    def real(self, images: Tensor, told: Tensor) -> Tensor:
        """The map of what seems real alone."""
        return self.source(self.layers(images)) if not self.projection else self(images, told)[0]


def he_normal(layer: Conv2d) -> Conv2d:
    nn.init.kaiming_normal_(layer.weight, SLOPE)
    return layer
