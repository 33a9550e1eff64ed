"""Image files of which Pillow keeps a part: 16 bits of each colour, two channels, more than four."""

from __future__ import annotations

import io
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

_PNG, _TIFF = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _EXTRA, _FORMAT = 256, 257, 258, 262, 274, 277, 338, 339
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

    @property
    def colours(self) -> np.ndarray:
        """The channels but for opacity."""
        return self.pixels[..., :-1] if self.opacity else self.pixels

    def floats(self, channels: int) -> Tensor:
        """float32 (`channels`, H, W) in [-1, 1]; :class:`UsageError` if they cannot be had from those there are.

        Grey becomes colour and colour grey, opacity is laid on white where it is not asked for.
        """
        values = _floats(self.pixels)
        if channels not in (1, 3, 4) or not self.opacity:
            return as_channels(values, channels)
        return as_channels(torch.cat([values[:-1].expand(3, -1, -1), values[-1:]]), channels)

    def own(self, channels: int) -> np.ndarray:
        """Of :attr:`pixels`' type, (H, W, `channels`): what is invisible keeps its colours."""
        shown = self.pixels if channels not in (1, 3) else self.colours
        if shown.shape[2] == channels:
            return shown
        most = np.iinfo(shown.dtype).max
        values = as_channels(_floats(shown), channels).add(1).mul(most / 2).numpy()
        return np.rint(values.transpose(1, 2, 0)).astype(shown.dtype)


def decode_deep(file: io.BufferedReader) -> DeepImage | None:
    """The PNG or TIFF file, if it has 16 bits of several channels, two channels, or more than four; None of others.

    Raises whatever the decoder does.
    """
    start = file.peek(26)[:26]
    if start[:8] == _PNG and start[24:25] == b"\x10":
        return _from_png(file.read())
    return _from_tiff(file.read()) if start[:4] in _TIFF else None


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
    with Image.open(io.BytesIO(data), formats=["PNG"]) as header:
        channels = {0: 1, 2: 3, 4: 2, 6: 4}.get(data[25], 0)
        if channels < 2 or "transparency" in header.info:
            return None
        _check_size(header.width, header.height, 2 * channels)
        orientation = header.getexif().get(_ORIENTATION)
    return DeepImage(_upright(imagecodecs.png_decode(data), orientation), channels in (2, 4))


def _from_tiff(data: bytes) -> DeepImage | None:
    tags = _tags(data)
    bits, samples = tags.get(_BITS) or (1,), tags.get(_SAMPLES, 1)
    kind = tags.get(_PHOTOMETRIC)
    whole = set(tags.get(_FORMAT) or (1,)) == {1} and len({*bits}) == 1
    if not whole or kind not in (_GREY, _COLOUR) or samples < 2 or bits[0] not in (8, 16):
        return None
    if bits[0] == 8 and samples in (3, 4) and kind == _COLOUR:
        return None
    _check_size(tags[_WIDTH], tags[_HEIGHT], samples * bits[0] // 8)
    shape = tags[_HEIGHT], tags[_WIDTH], samples
    pixels = imagecodecs.tiff_decode(data, index=0)
    if pixels.shape != shape:  # channel by channel
        pixels = np.moveaxis(pixels.reshape(samples, *shape[:2]), 0, -1)
    extra = tuple(tags.get(_EXTRA) or ())
    opacity = extra[:1] if samples == (1 if kind == _GREY else 3) + 1 else ()
    if opacity == (_PREMULTIPLIED,):
        pixels = _divided(pixels)
    return DeepImage(_upright(pixels, tags.get(_ORIENTATION)), opacity in ((_PREMULTIPLIED,), (_OPACITY,)))


def _tags(data: bytes) -> Mapping[int, Any]:
    """The tags of a TIFF file's first image."""
    header = data[:16] if data[2:4] in (b"+\0", b"\0+") else data[:8]
    tags, stream = ImageFileDirectory_v2(header), io.BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def _check_size(width: int, height: int, of_a_pixel: int) -> None:
    if width < 1 or height < 1 or width * height * of_a_pixel > _MOST:
        raise ValueError(f"{width} x {height} pixels of {of_a_pixel} bytes are more than {_MOST >> 20} MiB")


def _upright(pixels: np.ndarray, orientation: Any) -> np.ndarray:
    return np.ascontiguousarray(_TURNED.get(orientation, lambda a: a)(pixels))


def _divided(pixels: np.ndarray) -> np.ndarray:
    """Pixels whose colours are multiplied by their opacity, without that."""
    most = np.iinfo(pixels.dtype).max
    opacity = pixels[..., -1:].astype(np.float64)
    white = np.full(pixels[..., :-1].shape, float(most))
    colours = np.divide(pixels[..., :-1] * float(most), opacity, out=white, where=opacity > 0)
    return np.concatenate([np.rint(colours).clip(0, most).astype(pixels.dtype), pixels[..., -1:]], -1)


def _planes(pixels: np.ndarray) -> list[np.ndarray]:
    return list(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))


def _floats(pixels: np.ndarray) -> Tensor:
    """float32 (C, H, W) in [-1, 1]."""
    scale = np.float32(np.iinfo(pixels.dtype).max / 2)
    return torch.from_numpy(np.stack(_planes(pixels)) / scale).sub_(1)
