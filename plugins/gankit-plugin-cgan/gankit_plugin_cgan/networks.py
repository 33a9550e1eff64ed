"""Networks of the class-conditional GAN."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.plugin import DataSpec
from gankit_plugin_cgan.variant import CGANConfig


def build(config: CGANConfig, spec: DataSpec) -> dict[str, nn.Module]:
    """Generator and discriminator for the images and labels of `spec`."""
    shape, classes = spec.image_shape, spec.classes("label")
    return {
        "generator": MLPGenerator(config.z, classes, config.hidden, shape),
        "discriminator": MLPDiscriminator(classes, config.hidden, shape),
    }


def one_hot(label: Tensor, classes: int, like: Tensor) -> Tensor:
    """(N,) class indices as (N, classes), in the dtype of `like`."""
    return F.one_hot(label, classes).to(like.dtype)


class MLPGenerator(nn.Module):
    """(N, z) noise and (N,) labels to (N, *shape) images in [-1, 1], through one hidden layer."""

    def __init__(self, z: int, classes: int, hidden: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.classes, self.shape = classes, shape
        self.layers = nn.Sequential(
            nn.Linear(z + classes, hidden), nn.ReLU(), nn.Linear(hidden, math.prod(shape)), nn.Tanh()
        )

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return self.layers(torch.cat([z, one_hot(label, self.classes, z)], 1)).view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """(N, *shape) images and (N,) labels to (N, 1) logits, through one hidden layer."""

    def __init__(self, classes: int, hidden: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.classes = classes
        self.layers = nn.Sequential(nn.Linear(math.prod(shape) + classes, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        flat = image.flatten(1)
        return self.layers(torch.cat([flat, one_hot(label, self.classes, flat)], 1))
