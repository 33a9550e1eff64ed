"""A continuous code moved while all else stays: pictures of it, and how monotonically it moves slant and width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gankit.sampling.sheets import sheet
from gankit_plugin_infogan.moments import rank_correlation, slant, width

SHOWN = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
"""Values of a code on a picture: twice as far as it is trained."""
MEASURED = 9
"""Values of a code, evenly from -1 to 1, at which moments are measured."""
ROWS = 20
"""Most values of the categorical code on a picture."""


@torch.no_grad()
def picture(generator: nn.Module, noise: Tensor, classes: int, index: int, codes: int) -> Tensor:
    """uint8 (H, W, 3): a row a value of the categorical code, the `index`-th of `codes` continuous ones along it.

    The others are 0, and `noise`, (1, z), is the same everywhere.
    """
    values = torch.tensor(SHOWN, device=noise.device)
    images = _drawn(generator, noise, min(classes, ROWS), values, index, codes)
    words = [f"{value:g}" for value in SHOWN]
    return sheet(images.flatten(0, 2), len(SHOWN), words=words)[..., :3].expand(-1, -1, 3)


@torch.no_grad()
def correlations(generator: nn.Module, noise: Tensor, classes: int, codes: int) -> dict[str, list[float]]:
    """Spearman's rank correlation of each continuous code with ``slant`` and ``width`` of the images, by code.

    The mean over traversals: one from each row of `noise`, (N, z), in each of the first 20 categories.
    """
    values = torch.linspace(-1, 1, MEASURED, device=noise.device)
    found: dict[str, list[float]] = {"slant": [], "width": []}
    for index in range(codes):
        images = _drawn(generator, noise, min(classes, ROWS), values, index, codes)
        for name, moment in (("slant", slant), ("width", width)):
            moved = moment(images.flatten(0, 2)).view(-1, MEASURED)
            found[name].append(float(rank_correlation(moved, values.expand_as(moved)).mean()))
    return found


def _drawn(generator: nn.Module, noise: Tensor, classes: int, values: Tensor, index: int, codes: int) -> Tensor:
    """Images (N, classes, values, C, H, W), float on the CPU."""
    shape = (len(noise), classes, len(values))
    continuous = noise.new_zeros(*shape, codes)
    continuous[..., index] = values
    told = torch.cat([noise[:, None, None].expand(*shape, -1), continuous], -1).flatten(0, 2)
    category = torch.arange(classes, device=noise.device).view(1, -1, 1).expand(shape).flatten()
    parts = zip(told.split(256), category.split(256), strict=True)
    return torch.cat([generator(*part).float().cpu() for part in parts]).unflatten(0, shape)
