"""Networks of InfoGAN. Legend: N batch, K values of the categorical code, L continuous codes, C x H x W image."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.errors import UsageError
from gankit.nn import LeakyReLU
from gankit.options.spelling import give
from gankit.plugin import DataSpec
from gankit_plugin_infogan.variant import InfoGANConfig

FEATURES = 256
"""Width of the layer that the discriminator and the reader of codes share last."""


def build(config: InfoGANConfig, spec: DataSpec) -> dict[str, nn.Module]:
    """Generator, discriminator, and the reader of codes on the discriminator's features.

    Raises:
        UsageError: the images' sides are no multiples of 4, or below 8.
    """
    _, height, width = spec.image_shape
    if height % 4 or width % 4 or min(height, width) < 8:
        raise UsageError(
            f"infogan draws images with sides that 4 divides, from 8 on; the data's are {width}x{height}. "
            f"Choose another size ({give('data.size', 32)})."
        )
    return {
        "generator": Generator(config.z + config.continuous, config.classes, config.width, spec.image_shape),
        "discriminator": Discriminator(config.width, spec.image_shape),
        "reader": Reader(config.classes, config.continuous),
    }


class Generator(nn.Module):
    """(N, z + L) noise and continuous codes and (N,) categorical codes to (N, C, H, W) images in [-1, 1]."""

    def __init__(self, z: int, classes: int, width: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, wide = shape
        self.classes = classes
        self.start = (4 * width, height // 4, wide // 4)
        self.enter = nn.Sequential(
            *(nn.Linear(z + classes, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU()),
            *(nn.Linear(512, math.prod(self.start), bias=False), nn.BatchNorm1d(math.prod(self.start)), nn.ReLU()),
        )
        self.layers = nn.Sequential(
            *(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()),
            *(nn.ConvTranspose2d(2 * width, channels, 4, 2, 1), nn.Tanh()),
        )

    def forward(self, codes: Tensor, code: Tensor) -> Tensor:
        told = torch.cat([codes, F.one_hot(code, self.classes).to(codes.dtype)], 1)
        return self.layers(self.enter(told).view(-1, *self.start))


class Discriminator(nn.Module):
    """(N, C, H, W) images to (N, 256) features, and those to (N, 1) logits."""

    def __init__(self, width: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, wide = shape
        flat = 2 * width * (height // 4) * (wide // 4)
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, width, 4, 2, 1), LeakyReLU(0.1)),
            *(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), LeakyReLU(0.1)),
            *(nn.Flatten(), nn.Linear(flat, FEATURES, bias=False), nn.BatchNorm1d(FEATURES), LeakyReLU(0.1)),
        )
        self.head = nn.Linear(FEATURES, 1)

    def features(self, images: Tensor) -> Tensor:
        return self.body(images)

    def score(self, features: Tensor) -> Tensor:
        return self.head(features)


class Reader(nn.Module):
    """(N, 256) features to logits (N, K) of the categorical code and means (N, L) of the continuous ones."""

    def __init__(self, classes: int, continuous: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, 128, bias=False), nn.BatchNorm1d(128), LeakyReLU(0.1))
        self.head = nn.Linear(128, classes + continuous)
        self.classes = classes

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        read = self.head(self.body(features))
        return read[:, : self.classes], read[:, self.classes :]
