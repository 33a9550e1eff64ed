"""Networks of R3GAN (Huang et al. 2024, section 4, configuration E).

Legend: N batch, C x H x W image, E channels of the embedding of a class. A stage works at one size; the first of the
generator and the last of the discriminator at the smallest one, where a learned basis stands for a dense layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.errors import UsageError
from gankit.nn import Conv2d, LeakyReLU
from gankit.options.spelling import give
from gankit.plugin import DataSpec
from gankit_plugin_r3gan.config import R3GANConfig
from gankit_plugin_r3gan.resample import double, halve

SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""What keeps the variance through a leaky ReLU (He et al. 2015)."""
EXPANSION = 2
"""Channels inside a block, as a multiple of those outside."""


def build(config: R3GANConfig, spec: DataSpec, text: int = 0) -> dict[str, nn.Module]:
    """Generator and discriminator; `text`: length of a caption's embedding, if they are told captions.

    :class:`UsageError` if the widths do not fit the images of `spec`.
    """
    channels, height, width = spec.image_shape
    widths = config.widths or default_widths(config.width, height, width)
    halvings = len(widths) - 1
    base = height >> halvings, width >> halvings
    if (base[0] << halvings, base[1] << halvings) != (height, width) or min(base) < 2:
        why = f"{len(widths)} stages need sides that {2**halvings} divides, the images are {width}x{height}"
        raise UsageError(f"r3gan: {why}. Choose another size ({give('data.size', 2 ** max(5, halvings + 2))})")
    if odd := [w for w in widths if w * EXPANSION % config.group]:
        raise UsageError(
            f"r3gan: {odd[0]} channels are {odd[0] * EXPANSION} inside a block, which groups of {config.group} do not "
            f"divide: choose widths that are multiples of {config.group // math.gcd(config.group, EXPANSION)}"
        )
    told: Callable[[float], nn.Module] | None = None
    if text:
        told = partial(projection, text, config.z)
    elif config.conditional:
        told = partial(table, spec.classes(spec.class_key(config.class_key)), config.z)
    embedding = config.z if told else 0
    blocks = Blocks(config.blocks, config.group, len(widths))
    return {
        "generator": Generator(config.z, widths, base, channels, blocks, told, embedding),
        "discriminator": Discriminator(widths[::-1], base, channels, blocks, told, embedding, config.san),
    }


def default_widths(width: int, height: int, wide: int) -> tuple[int, ...]:
    """Channels from the smallest stage on: `width` next to the image, twice as many a halving, up to four times.

    The sides are halved to 4, or to the first that is odd or below 8.
    """
    halvings = 0
    while height % 2 == wide % 2 == 0 and min(height, wide) >= 8:
        height, wide, halvings = height // 2, wide // 2, halvings + 1
    return tuple(width * min(2**level, 4) for level in range(halvings, -1, -1))


class Blocks:
    """Makes the residual blocks of a network: `number` a stage, in groups of `group` channels, over `stages` stages."""

    def __init__(self, number: int, group: int, stages: int) -> None:
        self.number, self.group = number, group
        # each of a block's two first layers is scaled down so that the sum over all blocks keeps its variance (Fixup)
        self.gain = GAIN * (number * stages) ** -0.25

    def stage(self, width: int) -> list[nn.Module]:
        return [Block(width, self.group, self.gain) for _ in range(self.number)]


class Block(nn.Module):
    """x + a 1x1, a grouped 3x3 and a 1x1 convolution, with bias and leaky ReLU in between; at first x itself."""

    def __init__(self, width: int, group: int, gain: float) -> None:
        super().__init__()
        inside = width * EXPANSION
        self.layers = nn.Sequential(
            *(drawn(Conv2d(width, inside, 1), gain), LeakyReLU(SLOPE, inside)),
            *(drawn(Conv2d(inside, inside, 3, padding=1, groups=inside // group), gain), LeakyReLU(SLOPE, inside)),
            drawn(Conv2d(inside, width, 1), 0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Generator(nn.Module):
    """(N, z) noise to (N, C, H, W) images, near [-1, 1] but not bound to it.

    `told` makes what embeds what is to be drawn, from a gain: (N,) labels, or (N, size) embeddings of captions.
    """

    def __init__(
        self,
        z: int,
        widths: tuple[int, ...],
        base: tuple[int, int],
        channels: int,
        blocks: Blocks,
        told: Callable[[float], nn.Module] | None,
        embedding: int,
    ) -> None:
        super().__init__()
        self.embedding = told(1.0) if told else None
        self.basis = nn.Parameter(torch.randn(widths[0], *base))
        self.enter = drawn(nn.Linear(z + embedding, widths[0], bias=False))
        layers = blocks.stage(widths[0])
        for wide, narrow in pairwise(widths):
            layers += [drawn(Conv2d(wide, narrow, 1))] if wide != narrow else []
            layers += [Double(), *blocks.stage(narrow)]
        self.layers = nn.Sequential(*layers, drawn(Conv2d(widths[-1], channels, 1)))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], 1)
        return self.layers(self.enter(z)[:, :, None, None] * self.basis)


class Discriminator(nn.Module):
    """(N, C, H, W) images, and what they are told to show if there is `told`, to (N,) logits.

    Then the features are projected on the embedding of the label or caption (Miyato and Koyama 2018). With `san` the
    last layer is a direction of length 1 and a scale: :meth:`score` trains the features and the scale,
    :meth:`direction` the direction alone (Takida et al. 2024, "SAN: Inducing Metrizability of GAN with Discriminative
    Normalized Linear Layer", section 5).
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        base: tuple[int, int],
        channels: int,
        blocks: Blocks,
        told: Callable[[float], nn.Module] | None,
        embedding: int,
        san: bool,
    ) -> None:
        super().__init__()
        last = widths[-1]
        layers: list[nn.Module] = [drawn(Conv2d(channels, widths[0], 1))]
        for narrow, wide in pairwise(widths):
            layers += [*blocks.stage(narrow), Halve()]
            layers += [drawn(Conv2d(narrow, wide, 1))] if narrow != wide else []
        self.layers = nn.Sequential(*layers, *blocks.stage(last))
        self.basis = nn.Parameter(torch.randn(last, *base) / math.sqrt(math.prod(base)))
        self.leave = drawn(nn.Linear(last, embedding, bias=False)) if told else nn.Identity()
        self.head = told(embedding**-0.5) if told else drawn(nn.Linear(last, 1, bias=False))
        if san:
            self.scale = nn.Parameter(self.head.weight.detach().norm(dim=1).mean())
        else:
            self.register_parameter("scale", None)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.score(self.features(images), labels)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer gets, (N, E) or (N, widths[-1])."""
        return self.leave((self.layers(images) * self.basis).sum((2, 3)))

    def score(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N,), float32."""
        # few numbers, whose differences are what is learned from: not in 16 bits
        with torch.autocast(features.device.type, enabled=False):
            weight = self._weight(labels)
            if self.scale is None:
                return (features.float() * weight).sum(1)
            return (features.float() * weight.detach()).sum(1) * self.scale

    def direction(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """With `san`, the same numbers (N,) as a function of the direction alone."""
        assert self.scale is not None
        with torch.autocast(features.device.type, enabled=False):
            return (features.detach().float() * self._weight(labels)).sum(1) * self.scale.detach()

    def _weight(self, labels: Tensor | None) -> Tensor:
        """The last layer's weights, (N, E) or (1, E)."""
        weight = self.head.weight if labels is None else self.head(labels)
        return weight if self.scale is None else F.normalize(weight, dim=1)


LayerT = TypeVar("LayerT", nn.Conv2d, nn.Linear)


class Double(nn.Module):
    """(N, C, H, W) to (N, C, 2 H, 2 W)."""

    def forward(self, x: Tensor) -> Tensor:
        return double(x)


class Halve(nn.Module):
    """(N, C, 2 H, 2 W) to (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return halve(x)


def drawn(layer: LayerT, gain: float = 1.0) -> LayerT:
    """`layer` with weights from N(0, gain^2 / inputs); a gain of 0 sets them to 0."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    return layer


def table(classes: int, embedding: int, gain: float) -> nn.Embedding:
    """An embedding of classes, drawn as a linear layer of their one-hot codes is."""
    layer = nn.Embedding(classes, embedding)
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(classes))
    return layer


def projection(size: int, embedding: int, gain: float) -> nn.Linear:
    """From embeddings of captions, of norm sqrt(size), drawn so that numbers are of the size of `gain`."""
    return drawn(nn.Linear(size, embedding, bias=False), gain)
