"""Holes: boxes, strokes of a brush, both, or the centre; drawn from a generator alone, on its device.

Masks are float32 (N, 1, H, W), 1 where something is hidden and 0 elsewhere. Sizes are fractions of a side, so that
holes of any image look alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gankit import whole_batch

__all__ = ["Holes", "boxes", "centre", "draw_holes", "strokes"]

VERTICES = 4, 12
"""Corners of a stroke, fewest and most."""
THINNEST = 0.75
"""Half the width of the thinnest stroke, in pixels: a line as thin as this covers a pixel wherever it runs."""


@dataclass(frozen=True)
class Holes:
    """What holes are like."""

    boxes: tuple[float, float] | None = (0.2, 0.5)
    """Shortest and longest side of a box; None: no boxes."""
    strokes: tuple[int, int] | None = (1, 4)
    """Fewest and most strokes; None: none."""
    brush: tuple[float, float] = (0.05, 0.16)
    """Thinnest and thickest brush."""


def draw_holes(holes: Holes, number: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """`number` masks of `size` (height, width), each with all kinds of holes that `holes` names. None is empty."""
    mask = torch.zeros(number, 1, *size, device=generator.device)
    if holes.boxes is not None:
        mask = torch.maximum(mask, boxes(number, size, holes.boxes, generator))
    if holes.strokes is not None:
        mask = torch.maximum(mask, strokes(number, size, holes.strokes, holes.brush, generator))
    return mask


def centre(number: int, size: tuple[int, int], rim: tuple[int, int], device: torch.device) -> Tensor:
    """Masks of all but a rim of `rim` (rows, columns) on each side."""
    mask = torch.zeros(number, 1, *size, device=device)
    mask[:, :, rim[0] : size[0] - rim[0], rim[1] : size[1] - rim[1]] = 1
    return mask


def boxes(number: int, size: tuple[int, int], sides: tuple[float, float], generator: torch.Generator) -> Tensor:
    """A box in each mask, anywhere inside of it, whose sides are uniform between the two fractions `sides`."""
    uniform = whole_batch.rand(2, 2, number, generator=generator, dim=2, device=generator.device)
    inside = []
    for (extent, place), pixels in zip(uniform, size, strict=True):
        long = ((sides[0] + extent * (sides[1] - sides[0])) * pixels).round().clamp(1, pixels)
        start = (place * (pixels - long + 1)).floor().clamp(max=pixels - 1)[:, None]
        at = torch.arange(pixels, device=generator.device)
        inside.append((at >= start) & (at < start + long[:, None]))
    return (inside[0][:, None, :, None] & inside[1][:, None, None, :]).float()


def strokes(
    number: int, size: tuple[int, int], count: tuple[int, int], brush: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """From `count[0]` to `count[1]` strokes in each mask, of brushes between the two fractions `brush`.

    A stroke starts anywhere and goes from corner to corner, each time turning back by about two fifths of a circle, as
    somebody who scribbles does; lines are round at their ends. After Yu et al. 2019, "Free-Form Image Inpainting with
    Gated Convolution", section 3.4.
    """
    height, width = size
    device, most = generator.device, VERTICES[1]
    scale = math.hypot(height, width) / 8

    def uniform(*shape: int) -> Tensor:
        return whole_batch.rand(number, count[1], *shape, generator=generator, device=device)

    start = uniform(2) * torch.tensor([height, width], device=device)
    # zigzag: every second direction is turned by half a circle
    turn = 2 * math.pi / 5 * (1 + (2 * uniform(most) - 1) / 3)
    turn = turn + math.pi * (torch.arange(most, device=device) % 2) + 2 * math.pi * uniform(1)
    wander = whole_batch.randn(*turn.shape, generator=generator, device=device)
    length = (scale * (1 + 0.5 * wander)).clamp(0, 2 * scale)
    steps = torch.stack([turn.sin() * length, turn.cos() * length], -1)
    corners = torch.cat([start[:, :, None], steps], 2).cumsum(2)
    limit = torch.tensor([height - 1.0, width - 1.0], device=device)
    corners = corners.clamp(min=torch.zeros(2, device=device)).minimum(limit)
    drawn = torch.arange(count[1], device=device) < _whole(uniform(1)[:, :1, 0], count)  # (N, strokes)
    there = torch.arange(most, device=device) < _whole(uniform(1), VERTICES)  # (N, strokes, lines)
    thick = (brush[0] + uniform() * (brush[1] - brush[0])) * min(height, width) / 2
    reach = torch.where(drawn[..., None] & there, thick.clamp(min=THINNEST)[..., None], -1.0).flatten(1)
    ends = torch.cat([corners[:, :, :-1], corners[:, :, 1:]], -1).flatten(1, 2)
    return _lines(ends, reach, size)


def _whole(uniform: Tensor, least_most: tuple[int, int]) -> Tensor:
    """Whole numbers between two, both included."""
    least, most = least_most
    return (least + uniform * (most - least + 1)).floor().clamp(max=most)


def _lines(ends: Tensor, reach: Tensor, size: tuple[int, int]) -> Tensor:
    """1 within `reach` (N, L) of a line `ends` (N, L, 4), from row and column to row and column; reach < 0: no line."""
    rows = torch.arange(size[0], device=ends.device, dtype=ends.dtype)[:, None]
    columns = torch.arange(size[1], device=ends.device, dtype=ends.dtype)
    mask = torch.zeros(len(ends), *size, dtype=torch.bool, device=ends.device)
    for line, near in zip(ends.unbind(1), reach.unbind(1), strict=True):
        y, x, down, right = (part[:, None, None] for part in (line[:, 0], line[:, 1], *(line[:, 2:] - line[:, :2]).T))
        along = ((rows - y) * down + (columns - x) * right) / (down * down + right * right).clamp(min=1e-6)
        along = along.clamp(0, 1)
        away = (rows - y - along * down).square() + (columns - x - along * right).square()
        mask |= (away <= near.square()[:, None, None]) & (near >= 0)[:, None, None]
    return mask[:, None].float()
