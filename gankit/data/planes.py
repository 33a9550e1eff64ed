"""Image files of which Pillow would keep a part, read whole: for translations, and for data of any channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gankit.data.deep import DeepImage, decode_deep
from gankit.data.images import MODES, Content, Fit, ImageError, load, readable, resize, to_tensor

__all__ = ["decode_channels", "load_channels", "load_deep", "resized", "whole"]


def load_deep(path: str | Path | Content) -> DeepImage | None:
    """The image file, if it is one of :func:`~gankit.data.deep.decode_deep`. Raises :class:`ImageError`."""
    with readable(path) as file:
        return decode_deep(file)


def whole(path: str | Path | Content, channels: int) -> DeepImage:
    """The image file, which has just so many `channels`, 2 or more than 4. Raises :class:`ImageError`."""
    image = load_deep(path)
    if image is None:
        raise ImageError(f"{path}: not a TIFF file of {channels} channels, of 8 or 16 bits each")
    if (have := image.pixels.shape[2]) != channels:
        raise ImageError(f"{path}: an image of {have} channels, where {channels} are asked for")
    return image


def load_channels(path: str | Path | Content, channels: int, at_least: int | None = None) -> list[Image.Image]:
    """The image file as pictures that together have so many `channels`: one in one of :data:`MODES`, or one a channel.

    The latter are of mode "F", 0 ... 255, and come from a TIFF file of just that many channels, of 8 or 16 bits. For
    `at_least`, and for the rest of the former, see :func:`~gankit.data.images.load`. Raises :class:`ImageError`.
    """
    if channels in MODES:
        return [load(path, channels, at_least=at_least)]
    image = whole(path, channels)
    most = np.float32(np.iinfo(image.pixels.dtype).max / 255)
    return [Image.fromarray(plane / most) for plane in np.moveaxis(image.pixels, -1, 0)]


def resized(pictures: Sequence[Image.Image], size: tuple[int, int], fit: Fit) -> Tensor:
    """What :func:`load_channels` gave, at `size` (height, width): uint8 (channels, height, width)."""
    made = [resize(picture, size, fit) for picture in pictures]
    if made[0].mode != "F":
        return to_tensor(made[0])
    return torch.from_numpy(np.rint(np.stack([np.asarray(plane) for plane in made])).clip(0, 255).astype(np.uint8))


def decode_channels(path: str | Path | Content, size: tuple[int, int], channels: int = 3, fit: Fit = "crop") -> Tensor:
    """The image file at `size` (height, width), uint8 (`channels`, height, width); see :func:`load_channels`."""
    return resized(load_channels(path, channels, 2 * max(size)), size, fit)
