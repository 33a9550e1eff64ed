"""Values of a batch as the files of a shard, and back."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gankit.data.deep import decode_deep
from gankit.data.image_files import encoded
from gankit.data.text import decode_text, encode_text
from gankit.plugin import Key

__all__ = ["member_of", "packed", "unpacked"]

_PNG = (1, 3, 4)
"""Channels that a PNG file has; others are TIFF."""
_BARE = {"image": "image", "label": "class", "text": "text"}
"""Keys whose files are named by their extension alone, as WebDataset has it, if they are of that kind."""


def member_of(name: str, key: Key) -> str:
    """The extension under which the key `name` is packed: ``png``, ``a.png``, ``cls``, ``txt``, ``box.npy``."""
    if key.kind in ("image", "mask"):
        own = "png" if key.shape[0] in _PNG else "tif"
    else:
        own = {"class": "cls", "text": "txt"}.get(key.kind, "npy")
    return own if _BARE.get(name) == key.kind else f"{name}.{own}"


def packed(key: Key, value: Tensor) -> bytes:
    """The content of the file of one `value` of a key, as a dataset delivers it. Nothing of it is lost."""
    if key.kind in ("image", "mask"):
        pixels = np.ascontiguousarray(value.permute(1, 2, 0).numpy())
        grey = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
        opacity = pixels.shape[2] == 4
        return bytes(encoded(grey, "PNG" if pixels.shape[2] in _PNG else "TIFF", opacity))
    if key.kind == "class":
        return str(int(value)).encode()
    if key.kind == "text":
        return decode_text(value[None])[0].encode()
    data = io.BytesIO()
    np.save(data, value.numpy(), allow_pickle=False)
    return data.getvalue()


def unpacked(key: Key, data: bytes) -> Tensor:
    """The reverse of :func:`packed`. ValueError, or whatever a decoder raises, if `data` is no such value."""
    if key.kind in ("image", "mask"):
        if key.shape[0] in _PNG:
            pixels = np.array(Image.open(io.BytesIO(data), formats=("PNG",)))
        else:
            deep = decode_deep(io.BufferedReader(io.BytesIO(data)))
            pixels = np.empty(0) if deep is None else np.array(deep.pixels)
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        if pixels.dtype != np.uint8 or pixels.shape != (*key.shape[1:], key.shape[0]):
            raise ValueError(f"an image of {pixels.shape}, {pixels.dtype}, where {key.shape} is asked for")
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    if key.kind == "class":
        number = int(data)
        if not 0 <= number < len(key.names):
            raise ValueError(f"class {number}, of {len(key.names)}")
        return torch.tensor(number)
    if key.kind == "text":
        return encode_text([data.decode()], key.shape[0])[0]
    value = np.load(io.BytesIO(data), allow_pickle=False)
    if value.shape != key.shape or value.dtype != np.float32:
        raise ValueError(f"{value.dtype} of {value.shape}, where float32 of {key.shape} is asked for")
    return torch.from_numpy(value)
