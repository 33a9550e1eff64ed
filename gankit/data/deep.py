"""Image files of which Pillow keeps a part: 16 bits of each colour, two channels, more than four."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import torch
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from torch import Tensor

from gankit.data.opacity import as_channels
from gankit.errors import UsageError

__all__ = ["DeepImage", "decode_deep", "encode_deep"]

# of what is wrong with a file its error says enough
warnings.filterwarnings("ignore", "Corrupt EXIF data|Truncated File Read", category=UserWarning)

_PNG, _TIFF = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 262, 274
_SAMPLES, _PLANES, _EXTRA, _FORMAT = 277, 284, 338, 339
_GREY, _COLOUR = 1, 2
_PREMULTIPLIED, _OPACITY = 1, 2
_MOST = 8 * (Image.MAX_IMAGE_PIXELS or 1 << 27)
"""Bytes of pixels, beyond which a file is not read, whatever it says of itself."""
_TURNED = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""What EXIF's numbers for the way a camera was held ask for."""


@dataclass(frozen=True)
class DeepImage:
    """Pixels that were not rounded."""

    pixels: np.ndarray
    """uint8 or uint16 (H, W, C), upright."""
    opacity: bool
    """Whether the last channel is that."""

    def floats(self, channels: int) -> Tensor:
        """float32 (`channels`, H, W) in [-1, 1]; :class:`UsageError` if they cannot be had from those there are.

        Of 1, 3 and 4 channels grey becomes colour and colour grey; opacity is laid on white where it is not asked for,
        and what is invisible is white. Of other numbers just so many are there.
        """
        self._check(channels)
        values = _floats(self.pixels)
        if channels not in (1, 3, 4) or not self.opacity:
            return as_channels(values, channels)
        values = as_channels(torch.cat([values[:-1].expand(3, -1, -1), values[-1:]]), channels)
        if channels == 4:
            values[:3].masked_fill_(values[3:] == -1, 1.0)
        return values

    def own(self, channels: int) -> np.ndarray:
        """Of :attr:`pixels`' type, (H, W, `channels`): what is invisible keeps its colours."""
        shown = self.pixels
        if self.opacity and channels in (1, 3):
            shown = shown[..., :-1]
        elif self.opacity and channels == 4:
            shown = shown[..., [0, 0, 0, 1]] if shown.shape[2] == 2 else shown
        if shown.shape[2] == channels:
            return shown
        most = np.iinfo(shown.dtype).max
        values = as_channels(_floats(shown), channels).add(1).mul(most / 2).numpy()
        return np.rint(values.transpose(1, 2, 0)).astype(shown.dtype)

    def picture(self, channels: int | None) -> Image.Image:
        """With 8 bits a channel, of mode LA, RGB or RGBA, to be brought to `channels`; errors as of :meth:`floats`."""
        self._check(channels if channels is not None else 3)
        pixels = self.pixels
        if pixels.dtype == np.uint16:
            pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        return Image.fromarray(np.ascontiguousarray(pixels))

    def _check(self, channels: int) -> None:
        have = self.pixels.shape[2]
        if channels not in (1, 3, 4):
            fits = have == channels
        else:
            fits = have == 3 or (self.opacity and have in (2, 4)) or have == 1
        if not fits:
            without = ", none of them opacity," if have in (2, 4) else ""
            raise UsageError(f"an image of {have} channels{without} where {channels} are asked for")


def decode_deep(file: io.BufferedReader) -> DeepImage | None:
    """The PNG or TIFF file, if it has 16 bits of several channels, two channels, or more than four; None of others.

    Of others no more is read than says so. Raises whatever the decoder does.
    """
    start = file.peek(26)[:26]
    if start[:8] == _PNG and start[24:25] == b"\x10" and start[25:26] in b"\2\4\6":
        return _from_png(file.read())
    return _from_tiff(file, start) if start[:4] in _TIFF else None


def encode_deep(pixels: np.ndarray, kind: str, opacity: bool = True) -> bytes:
    """uint8 or uint16 (H, W, C) as a PNG or TIFF file. Of four channels, and of two with `opacity`, the last is that.

    A :class:`UsageError` for a `kind` of file that cannot hold them.
    """
    channels = pixels.shape[2]
    seen_through = channels == 4 or (channels == 2 and opacity)
    if kind == "PNG" and (channels in (1, 3) or seen_through):
        return bytes(imagecodecs.png_encode(pixels))
    if kind != "TIFF":
        raise UsageError(f"{kind} holds no image of {channels} channels and {8 * pixels.itemsize} bits: use .tif")
    settings: dict[str, Any] = {"photometric": "rgb" if channels in (3, 4) else "minisblack", "planarconfig": "contig"}
    if channels not in (1, 3):
        settings["extrasample"] = "unassalpha" if seen_through else "unspecified"
    return bytes(imagecodecs.tiff_encode(pixels, compression="deflate", **settings))


def _from_png(data: bytes) -> DeepImage | None:
    channels = {2: 3, 4: 2, 6: 4}[data[25]]
    with Image.open(io.BytesIO(data), formats=["PNG"]) as header:
        if "transparency" in header.info:
            return None
        _check_size(header.width, header.height, 2 * channels)
        try:
            orientation = header.getexif().get(_ORIENTATION)
        except Exception:  # a broken EXIF block does not make the picture unreadable
            orientation = None
    return DeepImage(_upright(imagecodecs.png_decode(data), orientation), channels in (2, 4))


def _from_tiff(file: io.BufferedReader, start: bytes) -> DeepImage | None:
    tags = _tags(file, start)
    file.seek(0)
    bits, samples = tags.get(_BITS) or (1,), tags.get(_SAMPLES, 1)
    height, width, kind = tags.get(_HEIGHT), tags.get(_WIDTH), tags.get(_PHOTOMETRIC)
    if not (isinstance(height, int) and isinstance(width, int) and isinstance(samples, int)):
        return None
    whole = set(tags.get(_FORMAT) or (1,)) == {1} and len({*bits}) == 1
    if not whole or kind not in (_GREY, _COLOUR) or samples < 2 or bits[0] not in (8, 16):
        return None
    if bits[0] == 8 and samples in (3, 4) and kind == _COLOUR:
        return None
    _check_size(width, height, samples * bits[0] // 8)
    pixels = imagecodecs.tiff_decode(file.read(), index=0)
    if tags.get(_PLANES) == 2:  # channel by channel
        pixels = np.moveaxis(pixels.reshape(samples, height, width), 0, -1)
    pixels = pixels.reshape(height, width, samples)
    extra = tuple(tags.get(_EXTRA) or ())
    opacity = extra[:1] if samples == (1 if kind == _GREY else 3) + 1 else ()
    if opacity == (_PREMULTIPLIED,):
        pixels = _divided(pixels)
    return DeepImage(_upright(pixels, tags.get(_ORIENTATION)), opacity in ((_PREMULTIPLIED,), (_OPACITY,)))


def _tags(file: io.BufferedReader, start: bytes) -> Mapping[int, Any]:
    """The tags of a TIFF file's first image, by which Pillow knows them; ValueError if there are none."""
    try:
        tags = ImageFileDirectory_v2(start[:16] if start[2:4] in (b"+\0", b"\0+") else start[:8])
        file.seek(tags.next)
        tags.load(file)
    except Exception as error:  # of struct, of arithmetic, of Pillow's own checks
        raise ValueError("not a readable image") from error
    return tags


def _check_size(width: int, height: int, of_a_pixel: int) -> None:
    if width < 1 or height < 1 or width * height * of_a_pixel > _MOST:
        raise ValueError(f"{width} x {height} pixels of {of_a_pixel} bytes are more than {_MOST >> 20} MiB")


def _upright(pixels: np.ndarray, orientation: Any) -> np.ndarray:
    return np.ascontiguousarray(_TURNED.get(orientation, lambda a: a)(pixels))


def _divided(pixels: np.ndarray) -> np.ndarray:
    """Pixels whose colours are multiplied by their opacity, without that."""
    most, made = np.iinfo(pixels.dtype).max, pixels.copy()
    for row in made:
        opacity = row[:, -1:].astype(np.float32)
        colours = np.full(row[:, :-1].shape, float(most), np.float32)
        np.divide(row[:, :-1] * np.float32(most), opacity, out=colours, where=opacity > 0)
        row[:, :-1] = np.rint(colours).clip(0, most).astype(pixels.dtype)
    return made


def _floats(pixels: np.ndarray) -> Tensor:
    """float32 (C, H, W) in [-1, 1]."""
    scale = np.float32(np.iinfo(pixels.dtype).max / 2)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)) / scale).sub_(1)
