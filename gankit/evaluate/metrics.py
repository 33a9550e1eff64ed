"""Figures that compare generated with real images. Pure functions of tensors, in float64 where sums are long."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 500
"""Rows of a table of distances that are held at once."""


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between normal distributions fitted to two sets of features, (N, D) and (M, D).

    ``|mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``: Heusel et al. 2017, equation 6. The trace of the root is
    the sum of the roots of the eigenvalues of ``C_a^(1/2) C_b C_a^(1/2)``, which is symmetric: no complex numbers, and
    a singular covariance (fewer samples than features, constant samples) is no special case. NaN if a feature is not
    finite.
    """
    _same_width(a, b)
    if not (a.isfinite().all() and b.isfinite().all()):
        return float("nan")  # the eigenvalues of such a covariance do not exist: torch would raise
    a, b = a.double(), b.double()
    mean_a, mean_b = a.mean(0), b.mean(0)
    cov_a, cov_b = _covariance(a), _covariance(b)
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    product = root @ cov_b @ root
    shared = torch.linalg.eigvalsh((product + product.T) / 2).clamp_min(0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * shared
    return max(0.0, float(distance))


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019) of features (N, D) and (M, D).

    Precision: fraction of fakes within reach of a real, where a real reaches as far as its k-th nearest other real.
    Recall: the same with the roles exchanged; it falls when the generator leaves out part of the data.
    """
    _same_width(real, fake)
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"precision_recall needs more than k = {k} samples of each kind; got {len(real)}, {len(fake)}")
    real, fake = real.double(), fake.double()
    reach_real, reach_fake = _reach(real, k), _reach(fake, k)
    within, recalled = torch.zeros(len(fake), dtype=torch.bool), 0
    for start in range(0, len(real), ROWS):
        between = torch.cdist(real[start : start + ROWS], fake)
        within |= (between <= reach_real[start : start + ROWS, None]).any(0)
        recalled += int((between <= reach_fake).any(1).sum())
    return float(within.double().mean()), recalled / len(real)


def _reach(features: Tensor, k: int) -> Tensor:
    """Distance of each to its k-th nearest other."""
    parts = [torch.cdist(part, features).kthvalue(k + 1, 1).values for part in features.split(ROWS)]
    return torch.cat(parts)  # k + 1, since the nearest is the sample itself


def spread(images: Tensor) -> float:
    """Mean distance between two images (root mean square over pixels), of float images (N, C, H, W); 0 if N < 2."""
    n = len(images)
    if n < 2:
        return 0.0
    flat = images.flatten(1).double()
    return float(torch.pdist(flat).mean()) / flat.shape[1] ** 0.5


def diversity(
    real: Tensor, fake: Tensor, real_class: Tensor | None = None, fake_class: Tensor | None = None, limit: int = 250
) -> tuple[float, float]:
    """How far samples lie apart, relative to real images: (mean over the classes, worst class).

    1: as varied as the real ones. 0: every sample of a class is the same picture (mode collapse). Pixels are compared
    at no more than 32 x 32, so that fine noise does not pass for variety; at most `limit` images a class are used.
    Classes with fewer than two images on either side are left out; if that leaves none, both figures are NaN.
    """
    real, fake = reduce_to(real, 32), reduce_to(fake, 32)
    if real_class is None or fake_class is None:
        groups = [(real[:limit], fake[:limit])]
    else:
        groups = [(real[real_class == c][:limit], fake[fake_class == c][:limit]) for c in fake_class.unique().tolist()]
    ratios = [spread(b) / (spread(a) or float("nan")) for a, b in groups if len(a) > 1 and len(b) > 1]
    ratios = [ratio for ratio in ratios if ratio == ratio]
    if not ratios:
        return float("nan"), float("nan")
    return sum(ratios) / len(ratios), min(ratios)


def modes(real: Tensor, fake: Tensor, count: int) -> tuple[int, float]:
    """How many of `count` modes are among the samples, and KL(samples || real images) of their shares, in nats.

    A mode is a class, or a combination of K of them: int64 (N, K) and (M, K). Srivastava et al. 2017 (VEEGAN), section
    4. Half a real image is added to each mode: what none of them shows is unlikely, not impossible.
    """
    if len(fake) == 0:
        return 0, float("nan")
    _, mode = torch.cat([real, fake]).unique(dim=0, return_inverse=True)
    several = int(mode.max()) + 1
    known, drawn = (torch.bincount(part, minlength=several).double() for part in mode.split([len(real), len(fake)]))
    likely = (known + 0.5) / (len(real) + 0.5 * count)
    share = drawn / len(fake)
    return int((drawn > 0).sum()), float(torch.special.xlogy(share, share / likely).sum())


def reduce_to(images: Tensor, size: int) -> Tensor:
    """Float images whose longer side is at most `size`, by averaging areas."""
    height, width = images.shape[-2:]
    ratio = size / max(height, width)
    if ratio >= 1 or len(images) == 0:
        return images
    return F.interpolate(images, (max(1, round(height * ratio)), max(1, round(width * ratio))), mode="area")


def _same_width(a: Tensor, b: Tensor) -> None:
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1] or len(a) == 0 or len(b) == 0:
        raise ValueError(f"features must be (N, D) and (M, D), not empty; got {tuple(a.shape)}, {tuple(b.shape)}")


def _covariance(features: Tensor) -> Tensor:
    centred = features - features.mean(0)
    return centred.T @ centred / max(1, len(features) - 1)
