"""The ResNet generator of image translation (Johnson et al. 2016; Zhu et al. 2017, appendix 7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gankit.nn.instance_norm_act import InstanceNormAct2d
from gankit.nn.norm_act import Norm, norm_act
from gankit.nn.reflection_pad import ReflectionPad2d
from gankit.nn.upsample_conv2d import UpsampleConv2d
from gankit.ops._library import is_compiling
from gankit.ops._torch import transformed

__all__ = ["ResNetGenerator"]

Doubling = Literal["deconv", "deconv4", "resize"]
LARGE = {"cpu": 1 << 18, "cuda": 1 << 22}
"""Elements of a map from which memory counts for more than the calls that save it, which a GPU has to wait for."""


class ResNetGenerator(nn.Module):
    """Two halvings, residual blocks, two doublings: (N, inputs, H, W) to (N, outputs, H, W) in [-1, 1].

    H and W are multiples of 4, and at least 8. Reflection at the borders. With ``width=64``, ``blocks=9`` and instance
    norm the published network of 11,378,179 parameters for 3 channels (6 blocks: 7,837,699).

    Args:
        inputs, outputs: channels of the images.
        width: channels after the first layer.
        blocks: residual blocks.
        doubling: transposed convolutions of 3x3, as published (``deconv``), which reach some pixels more often than
            others; of 4x4 (``deconv4``), which reach all as often; or enlarged and convolved (``resize``,
            `gankit.nn.UpsampleConv2d`), with as many parameters as the first. The last begins without checkerboards
            (Odena et al. 2016); of the others even the second may learn a lattice.
        norm: see `gankit.nn.norm_act`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        blocks: int = 9,
        *,
        doubling: Doubling = "deconv",
        norm: Norm = "instance",
    ) -> None:
        super().__init__()
        bias = norm == "instance"
        layers: list[nn.Module] = [ReflectionPad2d(3), nn.Conv2d(inputs, width, 7, bias=bias)]
        layers.append(norm_act(width, norm, 0.0))
        for channels in (width, 2 * width):
            down = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=bias)
            layers += [down, norm_act(2 * channels, norm, 0.0)]
        layers += [ResidualBlock(4 * width, norm) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            layers += [_double(channels, doubling, bias), norm_act(channels // 2, norm, 0.0)]
        self.layers = nn.Sequential(*layers, ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh())

        self.channels = (inputs, width, 2 * width, *[4 * width] * (1 + blocks))
        """Of the maps of :meth:`features`, in their order."""
        # where they stand in `layers`, from map 1 on; 0 is the images themselves
        self._places = (1, 3, 5, *range(7, 7 + blocks))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)

    def features(self, images: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Maps of the encoder, one for each of `layers`, in their order; the network runs no further than it has to.

        0 is `images` (N, inputs, H, W) themselves; 1 the first convolution, 2 and 3 those that halve, each before its
        norm; from 4 on the residual blocks. Park et al. 2020 take 0, 2, 3, 4 and 8. ValueError for another number.
        """
        return self._through(images, layers, whole=False)[1]

    def with_features(self, images: Tensor, layers: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """What `forward` and :meth:`features` return, in one pass."""
        return self._through(images, layers, whole=True)

    def _through(self, images: Tensor, layers: Sequence[int], *, whole: bool) -> tuple[Tensor, list[Tensor]]:
        if wrong := [number for number in layers if not 0 <= number < len(self.channels)]:
            raise ValueError(f"layers are numbered from 0 to {len(self.channels) - 1}, got {wrong[0]}")
        seen, x = {0: images}, images
        numbers = {place: number for number, place in enumerate(self._places, 1) if number in layers}
        last = len(self.layers) if whole else max(numbers, default=-1) + 1
        for place, layer in enumerate(islice(self.layers, last)):
            x = layer(x)
            if place in numbers:
                seen[numbers[place]] = x
        return x, [seen[number] for number in layers]


def _double(channels: int, how: str, bias: bool) -> nn.Module:
    """(N, channels, H, W) to (N, channels / 2, 2H, 2W)."""
    if how == "resize":
        return UpsampleConv2d(channels, channels // 2, bias=bias, padding_mode="replicate")
    side = 4 if how == "deconv4" else 3
    return nn.ConvTranspose2d(channels, channels // 2, side, stride=2, padding=1, output_padding=side % 2, bias=bias)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), 3x3 with reflection; the sum is part of an instance norm's pass.

    Of large maps what the second convolution is given is computed anew for its backward, from the first one's output,
    which is kept in any case: a norm and a padding, 2% of the block's time, for a quarter of what it keeps. Not with
    batch norm, whose averages would count each batch twice.
    """

    def __init__(self, channels: int, norm: Norm = "instance") -> None:
        super().__init__()
        self.pad = ReflectionPad2d(1)
        self.first, self.second = (nn.Conv2d(channels, channels, 3, bias=norm == "instance") for _ in range(2))
        self.norm_relu, self.norm_add = norm_act(channels, norm, 0.0), norm_act(channels, norm)
        self.anew = norm != "batch"

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(self.pad(x))
        worth = self.anew and y.requires_grad and torch.is_grad_enabled()
        worth = worth and not is_compiling() and not transformed()  # neither has hooks of what is kept
        # in this order: a program that is exported must not depend on how large its maps are
        if worth and y.numel() >= LARGE.get(y.device.type, LARGE["cpu"]):
            y = checkpoint(self._second, y, use_reentrant=False, preserve_rng_state=False)
        else:
            y = self._second(y)
        fused = isinstance(self.norm_add, InstanceNormAct2d)
        return self.norm_add(y, residual=x) if fused else x + self.norm_add(y)

    def _second(self, y: Tensor) -> Tensor:
        return self.second(self.pad(self.norm_relu(y)))
