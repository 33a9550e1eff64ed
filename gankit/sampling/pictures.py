"""Images that a user gives, as a model takes them: files, directories, Pillow images, arrays and tensors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gankit.data.files import list_images
from gankit.data.images import (
    MODES,
    Convert,
    Fit,
    ImageError,
    eight_bit,
    load,
    resize,
    to_float,
    to_tensor,
    upright,
)
from gankit.data.opacity import as_channels, resampled
from gankit.data.planes import decode_channels
from gankit.errors import UsageError

_COLOURFUL = 48
"""Largest difference of two channels, of 255, in what still counts as grey: JPEG tints greys a little."""


def read_images(
    name: str,
    shape: tuple[int, ...],
    values: Sequence[Any],
    most: int | None = None,
    fit: Fit = "crop",
    convert: Convert = eight_bit,
) -> tuple[Tensor, list[Any]]:
    """float32 (k, *shape) in [-1, 1], and of each the file that it came from, or its number.

    Values: paths of files, or of directories, whose images come sorted; Pillow images; uint8 or float [-1, 1] tensors
    (C, H, W) or (N, C, H, W); uint8 or float arrays (H, W), (H, W, C) or (N, H, W, C). The largest centred part of the
    right proportions is brought to the size of `shape`, or all of it by stretching; grey becomes colour and colour
    grey. No more than `most`. `convert` says how files and Pillow images become 8 bits a channel.
    """
    rows: list[Tensor] = []
    records: list[Any] = []
    for source in _sources(name, values):
        if most is not None and len(rows) >= most:
            break
        rows.append(_as_model_takes(name, source, shape, fit, convert))
        records.append(str(source) if isinstance(source, Path) else len(records))
    return torch.stack(rows) if rows else torch.empty(0, *shape), records


def read_masks(
    name: str, shape: tuple[int, ...], values: Sequence[Any], most: int | None = None, fit: Fit = "crop"
) -> tuple[Tensor, list[Any]]:
    """As :func:`read_images`, but float32 (k, 1, H, W), 1 where the image is light and 0 where it is dark.

    Of one colour on transparency: 1 where that is. A picture in colours is refused: nothing says what in it holds.
    """
    rows, records = read_images(name, shape, values, most, fit, _mask_greys)
    return (rows >= 0).float(), records


def _mask_greys(image: Image.Image, channels: int | None) -> Image.Image:
    """A picture of a mask as mode "L"."""
    front = upright(image)
    if front.mode in ("LA", "PA", "RGBA") or "transparency" in front.info:
        pixels = np.asarray(front.convert("RGBA"))
        drawn = pixels[..., 3] > 0
        if not drawn.all() and (pixels[drawn][:, :3] == pixels[drawn][:1, :3]).all():
            return Image.fromarray(np.ascontiguousarray(pixels[..., 3]))
    shown = eight_bit(image, None)
    if shown.mode == "RGB":
        values = np.asarray(shown).astype(np.int16)
        if int((values.max(-1) - values.min(-1)).max(initial=0)) > _COLOURFUL:
            raise UsageError("a picture in colour, and no mask; a mask is white where it holds and black elsewhere")
    return eight_bit(image, 1)


def image_files(name: str, path: Path) -> list[Path]:
    """`path`, or the image files below it, sorted; :class:`UsageError` if there is none."""
    if not path.is_dir():
        if not os.path.lexists(path):
            raise UsageError(f"{name}: there is no file or directory {path}")
        return [path]
    listing = list_images(path)
    if not listing.files:
        raise UsageError(f"{name}: no images in {path}: found {listing.describe_others()}")
    return [path / file for file in listing.files]


def _sources(name: str, values: Sequence[Any]) -> list[Any]:
    """One entry an image: a Path, a Pillow image, or a tensor (C, H, W)."""
    sources: list[Any] = []
    for value in values:
        if isinstance(value, str) and not value.strip():
            raise UsageError(f"{name}: an empty path; give an image file or a directory of images.")
        if isinstance(value, str | os.PathLike):
            sources += image_files(name, Path(value).expanduser())
        elif isinstance(value, Image.Image):
            sources.append(value)
        elif isinstance(value, Tensor | np.ndarray):
            sources += _unstacked(name, value)
        else:
            wanted = "a path, a Pillow image, an array or a tensor"
            raise UsageError(f"{name}: no image but of type {type(value).__name__}; give {wanted}.")
    return sources


def _unstacked(name: str, value: Tensor | np.ndarray) -> list[Tensor]:
    if isinstance(value, Tensor):
        images, order = value.detach().cpu(), "(C, H, W) or (N, C, H, W)"
    else:
        if value.dtype.kind not in "uif" or (value.dtype.kind in "ui" and value.dtype != np.uint8):
            raise UsageError(f"{name}: an array of {value.dtype}; images are uint8, or floats in [-1, 1].")
        images, order = torch.from_numpy(np.array(value)), "(H, W), (H, W, C) or (N, H, W, C)"
        if images.dim() == 2:
            images = images[..., None]
        if images.dim() in (3, 4):
            images = images.movedim(-1, -3)
    if images.dim() == 3:
        images = images[None]
    if images.dim() != 4 or 0 in images.shape[1:]:
        raise UsageError(f"{name}: of shape {tuple(value.shape)}; images are {order}.")
    if images.dtype == torch.uint8:
        return list(to_float(images))
    if not images.is_floating_point():
        raise UsageError(
            f"{name}: of {str(images.dtype).removeprefix('torch.')}; images are uint8, or floats in [-1, 1]."
        )
    images = images.float()
    if not images.isfinite().all() or float(images.abs().max() if images.numel() else 0) > 1.001:
        low, high = float(images.min()), float(images.max())
        raise UsageError(f"{name}: values from {low:.4g} to {high:.4g}; images are floats in [-1, 1], or uint8.")
    return list(images)


def _as_model_takes(name: str, source: Any, shape: tuple[int, ...], fit: Fit, convert: Convert) -> Tensor:
    """float32 `shape` of one source."""
    channels, height, width = shape
    if isinstance(source, Tensor):
        return _fitted(_channels(name, source, channels), height, width, fit)
    if channels not in MODES:
        if not isinstance(source, Path):
            raise UsageError(f"{name}: this run's images have {channels} channels; give a TIFF file, or a tensor.")
        return to_float(decode_channels(source, (height, width), channels, fit))
    image = _opened(name, source, channels, 2 * max(height, width), convert)
    return to_float(to_tensor(resize(image, (height, width), fit)))


def _opened(name: str, source: Path | Image.Image, channels: int, at_least: int, convert: Convert) -> Image.Image:
    if isinstance(source, Path):
        return load(source, channels, at_least=at_least, convert=convert)
    try:
        source.load()
        return convert(source, channels)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    except Exception as error:  # Pillow's decoders raise a dozen kinds on broken files
        raise ImageError(f"{name}: not a readable image: {error}") from error


def _channels(name: str, image: Tensor, wanted: int) -> Tensor:
    try:
        return as_channels(image, wanted)
    except UsageError as error:
        raise UsageError(f"{name}: {error}.") from None


def _fitted(image: Tensor, height: int, width: int, fit: Fit) -> Tensor:
    """The largest centred part of the right proportions, or the whole image, at the size asked for."""
    if tuple(image.shape[1:]) == (height, width):
        return image
    if fit == "crop":
        scale = min(image.shape[1] / height, image.shape[2] / width)
        high, wide = max(1, round(height * scale)), max(1, round(width * scale))
        top, left = (image.shape[1] - high) // 2, (image.shape[2] - wide) // 2
        image = image[:, top : top + high, left : left + wide]
    size = (height, width)
    return resampled(image[None], lambda one: F.interpolate(one, size, mode="bicubic", antialias=True))[0].clamp(-1, 1)


__all__ = ["image_files", "read_images", "read_masks"]
