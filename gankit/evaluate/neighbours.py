"""Has the generator learnt, or does it repeat its training images? A sheet to look at, and a figure.

Images are compared by their pixels, reduced to at most 32 pixels a side, and also mirrored. No network takes part, so
nothing that a judge overlooks is overlooked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gankit.data.image_files import write_png
from gankit.evaluate.metrics import reduce_to
from gankit.evaluate.real import RealImages
from gankit.sampling.sheets import sheet

SIDE = 32
ROWS = 32
"""Images of which the distances to all others are held at once."""
SHOWN = 256
"""Most pixels a side at which an image stands on the sheet."""
CROWD = 50
"""To how many neighbours the nearest is compared by :func:`loneliness`."""


@dataclass(frozen=True)
class Neighbours:
    """Nearest training images of each sample, nearest first."""

    index: Tensor
    """int64 (N, k), rows of the images searched."""
    distance: Tensor
    """float32 (N, k), root mean square difference of pixels in [-1, 1] units."""


def nearest(images: Tensor, among: Tensor, k: int, *, skip_self: bool = False) -> Neighbours:
    """The `k` images of `among` nearest to each of `images`, or fewer if `among` is smaller.

    Both float (N, C, H, W) in [-1, 1], of one size. With `skip_self`, row i of `among` is no neighbour of row i.
    """
    if images.shape[1:] != among.shape[1:]:
        raise ValueError(f"images of one shape are needed; got {tuple(images.shape[1:])} and {tuple(among.shape[1:])}")
    small = reduce_to(among.float(), SIDE)
    targets = small.flatten(1)
    available = len(targets) - (1 if skip_self else 0)
    k = max(0, min(k, available))
    if k == 0 or len(images) == 0:
        return Neighbours(torch.empty(len(images), k, dtype=torch.int64), torch.empty(len(images), k))
    indices, distances = [], []
    for start in range(0, len(images), ROWS):
        part = reduce_to(images[start : start + ROWS].float(), SIDE)
        plain, mirrored = part.flatten(1), part.flip(-1).flatten(1)
        rough = torch.minimum(torch.cdist(plain, targets), torch.cdist(mirrored, targets))
        if skip_self:
            rows = torch.arange(len(part))
            rough[rows, rows + start] = torch.inf
        found = rough.topk(min(k + 4, available), largest=False).indices
        # cdist subtracts large products: exact only to about 1e-3. Those that matter are measured again.
        candidates = targets[found]
        exact = torch.minimum(
            (candidates - plain[:, None]).square().mean(2), (candidates - mirrored[:, None]).square().mean(2)
        ).sqrt()
        order = exact.sort(dim=1, stable=True)
        indices.append(found.gather(1, order.indices[:, :k]))
        distances.append(order.values[:, :k])
    return Neighbours(torch.cat(indices), torch.cat(distances))


def loneliness(found: Neighbours) -> Tensor:
    """Distance to the nearest training image over the mean distance to the nearest :data:`CROWD`: (N,), 0 for a copy.

    A copy has one neighbour far nearer than all others; an image that is merely plain is near to many.
    """
    mean = found.distance.mean(1)
    return torch.where(mean > 0, found.distance[:, 0] / mean.clamp_min(1e-12), torch.zeros_like(mean))


def memorised(samples: Tensor, train: Tensor, held_out: Tensor | None = None) -> float | None:
    """Fraction of samples nearer to one training image than 99% of real images are. About 0.01 if nothing is repeated.

    The real images are `held_out`; if there are fewer than 20, the training images themselves, each compared with the
    others. None with fewer than three training images. (The ratio of distances follows Carlini et al. 2023, section 5.)
    """
    if len(train) < 3 or len(samples) == 0:
        return None
    if held_out is not None and len(held_out) >= 20:
        real = nearest(held_out, train, CROWD)
    else:
        real = nearest(train, train, CROWD, skip_self=True)
    limit = torch.quantile(loneliness(real).double(), 0.01)
    return float((loneliness(nearest(samples, train, CROWD)).double() <= limit).double().mean())


def neighbour_sheet(samples: Tensor, neighbours: Sequence[Tensor]) -> Tensor:
    """One picture, uint8 (H, W, C): a sample a row, and to its right, past a gap, its nearest training images.

    `samples`: float (N, C, H, W) in [-1, 1]; `neighbours`: N tensors (k, C, H, W) of the same kind.
    """
    left = sheet(samples, 1)
    right = sheet(torch.cat(list(neighbours)), len(neighbours[0]))
    gap = left.new_full((left.shape[0], 12, left.shape[2]), 255)
    return torch.cat([left, gap, right], 1)


def write_neighbours(path: Path, shown: Tensor, real: RealImages, rows: Tensor, small: Tensor, *, k: int = 6) -> None:
    """Write the sheet of the samples `shown`, float (N, C, H, W) in [-1, 1], as a PNG file.

    `rows`: the indices into `real` whose reduced images are `small` (float, at most 32 pixels a side).
    """
    if len(shown) == 0 or len(small) == 0:
        return
    found = nearest(reduce_to(shown, SIDE), small, k)
    write_png(path, neighbour_sheet(reduce_to(shown, SHOWN), [real.floats(rows[i], SHOWN)[0] for i in found.index]))
