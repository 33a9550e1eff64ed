"""Gated convolutions in two stages, and the discriminator of patches that judges them.

Yu et al. 2019, "Free-Form Image Inpainting with Gated Convolution", sections 3.2 to 3.4.
Legend: N batch, C x H x W image.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from gankit import whole_batch
from gankit.errors import UsageError
from gankit.nn import LeakyReLU, UpsampleConv2d
from gankit.options.spelling import give
from gankit_plugin_inpaint.attention import contextual_attention
from gankit_plugin_inpaint.spread import contrast_of, spread_into

SLOPE = 0.2
GAINS = {"elu": 2.3, "relu": 2.6, "leaky_relu": 2.6}
"""Of the values' first weights: act(a) * sigmoid(b) more than halves what comes in, and this makes up for it."""

__all__ = ["GatedConv2d", "GatedFiller", "PatchDiscriminator", "build"]


class GatedConv2d(nn.Module):
    """A convolution half of whose `outputs` gate the other half: act(a) * sigmoid(b), of outputs / 2 channels.

    The gates learn which pixels are to be believed, in each layer and channel (equation 3 of the paper). Zeros come in
    at the borders; a `stride` of 2 halves even sides.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, act: str = "elu"
    ) -> None:
        super().__init__()
        self.conv = self._convolution(inputs, outputs, kernel, stride, dilation)
        self.act = partial(F.leaky_relu, negative_slope=SLOPE) if act == "leaky_relu" else getattr(F, act)
        value, gate = self.conv.weight.chunk(2)
        inside = inputs * kernel * kernel
        nn.init.normal_(value, 0.0, GAINS[act] / math.sqrt(inside))
        nn.init.normal_(gate, 0.0, 1 / math.sqrt(inside))
        nn.init.zeros_(self.conv.bias)

    def _convolution(self, inputs: int, outputs: int, kernel: int, stride: int, dilation: int) -> nn.Conv2d:
        return nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.conv(x).chunk(2, 1)
        return self.act(value) * gate.sigmoid()


class GatedUp2d(GatedConv2d):
    """The same of the nearest-neighbour enlargement to twice the sides, 3x3."""

    def _convolution(self, inputs: int, outputs: int, *_: int) -> nn.Conv2d:
        return UpsampleConv2d(inputs, outputs)


class Layers(nn.Sequential):
    """Gated convolutions in a row, the widths of which are given without the gates' share."""

    def __init__(self, inputs: int, act: str) -> None:
        super().__init__()
        self.channels, self.act = inputs, act

    def conv(self, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, act: str = "") -> Layers:
        self.append(GatedConv2d(self.channels, outputs, kernel, stride, dilation, act or self.act))
        self.channels = outputs // 2
        return self

    def up(self, outputs: int) -> Layers:
        self.append(GatedUp2d(self.channels, outputs, act=self.act))
        self.channels = outputs // 2
        return self

    def image(self, channels: int, change: bool) -> Layers:
        """An image in [-1, 1]; or a `change` of one, none at first."""
        last = nn.Conv2d(self.channels, channels, 3, 1, 1)
        self.append(last)
        if change:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        else:
            self.append(nn.Tanh())
        return self


def _encoded(layers: Layers, width: int, narrow: bool) -> Layers:
    """Two halvings, and what stands behind them. `narrow`: the fine stage's halvings keep their channels."""
    layers.conv(width, 5).conv(width if narrow else 2 * width, stride=2).conv(2 * width)
    return layers.conv(2 * width if narrow else 4 * width, stride=2).conv(4 * width).conv(4 * width)


def _dilated(layers: Layers, width: int) -> Layers:
    for dilation in (2, 4, 8, 16):
        layers.conv(4 * width, dilation=dilation)
    return layers


def _decoded(layers: Layers, width: int, channels: int, change: bool) -> Layers:
    layers.conv(4 * width).conv(4 * width).up(2 * width).conv(2 * width)
    return layers.up(width).conv(width // 2).image(channels, change)


class GatedFiller(nn.Module):
    """A coarse stage, and a fine one that sees what the first has put into the hole; 8 divides H and W.

    The fine stage has a branch of dilated convolutions and, with `attention`, one that copies patches of what is known
    (:func:`contextual_attention`). With the published `width` of 48 (that of the convolutions, half of whose channels
    gate) 4,052,478 parameters for 3 channels.

    With `spread` the coarse stage sees holes into which the colours around them have spread (:func:`spread_into`), and
    each stage says what is to be changed, in each image as a part of its contrast: so a short training begins where
    methods without learning end, and dark images count as bright ones do. `act`: ``elu``, as published, or
    ``leaky_relu`` of 0.2, with which a step is 1.6 times as fast on a CPU in bfloat16.
    """

    rim: int | None = None
    """How many pixels at each side are never hidden; None: any may be."""

    def __init__(
        self, channels: int, width: int = 48, attention: bool = True, spread: bool = False, act: str = "elu"
    ) -> None:
        super().__init__()
        self.spread = spread

        def begin(inputs: int) -> Layers:
            return Layers(inputs, act)

        self.coarse = _decoded(_dilated(_encoded(begin(channels + 2), width, False), width), width, channels, spread)
        self.dilated = _dilated(_encoded(begin(channels), width, True), width)
        joined = self.dilated.channels
        self.before: Layers | None = None
        self.after: Layers | None = None
        if attention:
            before = begin(channels).conv(width, 5).conv(width, stride=2).conv(2 * width).conv(4 * width, stride=2)
            self.before = before.conv(4 * width).conv(4 * width, act="relu")
            self.after = begin(before.channels).conv(4 * width).conv(4 * width)
            joined += self.after.channels
        self.joined = _decoded(begin(joined), width, channels, spread)

    def forward(self, images: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """What the two stages make of `images` (N, C, H, W), whose pixels under the `mask` (N, 1, H, W) count for
        nothing: two images, the better one last, in [-1, 1]; with `spread` they may lie beyond."""
        known = images * (1 - mask)
        if not self.spread:
            coarse = self._coarse(known, mask)
            return coarse, self._fine(torch.where(mask > 0, coarse, images), mask)
        known = spread_into(known, mask)
        mean, contrast = contrast_of(known)
        coarse = known + contrast * self._coarse((known - mean) / contrast, mask)
        given = torch.where(mask > 0, coarse, images)
        return coarse, given + contrast * self._fine((given - mean) / contrast, mask)

    def _coarse(self, known: Tensor, mask: Tensor) -> Tensor:
        return self.coarse(torch.cat([known, torch.ones_like(mask), mask], 1)).to(known.dtype)

    def _fine(self, given: Tensor, mask: Tensor) -> Tensor:
        features = self.dilated(given)
        if self.before is not None and self.after is not None:
            copied = contextual_attention(self.before(given), F.max_pool2d(mask, 4))
            features = torch.cat([features, self.after(copied)], 1)
        return self.joined(features).to(given.dtype)

    def errors(self, stages: tuple[Tensor, ...], images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Mean absolute error of both stages over the whole image (section 3.3), with `spread` over the holes.

        What is known has no error at first then: any change would be one, and so none is learnt.
        """
        if self.spread:
            hidden = mask.expand_as(images)
            number = whole_batch.mean(hidden.sum()).clamp_min(1)
            errors = [((drawn - images).abs() * hidden).sum() / number for drawn in stages]
        else:
            errors = [(drawn - images).abs().mean() for drawn in stages]
        return dict(zip(("coarse", "fine"), errors, strict=True))

    def judged(self, drawn: Tensor, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the discriminator sees of what was drawn, and the mask beside it; with `spread` in parts of the true
        image's contrast: of a dark image it would see brightness alone. What lies beyond [-1, 1] it sees as it will be
        shown, so that there is nothing to be gained there."""
        seen = torch.where(mask > 0, drawn.clamp(-1, 1), images)
        if self.spread:
            mean, contrast = contrast_of(images)
            seen = (seen - mean) / contrast
        return seen, mask

    def check_mask(self, mask: Tensor) -> None:
        """Any can be filled."""


class PatchDiscriminator(nn.Module):
    """SN-PatchGAN: 5x5 convolutions that halve the sides, spectrally normalised, leaky ReLU 0.2 between them.

    (N, inputs, H, W) to (N, channels, h, w): every number of the last map is a logit. The published one has six layers
    of 64, 128 and then 256 channels. Of images with little contrast such layers tell little; without the norm
    (`spectral`) they learn to.
    """

    def __init__(self, inputs: int, width: int = 64, layers: int = 6, spectral: bool = True) -> None:
        super().__init__()
        made: list[nn.Module] = []
        for i in range(layers):
            wide = width * min(4, 2**i)
            last = i == layers - 1
            conv = nn.Conv2d(inputs, wide, 5, 2, 2, bias=last)
            if not spectral:
                nn.init.kaiming_normal_(conv.weight, SLOPE)
            made.append(spectral_norm(conv) if spectral else conv)
            made += [] if last else [LeakyReLU(SLOPE, wide)]
            inputs = wide
        self.layers = nn.Sequential(*made)

    def forward(self, seen: Tensor) -> Tensor:
        return self.layers(seen)


def build(
    shape: tuple[int, int, int], filler: GatedFiller, d_width: int, d_layers: int, spectral: bool
) -> dict[str, nn.Module]:
    """`filler` and a discriminator for images of `shape` (C, H, W). :class:`UsageError` if there is none."""
    channels, height, width = shape
    if height % 8 or width % 8:
        raise UsageError(
            f"gated convolutions take sides that 8 divides; the images are {width}x{height}. "
            f"Choose another size ({give('data.size', 64)})."
        )
    if not min(height, width) >> d_layers:
        raise UsageError(
            f"d_layers = {d_layers}: nothing is left of {width}x{height} pixels. "
            f"Choose fewer ({give('d_layers', min(height, width).bit_length() - 1)})."
        )
    return {"filler": filler, "discriminator": PatchDiscriminator(channels + 1, d_width, d_layers, spectral)}
