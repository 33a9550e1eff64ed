"""Generator and discriminator that are told of a bounding box (Reed et al. 2016, section 4.1).

Shapes: T is the length of a text's embedding, Z of the noise, g and d the widths; maps have GRID places a side.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from gankit.nn import LeakyReLU
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
from gankit_plugin_gawwn.placing import cut, placed, spread

__all__ = ["BoxDiscriminator", "BoxGenerator"]


class BoxGenerator(nn.Module):
    """Embedding (N, T), noise (N, Z) and box (N, 4) to images (N, channels, size, size) in [-1, 1].

    A local path draws from noise and text on a map of its own, which is shrunk into the box; a global path draws from
    noise and from where the text is.
    """

    def __init__(
        self, *, text: int, z: int, width: int, last: int, count: int, doubling: Doubling = "deconv", channels: int = 3
    ) -> None:
        super().__init__()
        g, edges = width, EDGES[doubling]
        self.noise, self.noise_around = nn.Linear(z, 4 * g), nn.Linear(z, 4 * g)
        self.text = nn.Linear(text, 4 * g)
        self.where = nn.Sequential(
            *conv(4 * g, 4 * g, 4, 2), *conv(4 * g, 4 * g, 4, 2), *conv(4 * g, 4 * g, GRID // 4, 1, 0)
        )
        self.around = nn.Sequential(
            *start(8 * g, 8 * g), *double(8 * g, 4 * g, doubling), *double(4 * g, 2 * g, doubling)
        )
        self.inside = nn.Sequential(
            *start(8 * g, 8 * g, act="none"),
            Residual(8 * g, 2 * g, edges),
            *double(8 * g, 4 * g, doubling, act="none"),
            Residual(4 * g, g, edges),
            *double(4 * g, 2 * g, doubling, act="none"),
        )
        self.joint = nn.Sequential(*conv(4 * g, 2 * g, edges=edges))
        self.image = upwards([2 * g, g, *[last] * (count - 2)][:count], channels, doubling)

    def forward(self, embedding: Tensor, z: Tensor, boxes: Tensor) -> Tensor:
        said = self.text(embedding)
        where = self.where(spread(said, boxes, GRID)).flatten(1)
        around = torch.cat([torch.relu(self.noise_around(z)), where], 1)
        inside = torch.relu(torch.cat([self.noise(z), said], 1))
        local = torch.relu(placed(self.inside(inside[:, :, None, None]), boxes))
        return self.image(self.joint(torch.cat([self.around(around[:, :, None, None]), local], 1)))


class BoxDiscriminator(nn.Module):
    """Logits (N,): whether images (N, channels, size, size) are real and show the text (N, T) in the box (N, 4)."""

    def __init__(
        self,
        *,
        text: int,
        width: int,
        told: int,
        count: int,
        channels: int = 3,
        patches: bool = False,
        norm: bool = True,
    ) -> None:
        super().__init__()
        d, layer = width, partial(conv, act="leaky", norm=norm)
        self.seen = Seen(channels, d, count, norm)
        self.patches = nn.Conv2d(2 * d, 1, 1) if patches else None
        self.text = nn.Sequential(nn.Linear(text, told), LeakyReLU(negative_slope=SLOPE))
        self.together = together(2 * d, told, norm=norm)
        self.inside = nn.Sequential(*layer(2 * d, 2 * d, 1, 1, 0), nn.Conv2d(2 * d, d, 1))
        self.whole = nn.Sequential(*layer(2 * d, 4 * d, 4, 2), *layer(4 * d, 8 * d, 4, 2))
        self.where = nn.Sequential(*conv(told, 4 * d, 4, 2, norm=norm), *conv(4 * d, d, 4, 2, norm=norm))
        self.joint = nn.Sequential(*layer(9 * d, 4 * d, 1, 1, 0), *layer(4 * d, d, GRID // 4, 1, 0))
        self.act, self.judged = LeakyReLU(negative_slope=SLOPE), judged(d, norm)

    def features(self, images: Tensor) -> Features:
        """(N, 2 d, GRID, GRID) and, of the whole, (N, 8 d, GRID / 4, GRID / 4): several texts may be judged of them.

        With `patches` also logits (N, 1, GRID, GRID): whether each patch is real, whatever the text.
        """
        seen = self.seen(images)
        return self.together.of_map(seen), self.whole(seen), self.patches(seen) if self.patches else None

    def forward(self, features: Features, embedding: Tensor, boxes: Tensor) -> Tensor:
        told, (seen, whole, _) = self.text(embedding), features
        region = cut(self.together.of_both(seen, told), boxes)
        inside = self.act(self.inside(region).mean((2, 3)))
        where = self.where(spread(told, boxes, GRID))
        whole = self.joint(torch.cat([whole, where], 1)).flatten(1)
        return self.judged(torch.cat([inside, whole], 1)).flatten().float()
