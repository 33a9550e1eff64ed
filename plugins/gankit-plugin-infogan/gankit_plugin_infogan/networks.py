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
from gankit_plugin_infogan.config import InfoGANConfig


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
        "generator": Generator(config, spec.image_shape),
        "discriminator": Discriminator(config, spec.image_shape),
        "reader": Reader(config),
    }


class Generator(nn.Module):
    """(N, z + L) noise and continuous codes and (N,) categorical codes to (N, C, H, W) images in [-1, 1]."""

    def __init__(self, config: InfoGANConfig, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, wide = shape
        width, hidden = config.width, config.hidden
        self.classes = config.classes
        self.start = (2 * width, height // 4, wide // 4)
        flat = math.prod(self.start)
        codes = config.z + len(config.continuous) + config.classes
        self.enter = nn.Sequential(
            *(nn.Linear(codes, hidden), nn.BatchNorm1d(hidden), nn.ReLU()),
            *(nn.Linear(hidden, flat), nn.BatchNorm1d(flat), nn.ReLU()),
        )
        self.layers = nn.Sequential(
            *(nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.ConvTranspose2d(width, channels, 4, 2, 1), nn.Tanh()),
        )

    def forward(self, codes: Tensor, code: Tensor) -> Tensor:
        told = torch.cat([codes, F.one_hot(code, self.classes).to(codes.dtype)], 1)
        return self.layers(self.enter(told).view(-1, *self.start))


class Discriminator(nn.Module):
    """(N, C, H, W) images to (N, hidden) features, and those to (N, 1) logits."""

    def __init__(self, config: InfoGANConfig, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, wide = shape
        width, hidden = config.width, config.hidden
        flat = 2 * width * (height // 4) * (wide // 4)
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, width, 4, 2, 1), LeakyReLU(0.1)),
            *(nn.Conv2d(width, 2 * width, 4, 2, 1), nn.BatchNorm2d(2 * width), LeakyReLU(0.1)),
            *(nn.Flatten(), nn.Linear(flat, hidden), nn.BatchNorm1d(hidden), LeakyReLU(0.1)),
        )
        self.head = nn.Linear(hidden, 1)

    def features(self, images: Tensor) -> Tensor:
        return self.body(images)

    def score(self, features: Tensor) -> Tensor:
        return self.head(features)


class Reader(nn.Module):
    """(N, hidden) features to logits (N, K) of the categorical code, and of the continuous ones means and the
    logarithms of standard deviations, (N, L) each."""

    def __init__(self, config: InfoGANConfig) -> None:
        super().__init__()
        continuous = len(config.continuous)
        self.body = nn.Sequential(nn.Linear(config.hidden, 128), nn.BatchNorm1d(128), LeakyReLU(0.1))
        self.head = nn.Linear(128, config.classes + 2 * continuous)
        self.sizes = (config.classes, continuous, continuous)
        self.finer = nn.Linear(config.hidden, config.finer_classes) if config.finer_classes else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, mean, log_deviation = self.head(self.body(features)).split(self.sizes, 1)
        return logits, mean, log_deviation
