"""Figures that compare generated with real images. Pure functions of tensors, in float64 where sums are long."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between normal distributions fitted to two sets of features, (N, D) and (M, D).

    ``|mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``: Heusel et al. 2017, equation 6. The trace of the root is
    the sum of the roots of the eigenvalues of ``C_a^(1/2) C_b C_a^(1/2)``, which is symmetric: no complex numbers, and
    a singular covariance (fewer samples than features, constant samples) is no special case.
    """
    _same_width(a, b)
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
    between = torch.cdist(real, fake)
    reach_real = torch.cdist(real, real).kthvalue(k + 1, 1).values  # the nearest is the sample itself
    reach_fake = torch.cdist(fake, fake).kthvalue(k + 1, 1).values
    precision = (between <= reach_real[:, None]).any(0).double().mean()
    recall = (between <= reach_fake).any(1).double().mean()
    return float(precision), float(recall)


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


def sliced_wasserstein(
    real: Tensor, fake: Tensor, *, seed: int = 0, patches: int = 64, repeats: int = 4, directions: int = 128
) -> dict[int, float]:
    """Sliced Wasserstein distance x 1000 of 7x7 patches, by resolution: Karras et al. 2018, section 5.

    Patches are drawn from each level of a Laplacian pyramid, down to a shorter side of 16, and normalised by each
    side's own mean and deviation per channel. `real` and `fake`: float (N, C, H, W), the same number of images each
    (the first ones are used if not).
    """
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(f"images of one shape are needed; got {tuple(real.shape[1:])} and {tuple(fake.shape[1:])}")
    n = min(len(real), len(fake))
    if n == 0 or min(real.shape[-2:]) < 7:
        raise ValueError(f"needs images of at least 7x7 pixels; got {n} of {tuple(real.shape[1:])}")
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for a, b in zip(_pyramid(real[:n].float()), _pyramid(fake[:n].float()), strict=True):
        where = _positions(a, patches, generator)
        one, two = _descriptors(a, where), _descriptors(b, where)
        total = 0.0
        for _ in range(repeats):
            axes = F.normalize(torch.randn(one.shape[1], directions, generator=generator), dim=0)
            total += float(((one @ axes).sort(0).values - (two @ axes).sort(0).values).abs().double().mean())
        found[min(a.shape[-2:])] = total / repeats * 1000
    return found


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


def _pyramid(images: Tensor) -> Sequence[Tensor]:
    """Laplacian pyramid, finest level first; the last level is the small image itself."""
    levels = []
    while min(images.shape[-2:]) >= 32:
        kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        blur = torch.outer(kernel, kernel).expand(images.shape[1], 1, 5, 5)
        blurred = F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), blur, groups=images.shape[1])
        small = blurred[..., ::2, ::2]
        levels.append(images - F.interpolate(small, images.shape[-2:], mode="bilinear"))
        images = small
    return [*levels, images]


def _positions(images: Tensor, patches: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Top left corners of `patches` patches an image: two (N, patches)."""
    n, _, height, width = images.shape
    top = torch.randint(height - 6, (n, patches), generator=generator)
    return top, torch.randint(width - 6, (n, patches), generator=generator)


def _descriptors(images: Tensor, where: tuple[Tensor, Tensor]) -> Tensor:
    """Normalised patches, (N * patches, C * 49)."""
    windows = images.unfold(2, 7, 1).unfold(3, 7, 1).permute(0, 2, 3, 1, 4, 5)  # (N, H-6, W-6, C, 7, 7), a view
    rows = torch.arange(len(images))[:, None]
    found = windows[rows, where[0], where[1]].flatten(0, 1)  # (N * patches, C, 7, 7)
    found = found - found.mean((0, 2, 3), keepdim=True)
    return (found / found.std((0, 2, 3), keepdim=True).clamp_min(1e-6)).flatten(1)
