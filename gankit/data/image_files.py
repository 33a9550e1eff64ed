"""Image files written: whole or not at all, of the kind that their name says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gankit.data.deep import encode_deep
from gankit.data.images import to_uint8
from gankit.errors import GankitError, UsageError
from gankit.files import write_whole

__all__ = ["encoded", "write_image", "write_png"]

_KINDS = dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG") | dict.fromkeys((".tif", ".tiff"), "TIFF")
_KINDS |= {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"}
_SETTINGS: dict[str, dict[str, int]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}


def write_png(path: str | Path, image: Tensor | np.ndarray, *, overwrite: bool = True) -> None:
    """Write a PNG file, whatever its name ends in. For the rest see :func:`write_image`."""
    _write(Path(path), image, "PNG", overwrite)


def write_image(path: str | Path, image: Tensor | np.ndarray, *, overwrite: bool = False, opacity: bool = True) -> None:
    """Write an image file of the kind that the name's ending says (jpg, png, webp, tiff, bmp): whole or not at all.

    `image`: uint8 (H, W) or (H, W, 1 or 3), or 2 or 4 with opacity, which JPEG and BMP have not; uint16 of these, for
    PNG and TIFF; either of more channels, or of two without `opacity`, for TIFF; or float (C, H, W) in [-1, 1]. JPEG
    and WebP are written at quality 95, JPEG with colours at full resolution; the others are lossless. A
    :class:`UsageError` for another ending, or where a format has no such images, and, unless told to `overwrite`, if
    the file exists; an OSError that names `path` if it cannot be written.
    """
    path = Path(path)
    if (kind := _KINDS.get(path.suffix.lower())) is None:
        raise UsageError(f"{path}: not the name of an image; let it end in {' '.join(sorted(_KINDS))}")
    _write(path, image, kind, overwrite, opacity)


def _write(path: Path, image: Tensor | np.ndarray, kind: str, overwrite: bool, opacity: bool = True) -> None:
    pixels = _for_file(image)
    try:
        data = encoded(pixels, kind, opacity)
    except (OSError, ValueError) as error:  # more pixels a side than the format has: 65,500 (JPEG), 16,383 (WebP)
        what = f"{kind} of {pixels.shape[1]} x {pixels.shape[0]} ({error})"
        raise GankitError(f"cannot write {path}: {what}") from error
    except UsageError as error:
        raise UsageError(f"cannot write {path}: {error}") from None
    try:
        write_whole(path, data, overwrite=overwrite)
    except FileExistsError:
        raise UsageError(f"{path} exists already; name another file or remove it") from None


def encoded(pixels: np.ndarray, kind: str, opacity: bool) -> bytes | memoryview:
    """The content of an image file of the `kind` PNG, TIFF, ... of `pixels`; see :func:`write_image`."""
    channels, bits = 1 if pixels.ndim == 2 else pixels.shape[2], 8 * pixels.itemsize
    if (bits == 16 and kind not in ("PNG", "TIFF")) or (channels in (2, 4) and kind in ("JPEG", "BMP")):
        raise UsageError(f"{kind} holds no image of {channels} channels and {bits} bits: use .tif")
    if channels > 4 or (channels == 2 and not opacity) or (channels > 1 and pixels.dtype == np.uint16):
        return encode_deep(pixels, kind, opacity)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind, **_SETTINGS.get(kind, {}))
    return data.getbuffer()


def _for_file(image: Tensor | np.ndarray) -> np.ndarray:
    """uint8 or uint16, (H, W) or (H, W, 2 channels or more)."""
    if isinstance(image, Tensor) or image.dtype.kind == "f":
        image = torch.as_tensor(image)
        if image.is_floating_point() and image.ndim == 3:
            image = to_uint8(image).permute(1, 2, 0)
        image = image.detach().cpu().numpy()
    if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3) or 0 in image.shape:
        kinds = "uint8 or uint16 (H, W) or (H, W, C), or float (C, H, W)"
        raise ValueError(f"image must be {kinds}, got {image.dtype} {tuple(image.shape)}")
    return np.ascontiguousarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
