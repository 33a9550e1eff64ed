"""Images: files to uint8 tensors, uint8 to float in [-1, 1] and back."""

from __future__ import annotations

import errno
import io
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, cast

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gankit.data.deep import decode_deep
from gankit.errors import GankitError, UsageError
from gankit.files import open_regular

__all__ = [
    "MODES",
    "Content",
    "Convert",
    "Fit",
    "ImageError",
    "at_once",
    "decode",
    "eight_bit",
    "has_alpha",
    "has_sixteen_bits",
    "load",
    "load_as",
    "readable",
    "resize",
    "sixteen_bits",
    "to_float",
    "to_tensor",
    "to_uint8",
    "upright",
]

Convert = Callable[[Image.Image, int | None], Image.Image]
"""From a picture that was just loaded, and channels, to 8 bits a channel: as :func:`eight_bit`."""
Fit = Literal["crop", "pad", "stretch"]
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Channels of a picture in a file, grey, colour or colour with opacity, and what Pillow calls such a one."""
T = TypeVar("T")

# an image beyond Pillow's limit is an error of ours, one close to it is nobody's concern
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Content:
    """An image file that stands in another file, as functions here take it in place of a path."""

    name: str
    """What errors call it."""
    data: bytes

    def __str__(self) -> str:
        return self.name


class ImageError(GankitError):
    """A file cannot be read as an image. The message names it."""


def load(
    path: str | Path | Content,
    channels: int | None = None,
    *,
    at_least: int | None = None,
    convert: Convert | None = None,
) -> Image.Image:
    """The image file as 8 bits a channel, in one of :data:`MODES`.

    JPEG, PNG, WebP, TIFF, BMP, known by their content; the first frame of several. Turned upright as its EXIF says.
    Transparency is laid on white, unless its channel is asked for too. 16-bit grey is scaled (not clipped), CMYK
    converted without a colour profile. Floats within [0, 1] count as fractions of white; other floats and 32-bit
    integers, for which there is no agreed range, are stretched from the image's least value to its greatest unless they
    lie within 0 ... 255.

    `channels` None keeps grey grey and makes everything else RGB. With `at_least` the decoder may return a smaller
    version (JPEG), of which both sides are still at least that long. `convert` stands in for :func:`eight_bit`. Raises
    :class:`ImageError`.
    """
    return load_as(path, channels, convert or eight_bit, at_least=at_least)


def load_as(
    path: str | Path | Content,
    channels: int | None,
    convert: Callable[[Image.Image, int | None], T],
    *,
    at_least: int | None = None,
) -> T:
    """What `convert` makes of the picture that was just loaded; for the rest see :func:`load`."""
    if channels is not None and channels not in MODES:
        raise UsageError(f"channels must be 1, 3 or 4, got {channels}")
    with readable(path) as file:
        if (deep := decode_deep(file)) is not None:
            return convert(deep.picture(channels), channels)
        with Image.open(file, formats=_FORMATS) as image:
            if at_least and min(image.size) > at_least:
                image.draft(None, (at_least, at_least))  # None: the mode stays
            image.load()
            return convert(image, channels)


@contextmanager
def readable(path: str | Path | Content) -> Iterator[io.BufferedReader]:
    """The file, open; whatever a decoder then raises becomes an :class:`ImageError` that names it."""
    try:
        with _opened(path) as file:
            yield _not_empty(file)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except Exception as error:  # decoders raise a dozen kinds on broken files
        raise ImageError(f"{path}: {_reason(error)}") from error


def _opened(path: str | Path | Content) -> io.BufferedReader:
    if isinstance(path, Content):
        return io.BufferedReader(cast(io.RawIOBase, io.BytesIO(path.data)))
    return open_regular(path)


def _not_empty(file: io.BufferedReader) -> io.BufferedReader:
    if not file.peek(1):
        raise OSError(errno.ENODATA, "it is empty")
    return file


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a readable image"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def upright(image: Image.Image) -> Image.Image:
    """`image` turned as its EXIF says."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block does not make the picture unreadable
        return image


def eight_bit(image: Image.Image, channels: int | None) -> Image.Image:
    """`image`, just loaded, upright and of so many `channels`; see :func:`load`."""
    mode = MODES[channels or (1 if image.mode in _GREY_MODES else 3)]
    turned = upright(image)
    if has_sixteen_bits(image):
        scaled = (sixteen_bits(image).astype(np.uint32) * 255 + 32767) // 65535  # Pillow's own conversion clips
        turned = Image.fromarray(scaled.astype(np.uint8))
    elif image.mode in ("I", "F"):
        turned = Image.fromarray(_any_range(np.asarray(turned), fractions=image.mode == "F"))
    if has_alpha(turned) and mode != "RGBA":
        front = turned.convert("RGBA")
        turned = Image.new("RGBA", front.size, (*_WHITE, 255))
        turned.alpha_composite(front)
    return turned if turned.mode == mode else turned.convert(mode)


def has_alpha(image: Image.Image) -> bool:
    """Whether some of `image` may be transparent."""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def has_sixteen_bits(image: Image.Image) -> bool:
    """Whether `image`, just loaded, is grey of 16 bits."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")  # "I": older Pillow's


def sixteen_bits(image: Image.Image) -> np.ndarray:
    """Such an image upright, 0 black and 65535 white: uint16 (H, W)."""
    values = np.asarray(upright(image)).astype(np.uint16)
    return 65535 - values if _zero_is_white(image) else values


def _zero_is_white(image: Image.Image) -> bool:
    """Whether a TIFF file says so of its greys, which Pillow heeds at 8 bits and not at 16."""
    photometric_interpretation = 262
    return image.format == "TIFF" and getattr(image, "tag_v2", {}).get(photometric_interpretation) == 0


def _any_range(values: np.ndarray, *, fractions: bool) -> np.ndarray:
    """Greys of no agreed range as 0 ... 255; see :func:`load`."""
    floats = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = floats.min(), floats.max()
    if fractions and low >= 0 and high <= 1:
        floats = floats * 255
    elif low < 0 or high > 255:
        floats = (floats - low) * (255 / max(high - low, 1e-300))
    return np.rint(floats).clip(0, 255).astype(np.uint8)


def resize(image: Image.Image, size: tuple[int, int], fit: Fit = "crop") -> Image.Image:
    """`image`, in one of :data:`MODES`, at `size` (height, width), by an antialiased Lanczos filter.

    ``crop`` keeps the largest centred part of the right proportions, ``pad`` keeps everything and fills with white, or
    with nothing where there is opacity, ``stretch`` changes the proportions.
    """
    height, width = size
    if height < 1 or width < 1:
        raise UsageError(f"size must be at least 1, got {height} x {width}")
    lanczos, gap = Image.Resampling.LANCZOS, 3.0
    if fit == "stretch":
        return image.resize((width, height), lanczos, reducing_gap=gap)
    if fit == "crop":
        scale = min(image.width / width, image.height / height)
        left, top = max(0.0, (image.width - width * scale) / 2), max(0.0, (image.height - height * scale) / 2)
        box = (left, top, min(left + width * scale, image.width), min(top + height * scale, image.height))
        return image.resize((width, height), lanczos, box=box, reducing_gap=gap)
    if fit == "pad":
        scale = max(image.width / width, image.height / height)
        inner = (max(1, min(width, round(image.width / scale))), max(1, min(height, round(image.height / scale))))
        result = Image.new(image.mode, (width, height), (*_WHITE, 0) if image.mode == "RGBA" else "white")
        result.paste(
            image.resize(inner, lanczos, reducing_gap=gap), ((width - inner[0]) // 2, (height - inner[1]) // 2)
        )
        return result
    raise UsageError(f"fit must be crop, pad or stretch, got {fit!r}")


def decode(path: str | Path, channels: int | None = None) -> Tensor:
    """The image file at its own size, uint8 (C, H, W). What :func:`load` says of formats holds."""
    return to_tensor(load(path, channels))


def to_tensor(image: Image.Image) -> Tensor:
    """An image in one of :data:`MODES` as uint8 (C, H, W). What is invisible is white, whatever its colour was."""
    array = np.array(image)  # a copy that torch may own
    if image.mode == "RGBA":
        array[array[..., 3] == 0] = (*_WHITE, 0)
    return torch.from_numpy(array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1)))


def at_once(shape: tuple[int, ...], most: int = 64) -> int:
    """How many images of `shape` (C, H, W) are held as floats at once: `most`, fewer of those above 3 x 128 x 128."""
    return max(1, min(most, 64 * 3 * 128 * 128 // max(1, math.prod(shape))))


def to_float(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 images as floats: 0 -> -1, 255 -> 1, of the same shape and memory format."""
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}")
    return images.to(dtype).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Float images in [-1, 1] as uint8, values outside clamped, NaN as mid-grey. Undoes :func:`to_float` exactly."""
    if not images.is_floating_point():
        raise TypeError(f"images must be of a floating-point type, got {images.dtype}")
    return images.detach().float().nan_to_num(nan=0.0).add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
