"""Networks of the class-conditional GAN. Legend: N batch, K classes, C x H x W image."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.errors import UsageError
from gankit.nn import LeakyReLU, UpsampleConv2d
from gankit.options.spelling import give
from gankit.plugin import DataSpec
from gankit_plugin_cgan.variant import CGANConfig


def build(config: CGANConfig, spec: DataSpec) -> dict[str, nn.Module]:
    """Generator and discriminator for the images and labels of `spec`.

    Raises:
        UsageError: the convolutional networks cannot make images of that size.
    """
    shape, classes = spec.image_shape, spec.classes(spec.class_key(config.class_key))
    made: dict[str, nn.Module]
    if config.network == "conv":
        made = {
            "generator": ConvGenerator(config.z, classes, config.hidden, shape),
            "discriminator": ConvDiscriminator(classes, config.hidden, shape),
        }
    else:
        made = {
            "generator": MLPGenerator(config.z, classes, config.hidden, shape, config.label_scale),
            "discriminator": MLPDiscriminator(classes, config.hidden, shape, config.label_scale),
        }
    for network in made.values():
        network.apply(_xavier)
    return made


class MLPGenerator(nn.Module):
    """(N, z) noise and (N,) labels to (N, C, H, W) images in [-1, 1], through one hidden layer."""

    def __init__(self, z: int, classes: int, hidden: int, shape: tuple[int, int, int], label_scale: float) -> None:
        super().__init__()
        self.classes, self.shape, self.label_scale = classes, shape, label_scale
        self.layers = nn.Sequential(
            nn.Linear(z + classes, hidden), nn.ReLU(), nn.Linear(hidden, math.prod(shape)), nn.Tanh()
        )

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        told = self.label_scale * F.one_hot(label, self.classes).to(z.dtype)
        return self.layers(torch.cat([z, told], 1)).view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """(N, C, H, W) images and (N,) labels to (N, 1) logits, through one hidden layer."""

    def __init__(self, classes: int, hidden: int, shape: tuple[int, int, int], label_scale: float) -> None:
        super().__init__()
        self.classes, self.label_scale = classes, label_scale
        self.layers = nn.Sequential(nn.Linear(math.prod(shape) + classes, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        flat = image.flatten(1)
        told = self.label_scale * F.one_hot(label, self.classes).to(flat.dtype)
        return self.layers(torch.cat([flat, told], 1))


class ConvGenerator(nn.Module):
    """(N, z) noise and (N,) labels to (N, C, H, W) images in [-1, 1]: each doubling halves the channels."""

    def __init__(self, z: int, classes: int, width: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width_px = shape
        doublings = _doublings(height, width_px)
        widths = [max(8, width >> i) for i in range(doublings + 1)]
        self.classes = classes
        self.start = (widths[0], height >> doublings, width_px >> doublings)
        self.enter = nn.Linear(z + classes, math.prod(self.start))
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for inner, outer in pairwise(widths):
            layers += [UpsampleConv2d(inner, outer, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        told = F.one_hot(label, self.classes).to(z.dtype)
        start = self.enter(torch.cat([z, 3 * told], 1))  # at 1, noise ten times as long would drown the label
        return self.layers(start.view(-1, *self.start))


class ConvDiscriminator(nn.Module):
    """(N, C, H, W) images and (N,) labels to (N, 1) logits. The label enters by projection (Miyato and Koyama 2018)."""

    def __init__(self, classes: int, width: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width_px = shape
        halvings = _doublings(height, width_px)
        widths = [channels, *(max(8, width >> i) for i in reversed(range(halvings)))]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [nn.Conv2d(inner, outer, 4, stride=2, padding=1, bias=False), LeakyReLU(0.2, channels=outer)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        features = widths[-1] * (height >> halvings) * (width_px >> halvings)
        self.score = nn.Linear(features, 1)
        self.embed = nn.Embedding(classes, features)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        seen = self.layers(image)
        return self.score(seen) + (self.embed(label) * seen).sum(1, keepdim=True)


def _doublings(height: int, width: int) -> int:
    """How often both sides can be halved until one is less than 8: 3 for 32x32, 2 for 28x28."""
    count = 0
    while min(height, width) >> count >= 8:
        count += 1
    if count == 0 or height % (1 << count) or width % (1 << count):
        raise UsageError(
            f"network 'conv' needs sides of at least 8 that are divisible by {1 << max(count, 1)}; the images are "
            f"{width}x{height}. Choose another size ({give('data.size', 32)}), or {give('network', 'mlp')}."
        )
    return count


def _xavier(module: nn.Module) -> None:
    """Glorot and Bengio 2010, uniform; biases zero."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, 0.0, 0.02)
