"""The picture of the paper (Goodfellow et al. 2014, figure 1): p_data, p_g, D, and the map from z to x."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from gankit_plugin_theory.measures import density, edges

ARROWS = 25


@torch.no_grad()
def draw(networks: Mapping[str, nn.Module], noise: Tensor, real: Tensor | None, bins: int) -> Tensor:
    """uint8 (H, W, 3): densities of `real` (N, 1) and of what is made of `noise` (M, 1), and D over the line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fake = networks["generator"](noise)
    seen = torch.cat([fake, real]) if real is not None else fake
    borders = edges(seen, max(20, bins // 4))
    centres, width = (borders[1:] + borders[:-1]) / 2, float(borders[1] - borders[0])
    line = torch.linspace(float(borders[0]), float(borders[-1]), bins, device=noise.device).unsqueeze(1)

    figure = Figure(figsize=(6, 4.5), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    if real is not None:
        above.plot(centres, density(real, borders) / width, "k:", label="p_data")
    above.plot(centres, density(fake, borders) / width, "g-", label="p_g")
    above.set_ylabel("density")
    scale = above.twinx()
    scale.plot(line.flatten().cpu(), networks["discriminator"](line).sigmoid().flatten().cpu(), "b--", label="D")
    scale.axhline(0.5, color="0.8", linewidth=0.8, zorder=0)
    scale.set_ylim(0, 1)
    scale.set_ylabel("D(x)")
    lines = [*above.get_lines(), scale.get_lines()[0]]
    above.legend(lines, [str(one.get_label()) for one in lines], loc="upper right", frameon=False)

    z = torch.linspace(-2.5, 2.5, ARROWS, device=noise.device).unsqueeze(1)
    starts = torch.linspace(float(borders[0]), float(borders[-1]), ARROWS)  # z over the whole width, whatever x is
    ends = networks["generator"](z).flatten().cpu()
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        arrow = {"arrowstyle": "->", "color": "0.4", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
        below.annotate("", (end, 1), (start, 0), arrowprops=arrow, annotation_clip=False)
    below.set_xlim(float(borders[0]), float(borders[-1]))
    below.set_ylim(0, 1)
    below.set_yticks([0, 1], ["z", "x"])
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())
