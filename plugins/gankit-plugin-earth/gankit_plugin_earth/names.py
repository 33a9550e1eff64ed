"""The layers of the Earth by name, and the scales that they are taken at."""

from __future__ import annotations

from typing import Literal

__all__ = ["CHANNELS", "LARGEST", "SMALLEST", "Layer"]

Layer = Literal["satellite", "map", "relief", "grey", "mask"]
CHANNELS: dict[str, int] = {"satellite": 3, "map": 3, "relief": 3, "grey": 1, "mask": 1}
SMALLEST, LARGEST = 360, 5400
"""Pixels around the Earth: the largest is the satellite picture's and the map's own size."""
