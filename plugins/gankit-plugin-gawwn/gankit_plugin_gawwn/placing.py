"""Maps moved into a box and cut out of it, points as maps.

Boxes stand upright, so that bilinear sampling is a product with a matrix for each side: that has derivatives of every
order, where torch's ``grid_sample`` has one. Results of :func:`placed` and :func:`cut` are those of ``grid_sample``
with zeros around the map and ``align_corners=False``, as the spatial transformers of Reed et al. 2016 have it.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cropped", "cut", "drawn_points", "moved", "placed", "spread"]

LEAST = 1e-3
"""Least side of a box, of the image's: one without any is as good as this."""


def placed(maps: Tensor, boxes: Tensor) -> Tensor:
    """`maps` (N, C, S, S) shrunk into `boxes` (N, 4) of maps of the same size; 0 outside of them."""
    return _sampled(maps, *_into(boxes, maps.shape[-1]))


def cut(maps: Tensor, boxes: Tensor) -> Tensor:
    """What is in `boxes` (N, 4) of `maps` (N, C, S, S), stretched to S x S."""
    side = maps.shape[-1]
    down, across = (_weights(middles, side) for middles, _ in _parts(boxes, side))
    return _sampled(maps, down, across)


def cropped(images: Tensor, boxes: Tensor, side: int) -> Tensor:
    """What is in `boxes` (N, 4) of `images` (N, C, S, S), brought to `side` x `side`: bilinear, and antialiased.

    Every pixel in a box counts, however much smaller the box becomes; what is outside of the image does not. So
    ``resize`` of Pillow does with a box.
    """
    size = images.shape[-1]
    down, across = (_averages(middles.clamp(0, 1), apart, size) for middles, apart in _parts(boxes, side))
    with torch.autocast(images.device.type, enabled=False):  # weights in 16 bits do not add up to 1
        wide = images.to(torch.promote_types(images.dtype, torch.float32))
        return _sampled(wide, down, across).to(images.dtype)


def spread(values: Tensor, boxes: Tensor, side: int) -> Tensor:
    """`values` (N, C) all over `boxes` (N, 4), 0 elsewhere: (N, C, side, side). As :func:`placed` of equal places."""
    down, across = (matrix.sum(2) for matrix in _into(boxes, side))
    inside = down[:, None, :, None] * across[:, None, None, :]
    return values[:, :, None, None] * inside.to(values.dtype)


def drawn_points(points: Tensor, side: int) -> Tensor:
    """Points (N, K, 2 or 3) as maps (N, K, side, side), 1 at the place of each, all 0 of one that is not visible."""
    number = points[..., :2].mul(side).floor().clamp(0, side - 1).long()
    flat = torch.zeros(*points.shape[:2], side * side, device=points.device)
    flat.scatter_(2, (number[..., 1] * side + number[..., 0])[..., None], 1.0)
    if points.shape[2] == 3:
        flat = flat * points[..., 2:]
    return flat.unflatten(2, (side, side))


def moved(place: Tensor, corner: Tensor, side: float = 0.5) -> Tensor:
    """A box (1 or N, 4), or points (1 or N, K, 2 or 3), brought to squares of a `side` at each `corner` (N, 2)."""
    if place.dim() == 2:
        return torch.cat([corner, corner + side], 1)
    spots, seen = place[..., :2], place[..., 2:] > 0 if place.shape[2] == 3 else torch.ones_like(place[..., :1]) > 0
    low = spots.masked_fill(~seen, 1.0).amin(1, keepdim=True)
    high = spots.masked_fill(~seen, 0.0).amax(1, keepdim=True)
    inside = (spots - low) / (high - low).clamp(min=1e-3) * side
    return torch.cat([(inside + corner[:, None]).clamp(0, 1), place[..., 2:].expand(len(corner), -1, -1)], 2)


def _sampled(maps: Tensor, down: Tensor, across: Tensor) -> Tensor:
    down, across = down.to(maps.dtype), across.to(maps.dtype)
    return torch.einsum("nyh,nchw,nxw->ncyx", down, maps, across)


def _into(boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """For rows and columns: how much each place of a map gets from each of one that is shrunk into a box."""
    ends, starts = _sides(boxes)
    places = (torch.arange(side, device=boxes.device) + 0.5) / side
    return tuple(_weights((places - start) / (end - start), side) for start, end in zip(starts, ends, strict=True))  # type: ignore[return-value]


def _parts(boxes: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    """For rows and columns of `count` to a box: their middles (N, count) and widths (N, 1), fractions of the side."""
    ends, starts = _sides(boxes)
    middles = (torch.arange(count, device=boxes.device) + 0.5) / count
    return [(start + middles * (end - start), (end - start) / count) for start, end in zip(starts, ends, strict=True)]


def _sides(boxes: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Bottom and right, top and left: float32 (N, 1) each."""
    left, top, right, bottom = boxes.float().unsqueeze(2).unbind(1)
    return [torch.maximum(bottom, top + LEAST), torch.maximum(right, left + LEAST)], [top, left]


def _weights(at: Tensor, side: int, reach: Tensor | float = 1.0) -> Tensor:
    """Weights (N, S, side) of places `at` (N, S), fractions of a map's side, for each of its pixels.

    They fall off to 0 over a distance of `reach` (N, 1, 1) pixels; 1 is bilinear.
    """
    centres = torch.arange(side, device=at.device) + 0.5
    return (1 - (at[:, :, None] * side - centres).abs() / reach).clamp(min=0)


def _averages(at: Tensor, apart: Tensor, side: int) -> Tensor:
    """Weights of places `apart` (N, 1) that reach from one to the next, or a pixel; those of each place add up to 1."""
    weights = _weights(at, side, (apart * side).clamp(min=1)[:, :, None])
    return weights / weights.sum(2, keepdim=True)
