"""Networks of the GAN: perceptrons. Legend: N batch, C x H x W image."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from gankit.nn import LeakyReLU
from gankit.plugin import DataSpec
from gankit_plugin_gan.variant import GANConfig


def build(config: GANConfig, spec: DataSpec) -> dict[str, nn.Module]:
    """Generator, (N, z) to (N, C, H, W) in [-1, 1], and discriminator, (N, C, H, W) to (N, 1) logits.

    Weights start as Glorot and Bengio (2010) draw them, uniformly, biases at zero.
    """
    shape = spec.image_shape
    pixels = math.prod(shape)
    networks: dict[str, nn.Module] = {
        "generator": generator((config.z, *config.g_hidden, pixels), shape),
        "discriminator": discriminator((pixels, *config.d_hidden, 1), config.dropout),
    }
    for network in networks.values():
        for module in network.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
    return networks


def generator(widths: tuple[int, ...], shape: tuple[int, int, int]) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them, tanh, and the pixels put into their places."""
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Tanh(), nn.Unflatten(1, shape))


def discriminator(widths: tuple[int, ...], dropout: float) -> nn.Sequential:
    """Linear layers of these widths with leaky ReLU of slope 0.2, and dropout, between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inner, outer in pairwise(widths[:-1]):
        layers += [nn.Linear(inner, outer), LeakyReLU(0.2)]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
