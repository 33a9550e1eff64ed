"""Networks of the autoencoder. Legend: N batch, C x H x W image, K x h x w code."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.plugin import DataSpec
from gankit_plugin_vae.ae import AEConfig

MOMENTUM = 0.01
"""Weight of a batch in the moving moments of the codes, once a hundred batches are in them."""


def build(config: AEConfig, spec: DataSpec) -> dict[str, nn.Module]:
    """Encoder, decoder, and the Gaussian that describes the codes."""
    return {
        "encoder": Encoder(spec.image_shape[0], config.width, config.code, config.code_slope),
        "decoder": Decoder(spec.image_shape, config.width, config.code),
        "gaussian": Gaussian(code_shape(config, spec), negative=config.code_slope > 0),
    }


def code_shape(config: AEConfig, spec: DataSpec) -> tuple[int, int, int]:
    """(K, h, w) of the code of an image of `spec`: 8 x 2 x 2 of one of 28x28."""

    def side(pixels: int) -> int:
        for stride in (3, 2, 2, 2):
            pixels = math.ceil(pixels / stride)
        return pixels

    _, height, width = spec.image_shape
    return config.code, side(height), side(width)


class Encoder(nn.Module):
    """(N, C, H, W) images to (N, K, h, w) codes."""

    def __init__(self, channels: int, width: int, code: int, slope: float) -> None:
        super().__init__()
        # ceil_mode: a row or column that is left over is pooled too, as TensorFlow's padding "SAME" does
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, width, 3, 3, 1), nn.ReLU(), nn.MaxPool2d(2, 2, ceil_mode=True)),
            *(nn.Conv2d(width, code, 3, 2, 1), nn.LeakyReLU(slope), nn.MaxPool2d(2, 2, ceil_mode=True)),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Decoder(nn.Module):
    """(N, K, h, w) codes to (N, C, H, W) images in [-1, 1].

    Transposed convolutions of a 2x2 code to maps of 5, 15 and 30 pixels, which are brought to the image's size.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, code: int) -> None:
        super().__init__()
        channels, *self.size = shape
        self.layers = nn.Sequential(
            *(nn.ConvTranspose2d(code, width, 3, 2), nn.ReLU()),
            *(nn.ConvTranspose2d(width, width // 2, 5, 3, 1), nn.ReLU()),
            nn.ConvTranspose2d(width // 2, channels, 3, 2),
        )

    def forward(self, codes: Tensor) -> Tensor:
        maps = self.layers(codes)[:, :, :-1, :-1]  # the last row and column are what "SAME" cuts off
        return F.interpolate(maps, self.size, mode="bilinear").tanh()


class Gaussian(nn.Module):
    """Mean and second moment of the codes of training images, and by them codes from standard normal ones and back.

    An autoencoder has no prior; this is one fitted to what its encoder does. `negative`: whether codes can be.
    """

    mean: Tensor
    second: Tensor

    def __init__(self, shape: tuple[int, int, int], negative: bool) -> None:
        super().__init__()
        length = math.prod(shape)
        self.shape, self.least = shape, -math.inf if negative else 0.0
        self.register_buffer("mean", torch.zeros(length))
        self.register_buffer("second", torch.eye(length))

    @torch.no_grad()
    def update(self, codes: Tensor, index: int) -> None:
        """Takes the codes (N, K, h, w) of step `index` into the moving averages; those of the first step replace all.

        Both moments have the same weights, so that their covariance is that of a weighted sample: never negative.
        """
        rows = codes.detach().float().flatten(1)
        weight = max(MOMENTUM, 1 / (index + 1))
        with torch.autocast(rows.device.type, enabled=False):  # a difference of moments is not for 16 bits
            self.mean.lerp_(rows.mean(0), weight)
            self.second.lerp_(rows.T @ rows / len(rows), weight)

    def standardised(self, codes: Tensor) -> Tensor:
        """Codes (N, K, h, w) as (N, K h w) with mean 0 and covariance 1 over the training images."""
        rows = codes.float().flatten(1) - self.mean
        return torch.linalg.solve_triangular(self._root(), rows.T, upper=False).T

    def codes(self, standardised: Tensor) -> Tensor:
        """The reverse of :meth:`standardised`. A negative value that a ReLU cannot have given becomes 0."""
        return (standardised @ self._root().T + self.mean).clamp(min=self.least).unflatten(1, self.shape)

    def _root(self) -> Tensor:
        """Lower triangular root of the covariance, found in double precision, which not every device has."""
        mean, second = self.mean.cpu().double(), self.second.cpu().double()
        covariance = second - mean[:, None] * mean
        # a channel that is never active has no spread at all, and the root would not exist
        least = 1e-4 * covariance.diagonal().mean() + 1e-8
        return torch.linalg.cholesky(covariance + least * torch.eye(len(mean))).to(self.mean)
