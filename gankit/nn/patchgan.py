"""The PatchGAN discriminator (Isola et al. 2017, section 3.2.2)."""

from __future__ import annotations

from torch import Tensor, nn

from gankit.nn.instance_norm_act import InstanceNormAct2d
from gankit.nn.leaky_relu import LeakyReLU

__all__ = ["PatchDiscriminator"]


class PatchDiscriminator(nn.Module):
    """4x4 convolutions to a map of logits, each of which sees one patch: (N, channels, H, W) to (N, 1, h, w).

    Instance norm on all but the first layer. With ``layers=3`` a logit sees 70x70 pixels, a 256x256 image has 30x30 of
    them, and ``width=64`` gives the published 2,764,737 parameters for 3 channels. 2 layers see 34x34, 1 layer 16x16.

    Args:
        channels: of the images.
        width: channels after the first layer; each further one has twice as many, up to 8 times.
        layers: how often the sides are halved.
    """

    def __init__(self, channels: int, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        made: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), LeakyReLU(0.2, channels=width)]
        wide = width
        for i in range(1, layers + 1):
            inner, wide = wide, min(8, 2**i) * width
            stride = 2 if i < layers else 1
            made += [nn.Conv2d(inner, wide, 4, stride, 1), InstanceNormAct2d(wide, negative_slope=0.2)]
        self.layers = nn.Sequential(*made, nn.Conv2d(wide, 1, 4, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
