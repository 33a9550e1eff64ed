"""The context encoder: the centre of an image from what is around it, through a bottleneck.

Pathak et al. 2016, "Context Encoders: Feature Learning by Inpainting", sections 3 and 5, and the networks of its
supplementary material. Legend: N batch, C x H x W image.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.errors import UsageError
from gankit.nn import LeakyReLU
from gankit.nn.init import init_normal
from gankit.options.spelling import give

__all__ = ["CentreDiscriminator", "CentreFiller", "halvings_of"]

LEFT = 4
"""Sides of the map before the bottleneck."""
BAND = 10.0
"""How much more errors count where the drawn centre overlaps what is known."""


def halvings_of(height: int, width: int, overlap: int) -> int:
    """How often 4x4 convolutions halve the sides to 4. :class:`UsageError` if they do not come to that."""
    halvings = (min(height, width) // LEFT).bit_length() - 1
    if height != width or halvings < 2 or height != LEFT << halvings:
        raise UsageError(
            f"the context encoder takes squares of 16, 32, 64, ... pixels; the images are {width}x{height}. "
            f"Choose another size ({give('data.size', 128)})."
        )
    if overlap >= height // 4:
        raise UsageError(
            f"overlap = {overlap}: no hole is left of a centre of {width // 2}x{height // 2} pixels. "
            f"Choose less ({give('overlap', height // 32)})."
        )
    return halvings


class CentreFiller(nn.Module):
    """Encoder, a bottleneck of `neck` channels, and a decoder that draws the centre half of H x W, as far as it goes.

    The hole is smaller by `overlap` pixels on each side, so that what is drawn meets what is known. It is filled with
    the mean colour of the rest first. For 3x128x128, width 64 and a bottleneck of 4000 channels 71,130,531 parameters.
    """

    def __init__(self, channels: int, halvings: int, width: int = 64, neck: int = 4000, overlap: int = 4) -> None:
        super().__init__()
        self.rim = (LEFT << halvings) // 4 + overlap
        wide = [width * max(1, 2 ** (i - 1)) for i in range(halvings)]  # 64 64 128 256 512
        wide = [min(one, 8 * width) for one in wide]
        layers = [nn.Conv2d(channels, wide[0], 4, 2, 1, bias=False), LeakyReLU(0.2, wide[0])]
        for inner, outer in pairwise(wide):
            layers += [nn.Conv2d(inner, outer, 4, 2, 1), nn.BatchNorm2d(outer), LeakyReLU(0.2)]
        layers += [nn.Conv2d(wide[-1], neck, LEFT), nn.BatchNorm2d(neck), LeakyReLU(0.2)]
        layers += [nn.ConvTranspose2d(neck, wide[-1], LEFT), nn.BatchNorm2d(wide[-1]), nn.ReLU()]
        for inner, outer in pairwise(wide[:0:-1]):
            layers += [nn.ConvTranspose2d(inner, outer, 4, 2, 1), nn.BatchNorm2d(outer), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(wide[1], channels, 4, 2, 1), nn.Tanh())

    def forward(self, images: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """`images` (N, C, H, W) with another centre, in [-1, 1]. The hole is that of the network, whatever the mask."""
        hole = self._hole(images)
        mean = (images * (1 - hole)).sum((2, 3), keepdim=True) / (1 - hole).sum()
        drawn = self.layers(torch.lerp(images, mean.expand_as(images), hole.expand_as(images))).to(images.dtype)
        around = images.shape[-1] // 4
        inside = F.pad(torch.ones_like(drawn[:, :1]), (around,) * 4)
        return (torch.where(inside > 0, F.pad(drawn, (around,) * 4), images),)

    def check_mask(self, mask: Tensor) -> None:
        """:class:`UsageError` if `mask` (N, 1, H, W) hides what the network cannot draw. Not of one that is traced."""
        if not torch.compiler.is_compiling() and (mask * (1 - self._hole(mask))).any():
            side = mask.shape[-1]
            raise UsageError(
                f"a context encoder fills the centre alone, here pixels {self.rim} to {side - self.rim - 1} of {side}: "
                f"give a mask that stays inside of it, or train {give('network', 'gated')}."
            )

    def errors(self, stages: tuple[Tensor, ...], images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Mean squared error of the centre, ten times as much where it overlaps what is known."""
        weight = BAND - (BAND - 1) * self._hole(images)
        return {"pixels": (self._centre(weight) * (self._centre(stages[-1]) - self._centre(images)).square()).mean()}

    def judged(self, drawn: Tensor, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the discriminator sees of what was drawn; it knows the hole."""
        return self._centre(drawn), None

    def _hole(self, images: Tensor) -> Tensor:
        """(1, 1, H, W), 1 where something is hidden."""
        inside = images.shape[-1] - 2 * self.rim
        return F.pad(images.new_ones(1, 1, inside, inside), (self.rim,) * 4)

    @staticmethod
    def _centre(images: Tensor) -> Tensor:
        around = images.shape[-1] // 4
        return images[:, :, around:-around, around:-around]


class CentreDiscriminator(nn.Module):
    """(N, C, H, W) to (N, 1, 1, 1) logits, H = W = 4 * 2^halvings: 4x4 convolutions that halve the sides, batch norm.

    For a centre of 3x64x64 and width 64 2,766,529 parameters.
    """

    def __init__(self, channels: int, halvings: int, width: int = 64) -> None:
        super().__init__()
        layers = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), LeakyReLU(0.2, width)]
        inner = width
        for i in range(1, halvings):
            outer = width * min(8, 2**i)
            layers += [nn.Conv2d(inner, outer, 4, 2, 1), nn.BatchNorm2d(outer), LeakyReLU(0.2)]
            inner = outer
        self.layers = nn.Sequential(*layers, nn.Conv2d(inner, 1, LEFT))

    def forward(self, centre: Tensor) -> Tensor:
        return self.layers(centre)


def build(
    channels: int, height: int, width: int, *, g_width: int, d_width: int, neck: int, overlap: int
) -> dict[str, nn.Module]:
    """Filler and discriminator, weights from N(0, 0.02)."""
    halvings = halvings_of(height, width, overlap)
    return {
        "filler": init_normal(CentreFiller(channels, halvings, g_width, neck, overlap)),
        "discriminator": init_normal(CentreDiscriminator(channels, halvings - 1, d_width)),
    }
