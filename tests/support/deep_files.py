"""Pixels of 16 bits or many channels, and TIFF files of them."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np


def pixels(channels: int, dtype: type = np.uint16, height: int = 21, width: int = 34) -> np.ndarray:
    most = np.iinfo(dtype).max
    return np.random.default_rng(3).integers(0, most + 1, (height, width, channels)).astype(dtype)


def tiff(path: Path, values: np.ndarray, **options: object) -> Path:
    path.write_bytes(imagecodecs.tiff_encode(values, **options))
    return path
