"""A photograph as its file has it: what a model is shown of it, and what must come back beside the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gankit.data.deep import DeepImage
from gankit.data.images import (
    MODES,
    ImageError,
    eight_bit,
    has_alpha,
    has_sixteen_bits,
    load_as,
    sixteen_bits,
    to_float,
    to_tensor,
    upright,
)
from gankit.data.opacity import resampled
from gankit.data.planes import load_deep, whole
from gankit.errors import UsageError

__all__ = ["Photo", "load_photo"]

_WITH_ALPHA = frozenset({".png", ".webp", ".tif", ".tiff"})
_WITH_SIXTEEN = frozenset({".png", ".tif", ".tiff"})


@dataclass(frozen=True)
class Photo:
    """What :func:`load_photo` read."""

    picture: Image.Image | Tensor
    """Upright, in one of :data:`~gankit.data.images.MODES`, or, of 16 bits or other numbers of channels, float32
    (C, H, W) in [-1, 1]; transparency is laid on white where the model takes none."""
    alpha: Image.Image | None
    """Opacity, mode "L", or "F" (0 ... 255) of 16 bits, for what comes back without its own; None: opaque."""
    own: np.ndarray
    """The file's own pixels, whatever their opacity: uint8 or uint16 (H, W, C)."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.own.shape[0], self.own.shape[1]

    def shown(self, size: tuple[int, int] | None = None) -> Tensor:
        """What a model is shown: float32 (C, H, W) in [-1, 1], stretched to `size` (height, width) if given."""
        if isinstance(self.picture, Tensor):
            return self.picture if size in (None, self.size) else _resampled(self.picture, size)
        return to_float(to_tensor(self.picture if size is None else _stretched(self.picture, size)))

    def result(self, image: Tensor, target: Path, own_size: bool, keep: Tensor | None = None) -> np.ndarray:
        """Pixels for the file `target` of what became of this photograph, float (C, h, w) in [-1, 1].

        With `own_size` stretched to the size of the photograph. With the image's own opacity or the photograph's, and
        in 16 bits if that has them, where the format can; without, opacity is laid on white. Where `keep` (H, W) holds,
        the photograph's own pixels.
        """
        suffix = target.suffix.lower()
        size = self.size if own_size else (image.shape[1], image.shape[2])
        deep = self.own.dtype == np.uint16 and suffix in _WITH_SIXTEEN
        image = image.detach().float().nan_to_num(nan=0.0).clamp(-1, 1)
        if tuple(image.shape[1:]) != size:
            image = _resampled(image, size)
        pixels = _rounded(image.add(1).mul(127.5).numpy().transpose(1, 2, 0), deep)
        if keep is not None:
            own = self.own if deep or self.own.dtype == np.uint8 else np.rint(self.own / 257).astype(np.uint8)
            pixels = np.where(keep.numpy()[..., None], own, pixels)
        if pixels.shape[2] == 4 and suffix not in _WITH_ALPHA:
            return np.asarray(eight_bit(Image.fromarray(pixels), 3))
        if self.alpha is not None and pixels.shape[2] in (1, 3) and suffix in _WITH_ALPHA:
            alpha = np.asarray(_stretched(self.alpha, size), np.float32)
            pixels = np.concatenate([pixels, _rounded(alpha[..., None], deep)], 2)
        return pixels


def load_photo(path: str | Path, channels: int) -> Photo:
    """The image file, for a model of `channels`.

    What :func:`~gankit.data.images.load` says of formats and errors holds; more than four channels, or two, are of a
    TIFF file of so many, or of a PNG file.
    """
    image = load_deep(path) if channels in MODES else whole(path, channels)
    if image is None:
        return load_as(path, channels, _photo)
    try:
        return _deep_photo(image, channels)
    except UsageError as error:
        raise ImageError(f"{path}: {error}") from None


def _photo(image: Image.Image, channels: int | None) -> Photo:
    turned, mode = upright(image), MODES[channels or 3]
    alpha = turned.convert("RGBA").getchannel("A") if has_alpha(turned) else None
    if has_sixteen_bits(image):
        return replace(_deep_photo(DeepImage(sixteen_bits(image)[..., None], False), channels or 3), alpha=alpha)
    picture = eight_bit(image, channels)
    own = np.asarray(turned.convert("RGBA").convert(mode) if alpha is not None else picture)
    return Photo(picture, alpha, own[..., None] if own.ndim == 2 else own)


def _deep_photo(image: DeepImage, channels: int) -> Photo:
    alpha = None
    if image.opacity:
        most = np.float32(np.iinfo(image.pixels.dtype).max / 255)
        alpha = Image.fromarray(np.ascontiguousarray(image.pixels[..., -1]) / most)
    return Photo(image.floats(channels), alpha, image.own(channels))


def _rounded(values: np.ndarray, deep: bool) -> np.ndarray:
    """0 ... 255 as uint8, or as uint16 of which 65535 is white."""
    most = 65535 if deep else 255
    return np.rint(values * (most / 255)).clip(0, most).astype(np.uint16 if deep else np.uint8)


def _resampled(image: Tensor, size: tuple[int, int]) -> Tensor:
    return resampled(image[None], lambda one: _stretched_pixels(one, size))[0]


def _stretched(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if (image.height, image.width) == size:
        return image
    return image.resize((size[1], size[0]), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _stretched_pixels(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Float (N, C, h, w) at `size`, as :func:`_stretched` does it."""
    planes = [np.asarray(_stretched(Image.fromarray(plane), size)) for plane in images.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(planes)).unflatten(0, images.shape[:2])
