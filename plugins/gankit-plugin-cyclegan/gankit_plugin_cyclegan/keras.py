"""Networks of a textbook's CycleGAN in Keras, for images of 32x32: a U-Net and a discriminator, of four layers each.

Each layer norms and activates what comes in, the image too, and then convolves. Legend: N batch, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gankit.nn import InstanceNormAct2d, LeakyReLU

WIDTHS = (32, 64, 128, 256)
EPS = 1e-3


class KerasGenerator(nn.Module):
    """(N, inputs, H, W) to (N, outputs, H, W) in [-1, 1]; 8 divides H and W.

    Args:
        inputs, outputs: channels of the images.
        kernel: side of all kernels, odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels = inputs
        for i, width in enumerate(WIDTHS):
            convolution = nn.Conv2d(channels, width, kernel, 1 if i == 0 else 2, kernel // 2)
            self.down.append(
                nn.Sequential(InstanceNormAct2d(channels, EPS, affine=True, negative_slope=0.2), convolution)
            )
            channels = width
        for width in reversed(WIDTHS[:-1]):
            doubled = nn.ConvTranspose2d(channels, width, kernel, 2, kernel // 2, output_padding=1)
            self.up.append(nn.Sequential(InstanceNormAct2d(channels, EPS, affine=True, negative_slope=0.0), doubled))
            channels = 2 * width
        self.last = nn.Conv2d(channels, outputs, kernel, 1, kernel // 2)

    def forward(self, images: Tensor) -> Tensor:
        x, skips = images, []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        for layer, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = torch.cat([layer(x), skip], 1)
        return (self.last(x) / 2).tanh()  # the sigmoid of the book, whose images are in [0, 1]


class KerasDiscriminator(nn.Module):
    """(N, C, H, W) to a map of logits of a 16th of the sides, or to (N, 1) of the whole image; without norms.

    Args:
        shape: (C, H, W) of the images.
        kernel: side of all kernels, odd.
        patch: a map, in place of one logit.
    """

    def __init__(self, shape: tuple[int, int, int], kernel: int = 3, *, patch: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, height, width = shape
        for wide, stride in zip(WIDTHS, (2, 2, 2, 1), strict=True):
            layers += [LeakyReLU(0.2), nn.Conv2d(channels, wide, kernel, stride, kernel // 2)]
            channels, height, width = wide, -(-height // stride), -(-width // stride)
        if patch:
            layers += [LeakyReLU(0.2), nn.Conv2d(channels, 1, kernel, 2, kernel // 2)]
        else:
            layers += [nn.Flatten(), nn.Linear(channels * height * width, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def glorot(network: nn.Module) -> nn.Module:
    """`network`, its weights drawn as Keras does (Glorot and Bengio 2010, uniform), its biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


__all__ = ["KerasDiscriminator", "KerasGenerator", "glorot"]
