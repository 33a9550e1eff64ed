"""A photograph as its file has it: what a model is shown of it, and what must come back beside the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gankit.data.images import (
    MODES,
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

__all__ = ["Photo", "load_photo"]

_WITH_ALPHA = frozenset({".png", ".webp", ".tif", ".tiff"})
_WITH_SIXTEEN = frozenset({".png", ".tif", ".tiff"})


@dataclass(frozen=True)
class Photo:
    """What :func:`load_photo` read."""

    picture: Image.Image
    """Upright, in one of :data:`~gankit.data.images.MODES`, or "F" (0 ... 255) of 16-bit grey; transparency is laid on
    white where the model takes none."""
    alpha: Image.Image | None
    """Opacity, mode "L", for what comes back without its own; None: opaque."""
    own: np.ndarray
    """The file's own pixels, whatever their opacity: uint8 (H, W, C), or uint16 (H, W, 1)."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.picture.height, self.picture.width

    def shown(self, size: tuple[int, int] | None = None) -> Tensor:
        """What a model is shown: float32 (C, H, W) in [-1, 1], stretched to `size` (height, width) if given."""
        return _floats(self.picture if size is None else _stretched(self.picture, size))

    def result(self, image: Tensor, target: Path, own_size: bool, keep: Tensor | None = None) -> np.ndarray:
        """Pixels for the file `target` of what became of this photograph, float (1, 3 or 4, h, w) in [-1, 1].

        With `own_size` stretched to the size of the photograph. With the image's own opacity or the photograph's, and
        in 16 bits if that has them and the image is grey, where the format can; without, opacity is laid on white.
        Where `keep` (H, W) holds, the photograph's own pixels.
        """
        suffix = target.suffix.lower()
        size = self.size if own_size else (image.shape[1], image.shape[2])
        deep = self.own.dtype == np.uint16 and image.shape[0] == 1 and suffix in _WITH_SIXTEEN
        image = image.detach().float().nan_to_num(nan=0.0).clamp(-1, 1)
        if tuple(image.shape[1:]) != size:
            image = resampled(image[None], lambda one: _stretched_pixels(one, size))[0]
        values = image.add(1).mul(127.5).numpy()
        scaled = np.rint(values.transpose(1, 2, 0) * (257 if deep else 1)).clip(0, 65535 if deep else 255)
        pixels = scaled.astype(np.uint16 if deep else np.uint8)
        if keep is not None:
            own = self.own if deep or self.own.dtype == np.uint8 else np.rint(self.own / 257).astype(np.uint8)
            pixels = np.where(keep.numpy()[..., None], own, pixels)
        if pixels.shape[2] == 4 and suffix not in _WITH_ALPHA:
            return np.asarray(eight_bit(Image.fromarray(pixels), 3))
        if self.alpha is not None and pixels.shape[2] < 4 and not deep and suffix in _WITH_ALPHA:
            alpha = self.alpha if self.size == size else _stretched(self.alpha, size)
            pixels = np.concatenate([pixels, np.asarray(alpha)[..., None]], 2)
        return pixels


def load_photo(path: str | Path, channels: int) -> Photo:
    """The image file, of 1, 3 or 4 channels. What :func:`~gankit.data.images.load` says of formats and errors holds."""
    return load_as(path, channels, _photo)


def _photo(image: Image.Image, channels: int | None) -> Photo:
    turned, mode = upright(image), MODES[channels or 3]
    alpha = turned.convert("RGBA").getchannel("A") if has_alpha(turned) else None
    if has_sixteen_bits(image) and channels == 1:
        own = sixteen_bits(image)
        return Photo(Image.fromarray((own / 257).astype(np.float32)), alpha, own[..., None])
    picture = eight_bit(image, channels)
    own = np.asarray(turned.convert("RGBA").convert(mode) if alpha is not None else picture)
    return Photo(picture, alpha, own[..., None] if own.ndim == 2 else own)


def _stretched(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if (image.height, image.width) == size:
        return image
    return image.resize((size[1], size[0]), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _stretched_pixels(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Float (N, C, h, w) at `size`, as :func:`_stretched` does it."""
    planes = [np.asarray(_stretched(Image.fromarray(plane), size)) for plane in images.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(planes)).unflatten(0, images.shape[:2])


def _floats(image: Image.Image) -> Tensor:
    if image.mode != "F":
        return to_float(to_tensor(image))
    return torch.from_numpy(np.array(image)[None]).div_(127.5).sub_(1)
