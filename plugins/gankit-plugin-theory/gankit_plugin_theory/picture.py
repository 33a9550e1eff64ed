"""The picture of the paper (Goodfellow et al. 2014, figure 1): p_data, p_g, D, and the map from z to x."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from gankit_plugin_theory.measures import density, ideal, quantiles
from gankit_plugin_theory.mixture import Mixture

ARROWS = 25
DRAWN = 20_000
"""Numbers that the generator's density is counted from."""


@torch.no_grad()
def draw(networks: Mapping[str, nn.Module], mixture: Mixture, device: torch.device, bins: int) -> Tensor:
    """uint8 (H, W, 3): the densities of `mixture` and of the generator, and D beside the best there is.

    The frame depends on `mixture` alone, so that pictures of a run can follow one another.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    borders = mixture.borders(bins)
    low, high, width = float(borders[0]), float(borders[-1]), float(borders[1] - borders[0])
    centres = (borders[1:] + borders[:-1]) / 2
    p, q = mixture.mass(borders), density(networks["generator"](quantiles(DRAWN, device)), borders)
    answer = networks["discriminator"](centres.float().unsqueeze(1).to(device)).sigmoid().flatten().cpu()

    figure = Figure(figsize=(6, 4.5), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot(centres, p / width, "k:", linewidth=2, label="p_data")
    above.plot(centres, q / width, "g-", linewidth=2, label="p_g")
    above.set_ylabel("density")
    above.set_ylim(0, 1.6 * float(p.max()) / width)
    scale = above.twinx()
    scale.plot(centres, ideal(p, q), "-", color="#9ecae1", linewidth=3, label="best D")
    scale.plot(centres, answer, "b--", linewidth=2, label="D")
    scale.set_ylim(0, 1)
    scale.set_ylabel("D(x)")
    lines = [*above.get_lines(), *scale.get_lines()]
    scale.legend(lines, [str(one.get_label()) for one in lines], loc="upper right", ncols=2, frameon=False)

    z = torch.linspace(-2.5, 2.5, ARROWS, device=device).unsqueeze(1)
    starts = torch.linspace(low, high, ARROWS)  # z over the whole width, whatever x is
    ends = networks["generator"](z).flatten().cpu()
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        arrow = {"arrowstyle": "->", "color": "0.4", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
        below.annotate("", (min(max(end, low), high), 1), (start, 0), arrowprops=arrow, annotation_clip=False)
    below.set_xlim(low, high)
    below.set_ylim(0, 1)
    below.set_yticks([0, 1], ["z", "x"])
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())
