"""Networks of the Wasserstein GAN; those after DCGAN. Legend: N batch, C x H x W image, Z length of the noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gankit.errors import UsageError
from gankit.nn import LeakyReLU
from gankit.nn.init import init_normal
from gankit.options.spelling import give
from gankit.plugin import DataSpec
from gankit_plugin_wgan.residual import ResidualCritic, ResidualGenerator
from gankit_plugin_wgan.variant import WGANConfig


def build(config: WGANConfig, spec: DataSpec) -> dict[str, nn.Module]:
    """Generator and critic for the images of `spec`; with ``lipschitz clip`` the critic's weights are within bounds.

    Raises:
        UsageError: the sides cannot be halved down to 4 to 7 pixels.
    """
    shape, halvings = spec.image_shape, _halvings(spec)
    networks: dict[str, nn.Module]
    if config.network == "residual":
        networks = {
            "generator": ResidualGenerator(config.z, shape, config.g_width, halvings),
            "critic": ResidualCritic(shape, config.d_width, halvings),
        }
    else:
        networks = {
            "generator": init_normal(Generator(config.z, shape, config.g_width, halvings, config.bias)),
            "critic": Critic(shape, config.d_width, halvings, config.batch_norm, config.bias),
        }
    if config.lipschitz == "clip":
        with torch.no_grad():
            for parameter in init_normal(networks["critic"]).parameters():
                parameter.clamp_(-config.clip, config.clip)
    return networks


def _halvings(spec: DataSpec) -> int:
    """How often the sides are halved until the smaller is 4 to 7: three times of 32x32, twice of 28x28."""
    _, height, width = spec.image_shape
    halvings = 0
    while min(height, width) >> (halvings + 1) >= 4:
        halvings += 1
    if not halvings or height % 2**halvings or width % 2**halvings:
        raise UsageError(
            f"wgan halves the sides of its images down to 4 to 7 pixels; the data's are {width}x{height}. "
            f"Choose another size ({give('data.size', 32)})."
        )
    return halvings


class Generator(nn.Module):
    """(N, Z) noise to (N, C, H, W) images in [-1, 1]."""

    def __init__(self, z: int, shape: tuple[int, int, int], width: int, halvings: int, bias: bool) -> None:
        super().__init__()
        channels, height, wide = shape
        inner = width * 2 ** (halvings - 1)
        start = (inner, height >> halvings, wide >> halvings)
        layers: list[nn.Module] = [nn.Linear(z, inner * start[1] * start[2], bias=False), nn.Unflatten(1, start)]
        for _ in range(halvings - 1):
            layers += [nn.BatchNorm2d(inner), nn.ReLU(), nn.ConvTranspose2d(inner, inner // 2, 4, 2, 1, bias=False)]
            inner //= 2
        layers += [nn.BatchNorm2d(inner), nn.ReLU(), nn.ConvTranspose2d(inner, channels, 4, 2, 1, bias=bias), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, noise: Tensor) -> Tensor:
        return self.layers(noise)


class Critic(nn.Module):
    """(N, C, H, W) images to (N, 1) scores of any size: no squashing, and as a rule no norm."""

    def __init__(self, shape: tuple[int, int, int], width: int, halvings: int, batch_norm: bool, bias: bool) -> None:
        super().__init__()
        channels, height, wide = shape

        def activation() -> LeakyReLU:
            """Adds the bias, in the same pass."""
            return LeakyReLU(0.2, width if bias else None)

        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), activation()]
        for _ in range(halvings - 1):
            layers.append(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False))
            width *= 2
            layers += [nn.BatchNorm2d(width), LeakyReLU(0.2)] if batch_norm else [activation()]
        flat = width * (height >> halvings) * (wide >> halvings)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 1, bias=bias))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
