"""Land and sea as they are seen in a picture by its colours: what a translation is held against the mask with."""

from __future__ import annotations

import torch
from torch import Tensor

from gankit.errors import UsageError
from gankit_plugin_earth.names import Layer

__all__ = ["land_in", "land_seen"]

_SEA: dict[str, tuple[int, int]] = {"satellite": (0, 6), "map": (20, -40), "relief": (20, 6)}
"""Sea is bluer by more than so much than it is red, and than it is green."""


def land_seen(images: Tensor, layer: Layer) -> Tensor:
    """Which pixels of `images`, uint8 (N, 3, H, W) as `layer` shows the Earth, are land: bool (N, H, W).

    A rule of colours alone, blue against red and green. With 1,800 pixels around the Earth, between 60 degrees south
    and 72 north, it agrees with the mask on 99.6% of the area of the satellite picture, 99.5% of the map's and 99.5% of
    the relief's. ``mask``, (N, 1, H, W): what is at least mid-grey. UsageError for ``grey``, in which nothing is blue.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}; gankit.data.images.to_uint8 makes them so")
    if layer == "mask":
        return images[:, 0] >= 128
    if layer not in _SEA:
        raise UsageError(f"land and sea cannot be told by the colours of the layer {layer!r}")
    red, green, blue = images.to(torch.int16).unbind(1)
    over_red, over_green = _SEA[layer]
    return ~((blue > red + over_red) & (blue > green + over_green))


def land_in(images: Tensor, name: str, layer: Layer) -> dict[str, Tensor]:
    """:func:`land_seen` as the mask `name`, bool (N, 1, H, W); nothing of a layer in which it cannot be seen."""
    return {} if layer == "grey" else {name: land_seen(images, layer)[:, None]}
