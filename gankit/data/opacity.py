"""Channels: grey as colour, colour as grey, and opacity, the fourth of four: laid on white, heeded where pixels mix."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gankit.errors import UsageError

__all__ = ["as_channels", "on_white", "premultiplied", "resampled", "unmultiplied", "widened"]


_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts colour to grey


def as_channels(image: Tensor, channels: int) -> Tensor:
    """A float image (C, H, W) in [-1, 1] with `channels`; :class:`UsageError` if they cannot be had from its own.

    Grey becomes colour and colour grey; opacity is laid on white where it is not asked for.
    """
    have = len(image)
    if have == channels:
        return image
    if (have == 1 and channels <= 4) or (have, channels) == (3, 4):
        return widened(image, channels)
    if have == 4 and channels in (1, 3):
        return as_channels(on_white(image), channels)
    if have == 3 and channels == 1:
        return (image * torch.tensor(_LUMA).view(3, 1, 1)).sum(0, keepdim=True)
    raise UsageError(f"an image of {have} channels, where {channels} are asked for")


def widened(images: Tensor, channels: int) -> Tensor:
    """`images` (..., C, H, W) with `channels`, no fewer: grey in all colours, and opaque if there was no opacity."""
    have = images.shape[-3]
    if have == channels:
        return images
    colours = images.expand(*images.shape[:-3], min(channels, 3), *images.shape[-2:]) if have == 1 else images
    if channels <= 3:
        return colours
    opaque = torch.full_like(images[..., :1, :, :], 255 if images.dtype == torch.uint8 else 1)
    return torch.cat([colours, opaque], -3)


def premultiplied(images: Tensor) -> Tensor:
    """Float `images` (..., C, H, W) in [-1, 1] to be mixed: with opacity, a fourth channel, colours count as far as
    they are opaque, so that what is invisible tints nothing. Others as they are. :func:`unmultiplied` undoes it."""
    if images.shape[-3] != 4:
        return images
    opacity = (images[..., 3:, :, :] + 1) / 2
    return torch.cat([(images[..., :3, :, :] + 1) * opacity, opacity], -3)


def unmultiplied(images: Tensor) -> Tensor:
    """Undoes :func:`premultiplied`; what is invisible becomes white."""
    if images.shape[-3] != 4:
        return images
    colours, opacity = images[..., :3, :, :], images[..., 3:, :, :]  # some filters overshoot, in both alike
    colours = torch.where(opacity > 1e-3, colours / opacity.clamp_min(1e-3), 2.0)
    return torch.cat([colours - 1, 2 * opacity.clamp(0, 1) - 1], -3)


def resampled(images: Tensor, resample: Callable[[Tensor], Tensor]) -> Tensor:
    """What `resample` makes of float `images` (N, C, H, W) in [-1, 1], which heeds their opacity."""
    return unmultiplied(resample(premultiplied(images)))


def on_white(images: Tensor) -> Tensor:
    """Float images (..., 4, H, W) in [-1, 1] as (..., 3, H, W)."""
    opacity = (images[..., 3:, :, :] + 1) / 2
    return images[..., :3, :, :] * opacity + (1 - opacity)
