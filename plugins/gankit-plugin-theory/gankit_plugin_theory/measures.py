"""What the theory says of a pair of densities, and how far a GAN is from it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gankit_plugin_theory.mixture import Mixture


def quantiles(count: int, device: torch.device) -> Tensor:
    """`count` numbers that divide the standard normal distribution into equal parts, float32 (count, 1).

    What a map makes of them is its density without the chance of drawing.
    """
    parts = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.special.ndtri(parts).float().unsqueeze(1).to(device)


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


def ideal(p: Tensor, q: Tensor) -> Tensor:
    """The best discriminator's answer in each part (Goodfellow et al. 2014, proposition 1); 1/2 where nothing is."""
    return torch.where(p + q > 0, p / (p + q).clamp_min(1e-300), 0.5)


@torch.no_grad()
def compare(
    mixture: Mixture, real: Tensor, fake: Tensor, discriminator: Callable[[Tensor], Tensor], bins: int
) -> dict[str, float]:
    """How far a GAN is from where the game ends (Goodfellow et al. 2014, proposition 1 and theorem 1).

    ``jsd``: divergence of p_data and p_g. ``d_error``: |D - p_data / (p_data + p_g)|, as a mean over p_data.
    ``v_error``: |V - (-log 4)|. ``covered``: how many components of `mixture` the fakes cover. From `real` and `fake`,
    (N, 1) and (M, 1), in `bins` parts of the line; p_data is that of `mixture`, in closed form.
    """
    borders = mixture.borders(bins)
    p, q = mixture.mass(borders), density(fake, borders)
    centres = ((borders[1:] + borders[:-1]) / 2).float().unsqueeze(1).to(real.device)
    answer = discriminator(centres).sigmoid().flatten().double().cpu()
    log = torch.nn.functional.logsigmoid
    v = float(log(discriminator(real)).double().mean() + log(-discriminator(fake)).double().mean())
    return {
        "jsd": jensen_shannon(p, q),
        "d_error": float((p * (answer - ideal(p, q)).abs()).sum()),
        "v_error": abs(v + math.log(4)),
        "covered": float(mixture.covered(fake)),
    }
