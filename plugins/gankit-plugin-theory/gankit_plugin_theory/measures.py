"""What the theory says of a pair of densities, computed from samples of both on a grid of the line."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def edges(x: Tensor, bins: int) -> Tensor:
    """Borders of `bins` equal parts of the line, (bins + 1,), a little wider than the numbers `x`."""
    low, high = float(x.min()), float(x.max())
    margin = 0.05 * (high - low) + 1e-3
    return torch.linspace(low - margin, high + margin, bins + 1, dtype=torch.float64)


def density(x: Tensor, borders: Tensor) -> Tensor:
    """Fraction of the numbers `x` in each part, float64 (bins,). What lies outside counts for the outer parts."""
    inside = x.flatten().double().cpu().clamp(float(borders[0]), float(borders[-1]))
    return torch.histogram(inside, borders).hist / max(1, inside.numel())


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """Divergence of two distributions over the same parts, in nats: 0 if equal, log 2 if they share none."""
    middle = (p + q) / 2

    def divergence(one: Tensor) -> Tensor:
        return torch.where(one > 0, one * (one / middle.clamp_min(1e-300)).log(), one).sum()

    return float((divergence(p) + divergence(q)) / 2)


@torch.no_grad()
def compare(real: Tensor, fake: Tensor, discriminator: Callable[[Tensor], Tensor], bins: int) -> dict[str, float]:
    """How far a GAN is from where the game ends (Goodfellow et al. 2014, proposition 1 and theorem 1).

    ``jsd``: divergence of p_data and p_g. ``d_error``: |D - p_data / (p_data + p_g)|, as a mean over p_data.
    ``v_error``: |V - (-log 4)|. From `real` and `fake`, (N, 1) and (M, 1), in `bins` parts of the line.
    """
    borders = edges(real, bins)
    p, q = density(real, borders), density(fake, borders)
    centres = ((borders[1:] + borders[:-1]) / 2).float().unsqueeze(1).to(real.device)
    answer = discriminator(centres).sigmoid().flatten().double().cpu()
    ideal = p / (p + q).clamp_min(1e-300)
    log = torch.nn.functional.logsigmoid
    v = float(log(discriminator(real)).double().mean() + log(-discriminator(fake)).double().mean())
    return {
        "jsd": jensen_shannon(p, q),
        "d_error": float((p * (answer - ideal).abs()).sum()),
        "v_error": abs(v + math.log(4)),
    }
