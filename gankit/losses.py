"""Penalty, pairing, divergence and contrastive terms: pure functions of tensors.

The other adversarial terms on a discriminator's logits are ops, :func:`gankit.ops.patchgan_d_loss` and
:func:`gankit.ops.patchgan_g_loss`; they take logits of any shape, a plain (N,) among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gankit import whole_batch
from gankit.compiled import as_written


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
    _check_pairs(real, fake)
    shape = (real.shape[0], *(1,) * (real.dim() - 1))
    mix = whole_batch.rand(*shape, generator=generator, device=real.device, dtype=real.dtype)
    points = torch.lerp(real.detach(), fake.detach(), mix)
    return (_gradient_norm(discriminator, points, squared=False) - target).square().mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Mean of |grad D(x)|^2 over real x: (N, ...) -> scalar; the published penalty is gamma / 2 times this.

    `discriminator` is called once, with the points: who keeps what it returned has the logits for the adversarial term
    too. What :func:`gradient_penalty` says of it and of dtypes holds. Mescheder et al. 2018, "Which Training Methods
    for GANs do actually Converge?", equation 9.
    """
    return _gradient_norm(discriminator, real.detach(), squared=True).mean()


def r2_penalty(discriminator: Callable[[Tensor], Tensor], fake: Tensor) -> Tensor:
    """Mean of |grad D(x)|^2 over drawn x: (N, ...) -> scalar; the published penalty is gamma / 2 times this.

    :func:`r1_penalty` of what a generator draws; no gradient flows into `fake`. Mescheder et al. 2018, equation 10.
    """
    return r1_penalty(discriminator, fake)


def approx_penalty(
    discriminator: Callable[[Tensor], Tensor],
    points: Tensor,
    *,
    logits: Tensor | None = None,
    scale: float = 0.01,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean of ((D(x + scale e) - D(x)) / scale)^2 over `points` x, e standard normal: (N, ...) -> scalar.

    In expectation |grad D(x)|^2, up to terms of scale^2, so it stands for :func:`r1_penalty` on reals and for
    :func:`r2_penalty` on fakes without a second derivative. One e a point: unbiased, but not exact.

    `logits`, if given, are ``discriminator(points)``, with their graph: it is then called once, else twice. It must
    answer the same to the same input, so no dropout and no random augmentation inside it. In 16 bits the logits are
    rounded by about as much as a step of 0.01 moves them: take a larger `scale` there. What :func:`gradient_penalty`
    says of `discriminator`, `generator` and dtypes holds. ValueError if `scale` is not positive, or `logits` are not
    of `points`. "Adversarial Flow Models" (2026), with the difference divided by `scale`.
    """
    if not 0 < scale < float("inf"):
        raise ValueError(f"scale must be a positive number, got {scale}")
    points = points.detach()
    noise = whole_batch.randn(*points.shape, generator=generator, device=points.device, dtype=points.dtype)
    if logits is None:
        logits = discriminator(points)
    moved = discriminator(torch.add(points, noise, alpha=scale))
    if moved.shape != logits.shape:
        raise ValueError(f"logits must be those of points, of shape {tuple(moved.shape)}, got {tuple(logits.shape)}")
    difference = _wide(moved) - _wide(logits)
    return (difference.flatten(1).sum(1) if difference.dim() > 1 else difference).div(scale).square().mean()


def relativistic_d_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean of softplus(-(real - fake)) over pairs of logits: the discriminator's loss, scalar.

    `real`, `fake`: logits of one shape and dtype; the n-th real is paired with the n-th fake. Returns float32 (float64
    for float64). Jolicoeur-Martineau 2019, "The relativistic discriminator", equation 3; Huang et al. 2024, "The GAN is
    dead; long live the GAN!", section 2.1.
    """
    _check_pairs(real, fake)
    return F.softplus(_wide(fake) - _wide(real)).mean()


def relativistic_g_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean of softplus(-(fake - real)): the generator's loss, the mirror image of :func:`relativistic_d_loss`.

    It needs the logits of reals too; they may be without a graph, as nothing of the generator is in them.
    """
    _check_pairs(real, fake)
    return F.softplus(_wide(real) - _wide(fake)).mean()


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


def patch_nce(query: Tensor, key: Tensor, temperature: float = 0.07) -> Tensor:
    """Mean cross-entropy of finding each place's own key among those of all places of its image: scalar.

    `query`, `key`: (N, P, D), features of length 1 at the same P places of N images (what became of them, and what they
    were), of one floating dtype. -log softmax over the P keys of an image, of query . key / `temperature`: an image's
    other places are the negatives, other images none. No gradient flows into `key`. Returns float32 (float64 for
    float64). ValueError unless the shapes agree and `temperature` is positive. Park et al. 2020, "Contrastive Learning
    for Unpaired Image-to-Image Translation", equations 2 and 3.
    """
    if query.dim() != 3 or query.shape != key.shape or not query.numel():
        raise ValueError(
            f"query and key must be (N, P, D) and alike, not empty; got {tuple(query.shape)} and {tuple(key.shape)}"
        )
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be a positive number, got {temperature}")
    with torch.autocast(query.device.type, enabled=False):  # 16 bits are off by a twentieth of a nat at 0.07
        logits = _wide(query) @ _wide(key.detach()).transpose(1, 2) / temperature
        own = logits.diagonal(dim1=1, dim2=2)
        return (logits.logsumexp(2) - own).mean()


def _gradient_norm(discriminator: Callable[[Tensor], Tensor], points: Tensor, *, squared: bool) -> Tensor:
    """|grad D(x)|, or its square, of each sample: (N,)."""
    points = points.detach().requires_grad_()
    with torch.enable_grad(), as_written():
        logits = discriminator(points)
        (gradient,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
    total = _wide(gradient.flatten(1)).square().sum(1)
    # the root's slope is infinite at 0, where a dead discriminator is; its square is smooth
    return total if squared else (total + torch.finfo(total.dtype).tiny).sqrt()


def _wide(values: Tensor) -> Tensor:
    """16-bit numbers as float32, others as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _check_pairs(real: Tensor, fake: Tensor) -> None:
    if real.shape != fake.shape:
        raise ValueError(f"real and fake must have one shape, got {tuple(real.shape)} and {tuple(fake.shape)}")


def sameness(images: Tensor) -> Tensor:
    """How alike the images (N, C, H, W) of the second half are to those of the first, one to one: scalar, at most 50.

    The reciprocal of the mean absolute difference, as in mode seeking (Mao et al. 2019).
    """
    images = whole_batch.gather(images)
    half = len(images) - len(images) // 2
    apart = (images[: len(images) - half] - images[half:]).float().abs().mean((1, 2, 3))
    return (1 / (apart + 0.02)).sum() / max(len(apart), 1)


__all__ = [
    "approx_penalty",
    "feature_matching",
    "gradient_penalty",
    "kl_normal",
    "patch_nce",
    "r1_penalty",
    "r2_penalty",
    "relativistic_d_loss",
    "relativistic_g_loss",
    "sameness",
]
