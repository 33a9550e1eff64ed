"""Penalty and divergence terms: pure functions of tensors.

The adversarial terms on a discriminator's logits are ops, :func:`gankit.ops.patchgan_d_loss` and
:func:`gankit.ops.patchgan_g_loss`; they take logits of any shape, a plain (N,) among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean of (|grad D(x)| - target)^2 over points x drawn uniformly on the lines from `real` to `fake`.

    `real`, `fake`: (N, ...), of one floating dtype; no gradient flows into them. `discriminator` maps (N, ...) to
    logits of any shape, of which sample n must depend on x[n] alone (so no batch norm). `generator` draws the points:
    pass ``step.generator``. Returns a float32 scalar (float64 for float64), differentiable in the discriminator's
    weights, and not in x. Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", equation 3.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real and fake must have one shape, got {tuple(real.shape)} and {tuple(fake.shape)}")
    shape = (real.shape[0], *(1,) * (real.dim() - 1))
    mix = torch.rand(shape, generator=generator, device=real.device, dtype=real.dtype)
    points = torch.lerp(real.detach(), fake.detach(), mix)
    return (_gradient_norm(discriminator, points, squared=False) - target).square().mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Mean of |grad D(x)|^2 over real x: (N, ...) -> scalar; the published penalty is gamma / 2 times this.

    What :func:`gradient_penalty` says of `discriminator` and dtypes holds. Mescheder et al. 2018, "Which Training
    Methods for GANs do actually Converge?", equation 9.
    """
    return _gradient_norm(discriminator, real.detach(), squared=True).mean()


def kl_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence of N(mu, exp(logvar)) from N(0, I), as a mean over all elements. Both of one shape -> scalar.

    0.5 * mean(mu^2 + exp(logvar) - 1 - logvar). A mean over dimensions, where the divergence itself is their sum: its
    weight then does not depend on their number. Kingma and Welling 2014, appendix B.
    """
    if mu.shape != logvar.shape:
        raise ValueError(f"mu and logvar must have one shape, got {tuple(mu.shape)} and {tuple(logvar.shape)}")
    # expm1: exp(l) - 1 - l loses all its digits near l = 0, which is where training drives it
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar).mean()


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of two lists of features, layer by layer; no gradient flows into `real`.

    Salimans et al. 2016, in the form of Wang et al. 2018, "High-Resolution Image Synthesis ...", equation 4.
    """
    if len(real) != len(fake) or not real:
        raise ValueError(f"real and fake must be lists of as many layers, got {len(real)} and {len(fake)}")
    terms = [(f - r.detach()).abs().mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()


def _gradient_norm(discriminator: Callable[[Tensor], Tensor], points: Tensor, *, squared: bool) -> Tensor:
    """|grad D(x)|, or its square, of each sample: (N,)."""
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        logits = discriminator(points)
        (gradient,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
    gradient = gradient.flatten(1)
    if gradient.dtype in (torch.float16, torch.bfloat16):
        gradient = gradient.float()
    total = gradient.square().sum(1)
    # the root's slope is infinite at 0, where a dead discriminator is; its square is smooth
    return total if squared else (total + torch.finfo(total.dtype).tiny).sqrt()


__all__ = ["feature_matching", "gradient_penalty", "kl_normal", "r1_penalty"]
