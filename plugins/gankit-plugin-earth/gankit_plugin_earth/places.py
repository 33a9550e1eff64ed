"""Where on the Earth crops are taken: bands of longitude that each belong to one split and one side."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit_plugin_earth.names import LARGEST

__all__ = ["BANDS", "COUNT", "NORTH", "SOUTH", "band_edges", "check_size", "interleaved", "name_of", "places"]

Side = Literal["a", "b"]
Split = Literal["train", "test"]

COUNT = 16
"""Bands of 22.5 degrees around the Earth, counted eastwards from 180 degrees west."""
BANDS: dict[tuple[Split, Side], tuple[int, ...]] = {
    ("train", "a"): (0, 6, 7, 9, 11, 13),
    ("train", "b"): (1, 3, 5, 8, 12, 15),
    ("test", "a"): (2, 4),
    ("test", "b"): (10, 14),
}
"""Chosen so that these four have about as much land (27 to 30%), in like climates, and like colours."""
NORTH, SOUTH = 72.0, -60.0
"""Degrees within which crops stay. Beyond them a picture of a degree as many pixels everywhere is mostly stretched, and
the satellite's has a black box for the sea ice around Antarctica."""


def band_edges(band: int, scale: int) -> tuple[int, int]:
    """The first column that is wholly inside the band, and the first behind it."""
    return -(-band * scale // COUNT), (band + 1) * scale // COUNT


def check_size(size: int, scale: int) -> None:
    """:class:`UsageError` if a crop of `size` pixels does not fit into every band."""
    widths = [band_edges(band, scale)[1] - band_edges(band, scale)[0] for band in range(COUNT)]
    if size <= min(widths):
        return
    remedy = f"at most {min(widths)} ({give('data.size', min(widths))})"
    needed = 2 * math.ceil(COUNT * (size + 1) / 2)
    if needed <= LARGEST:
        remedy += f", or more pixels around the Earth ({give('data.scale', needed)})"
    raise UsageError(
        f"data.size = {size}: of {scale} pixels around the Earth that is {size / scale * 360:.1f} degrees, and a band "
        f"of longitudes has {360 / COUNT}; choose {remedy}."
    )


def places(split: Split, side: Side, count: int, size: int, scale: int) -> Tensor:
    """Top and left of `count` crops of `size` pixels, int64 (count, 2), in the whole picture of `scale` pixels around.

    The bands of the split and the side take turns. Within each a crop may lie anywhere: its longitude is uniform, and
    so is the sine of its middle's latitude, which puts as many crops on a square kilometre everywhere. What is drawn
    follows from the arguments alone.
    """
    bands, height = BANDS[split, side], scale // 2
    edges = torch.tensor([band_edges(band, scale) for band in bands])
    low, high = (edges[torch.arange(count) % len(bands)]).unbind(1)
    top, bottom = math.ceil((90 - NORTH) / 180 * height), math.floor((90 - SOUTH) / 180 * height)
    seed = list(BANDS).index((split, side))
    across, down = torch.rand(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).unbind(1)
    left = low + (across * (high - low - size + 1)).floor().long()
    north, south = (
        math.sin(math.radians(90 - middle / height * 180)) for middle in (top + size / 2, bottom - size / 2)
    )
    latitude = torch.rad2deg(torch.asin(south + down * (north - south)))
    first = ((90 - latitude) / 180 * height - size / 2).round().long()
    return torch.stack([first.clamp(top, bottom - size), left], 1)


def interleaved(split: Split, count: int, size: int, scale: int) -> Tensor:
    """The places of both sides, those of a at even and those of b at odd rows: int64 (2 * count, 2)."""
    sides = [places(split, side, count, size, scale) for side in ("a", "b")]  # type: ignore[arg-type]
    return torch.stack(sides, 1).view(2 * count, 2)


def name_of(place: Tensor, size: int, scale: int) -> str:
    """The middle of a crop as a record says it: ``41.2N 12.5E``."""
    top, left = place.tolist()
    latitude, longitude = 90 - (top + size / 2) / scale * 360, (left + size / 2) / scale * 360 - 180
    return f"{abs(latitude):.1f}{'NS'[latitude < 0]} {abs(longitude):.1f}{'EW'[longitude < 0]}"
