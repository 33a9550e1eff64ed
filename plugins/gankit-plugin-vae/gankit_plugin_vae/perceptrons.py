"""Networks of the variational autoencoder. Legend: N batch, C x H x W image, Z length of a code."""

from __future__ import annotations

import math

from torch import Tensor, nn


class Encoder(nn.Module):
    """(N, C, H, W) images to the means and the logarithms of the variances of their codes, (N, Z) each."""

    def __init__(self, shape: tuple[int, int, int], hidden: int, z: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), hidden), nn.ReLU())
        self.heads = nn.Linear(hidden, 2 * z)  # of means and of logarithms: one product takes less time than two

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, logvar = self.heads(self.body(images)).chunk(2, 1)
        return mean, logvar


class Decoder(nn.Module):
    """(N, Z) codes to (N, C, H, W) numbers, before the last layer's squashing: logits of pixels, if they are that."""

    def __init__(self, shape: tuple[int, int, int], hidden: int, z: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(z, hidden), nn.ReLU(), nn.Linear(hidden, math.prod(shape)), nn.Unflatten(1, shape)),
        )

    def forward(self, codes: Tensor) -> Tensor:
        return self.layers(codes)
