"""Generator and discriminator that are told of points (Reed et al. 2016, section 4.2).

Each of K points is a map of its own, in which its place is 1; see :mod:`gankit_plugin_gawwn.boxes` for the shapes.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from gankit.nn import ConcatSequential, LeakyReLU
from gankit_plugin_gawwn.blocks import (
    EDGES,
    GRID,
    SLOPE,
    Doubling,
    Features,
    Residual,
    Seen,
    conv,
    double,
    judged,
    start,
    together,
    upwards,
)
from gankit_plugin_gawwn.placing import drawn_points

__all__ = ["PointsDiscriminator", "PointsGenerator"]


def _gate(maps: Tensor) -> Tensor:
    """(N, 1, S, S): where any of the points is."""
    return maps.sum(1, keepdim=True).clamp(0, 1)


def _dense(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True))


class PointsGenerator(nn.Module):
    """Embedding (N, T), noise (N, Z) and points (N, K, 2 or 3) to images (N, channels, size, size) in [-1, 1]."""

    def __init__(
        self,
        *,
        text: int,
        z: int,
        width: int,
        count: int,
        points: int,
        doubling: Doubling = "deconv",
        channels: int = 3,
    ) -> None:
        super().__init__()
        g, edges = width, EDGES[doubling]
        self.noise, self.text = nn.Linear(z, 4 * g), nn.Linear(text, 4 * g)
        self.said_here, self.said_around = _dense(8 * g, 4 * g), _dense(8 * g, 4 * g)
        self.here = nn.Sequential(*conv(4 * g, 4 * g, edges=edges))
        self.where = nn.Sequential(*conv(points, g, 4, 2), *conv(g, 2 * g, 4, 2), *conv(2 * g, 4 * g, GRID // 4, 1, 0))
        self.around = nn.Sequential(*start(8 * g, 4 * g), *double(4 * g, 2 * g, doubling), *double(2 * g, g, doubling))
        self.joint = nn.Sequential(
            *conv(5 * g + points, 4 * g, edges=edges),
            *conv(4 * g, 4 * g, act="none", edges=edges),
            Residual(4 * g, g, edges),
        )
        self.image = upwards([4 * g, 2 * g, *[g] * (count - 2)][:count], channels, doubling)

    def forward(self, embedding: Tensor, z: Tensor, points: Tensor) -> Tensor:
        said = torch.relu(torch.cat([self.noise(z), self.text(embedding)], 1))
        maps = drawn_points(points, GRID).to(said.dtype)
        here = self.here(self.said_here(said)[:, :, None, None] * _gate(maps))
        around = torch.cat([self.said_around(said), self.where(maps).flatten(1)], 1)
        return self.image(self.joint(torch.cat([self.around(around[:, :, None, None]), here, maps.to(here.dtype)], 1)))


class PointsDiscriminator(nn.Module):
    """Logits (N,): whether images are real and show the text (N, T) at the points (N, K, 2 or 3)."""

    def __init__(
        self,
        *,
        text: int,
        width: int,
        told: int,
        count: int,
        points: int,
        channels: int = 3,
        patches: bool = False,
        norm: bool = True,
    ) -> None:
        super().__init__()
        d, layer, self.norm = width, partial(conv, act="leaky", norm=norm), norm
        self.seen = Seen(channels, d, count, norm)
        self.patches = nn.Conv2d(2 * d, 1, 1) if patches else None
        self.text = nn.Sequential(nn.Linear(text, told), LeakyReLU(negative_slope=SLOPE))
        self.together = together(2 * d, told, norm=norm)
        self.inside = nn.Sequential(*layer(2 * d + points, 2 * d, 1, 1, 0), nn.Conv2d(2 * d, d, 1))
        self.whole = nn.Sequential(*layer(2 * d, 4 * d, 4, 2), *layer(4 * d, 8 * d, 4, 2))
        self.joint = ConcatSequential(*together(8 * d, told, 4 * d, 1, 0, norm=norm), *layer(4 * d, d, GRID // 4, 1, 0))
        self.act, self.judged = LeakyReLU(negative_slope=SLOPE), judged(d, norm)

    def features(self, images: Tensor) -> Features:
        """(N, 2 d, GRID, GRID) and, of the whole, (N, 4 d, GRID / 4, GRID / 4): several texts may be judged of them.

        With `patches` also logits (N, 1, GRID, GRID): whether each patch is real, whatever the text.
        """
        seen = self.seen(images)
        whole = self.joint.of_map(self.whole(seen))
        return self.together.of_map(seen), whole, self.patches(seen) if self.patches else None

    def forward(self, features: Features, embedding: Tensor, points: Tensor) -> Tensor:
        told, (seen, whole, _) = self.text(embedding), features
        maps = drawn_points(points, GRID).to(seen.dtype)
        gate = _gate(maps)
        region = self.together.of_both(seen, told) * gate
        found = self.inside(torch.cat([region, maps.to(region.dtype)], 1))
        # as published, a mean over all places; where no norm made them large, a few points would vanish in it
        mean = found.mean((2, 3)) if self.norm else (found * gate).sum((2, 3)) / gate.sum((2, 3)).clamp(min=1)
        inside = self.act(mean)
        whole = self.joint.of_both(whole, told).flatten(1)
        return self.judged(torch.cat([inside, whole], 1)).flatten().float()
