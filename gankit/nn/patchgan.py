"""The PatchGAN discriminator (Isola et al. 2017, section 3.2.2)."""

from __future__ import annotations

from torch import Tensor, nn

from gankit.nn.leaky_relu import LeakyReLU
from gankit.nn.norm_act import Norm, norm_act

__all__ = ["PatchDiscriminator"]


class PatchDiscriminator(nn.Module):
    """4x4 convolutions to a map of logits, each of which sees one patch: (N, channels, H, W) to (N, 1, h, w).

    A norm on all but the first layer. With ``layers=3`` a logit sees 70x70 pixels, a 256x256 image has 30x30 of them,
    and ``width=64`` gives the published 2,764,737 parameters for 3 channels with instance norm, 2,768,705 for 6 with
    batch norm. 2 layers see 34x34, 1 layer 16x16. With ``layers=0`` the convolutions are 1x1: a logit for each pixel,
    which sees its colour (section 6.1.2).

    Args:
        channels: of the images.
        width: channels after the first layer; each further one has twice as many, up to 8 times.
        layers: how often the sides are halved.
        norm: see `gankit.nn.norm_act`.
        whole: height and width of the images: then the last convolution covers all that is left of them, for one logit
            an image, (N, 1, 1, 1). ValueError if nothing is left.
    """

    def __init__(
        self,
        channels: int,
        width: int = 64,
        layers: int = 3,
        norm: Norm = "instance",
        whole: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        side, padding = (4, 1) if layers else (1, 0)
        strides = [2 if i < layers else 1 for i in range(1, max(layers, 1) + 1)]
        made: list[nn.Module] = [
            nn.Conv2d(channels, width, side, 2 if layers else 1, padding, bias=False),
            LeakyReLU(0.2, channels=width),
        ]
        wide = width
        for i, stride in enumerate(strides, 1):
            inner, wide = wide, min(8, 2**i) * width
            made += [
                nn.Conv2d(inner, wide, side, stride, padding, bias=norm == "instance"),
                norm_act(wide, norm, 0.2),
            ]
        if whole is None:
            last = nn.Conv2d(wide, 1, side, 1, padding)
        else:
            last = nn.Conv2d(wide, 1, _left(whole, layers))
        self.layers = nn.Sequential(*made, last)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def _left(size: tuple[int, int], layers: int) -> tuple[int, int]:
    """Height and width of the maps before the last convolution."""
    left = [length // 2**layers - (1 if layers else 0) for length in size]  # the last 4x4 one takes a pixel
    if min(left) < 1 or max(left) < 2:  # a norm of one place would say nothing
        raise ValueError(f"nothing is left of {size[0]}x{size[1]} pixels after {layers} halvings")
    return left[0], left[1]
