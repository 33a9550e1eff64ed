"""One caption in nine places, and nine captions in one place, with the boxes or points drawn in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gankit.data.images import to_uint8
from gankit.sampling.sheets import visible
from gankit_plugin_gawwn.placing import moved

if TYPE_CHECKING:
    from gankit.plugin import Networks, SampleRequest
    from gankit_plugin_gawwn.variant import GAWWN

__all__ = ["captions_in_one_place", "one_caption_in_places"]

SIDE, GAP = 3, 2
RED = (255, 0, 0)


def one_caption_in_places(variant: GAWWN, networks: Networks, request: SampleRequest) -> Tensor:
    """The first caption of the request in nine places, uint8 (H, W, 3)."""
    text = request.batch["text"][:1].expand(SIDE * SIDE, -1)
    thirds = torch.arange(SIDE, device=request.device) / SIDE
    corner = torch.stack(torch.meshgrid(thirds, thirds, indexing="xy"), -1).flatten(0, 1) * 0.75
    place = moved(request.batch[variant.place][:1], corner)
    return _sheet(variant, networks, request, text, place)


def captions_in_one_place(variant: GAWWN, networks: Networks, request: SampleRequest) -> Tensor:
    """Nine captions of the request, or as many as it has, in the middle, uint8 (H, W, 3)."""
    number = min(SIDE * SIDE, request.n)
    middle = torch.full((number, 2), 0.25, device=request.device)
    return _sheet(
        variant, networks, request, request.batch["text"][:number], moved(request.batch[variant.place][:1], middle)
    )


def _sheet(variant: GAWWN, networks: Networks, request: SampleRequest, text: Tensor, place: Tensor) -> Tensor:
    noise = request.noise(1, variant.config.z).expand(len(text), -1)  # the same of all: what differs is what is said
    images = to_uint8(visible(networks["generator"](networks["text"](text), noise, place))).expand(-1, 3, -1, -1)
    tiles = [_marked(image.permute(1, 2, 0).cpu().clone(), one.cpu()) for image, one in zip(images, place, strict=True)]
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // SIDE)
    sheet = torch.full((rows * (height + GAP) - GAP, SIDE * (width + GAP) - GAP, 3), 255, dtype=torch.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // SIDE * (height + GAP), number % SIDE * (width + GAP)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _marked(image: Tensor, place: Tensor) -> Tensor:
    """`image`, uint8 (H, W, 3), with the outline of a box (4,), or points (K, 2 or 3), in red."""
    size, red = image.shape[0], torch.tensor(RED, dtype=torch.uint8)

    def pixel(at: Tensor) -> int:
        return min(size - 1, max(0, int(at * size)))

    if place.dim() == 1:
        left, top, right, bottom = map(pixel, place)
        image[top, left : right + 1] = image[bottom, left : right + 1] = red
        image[top : bottom + 1, left] = image[top : bottom + 1, right] = red
        return image
    for point in place:
        if len(point) == 2 or point[2] > 0:
            x, y = pixel(point[0]), pixel(point[1])
            image[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = red
    return image
