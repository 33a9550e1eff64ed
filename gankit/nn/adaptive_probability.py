"""The probability of augmentation that follows how sure a discriminator is of its reals."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gankit import whole_batch


class AdaptiveProbability(nn.Module):
    """Adaptive discriminator augmentation, ADA: a probability in a buffer, for ``step.augment(images, p=ada.p)``.

    Of a discriminator that learns its reals by heart all logits on reals become positive. The mean of their signs, r_t,
    is held at `target`: each `every` calls of :meth:`adapt`, p goes up if r_t is above it, else down, by as much as
    takes it from 0 to 1 in `images` images. Karras et al. 2020, "Training Generative Adversarial Networks with
    Limited Data", section 3.1 and equation 1 (target 0.6, every 4 batches, 500,000 images).

    Put it among a variant's networks: then its buffers move to the device, are saved, and come back with a resumed run.
    ValueError for a target outside of (-1, 1), fewer than one image or call, or a start outside of [0, 1].

    Args:
        target: the mean sign that is aimed at.
        images: how many images p takes from 0 to 1.
        every: calls of `adapt` between two changes of p.
        start: p at the beginning.
    """

    p: Tensor
    """float32 scalar in [0, 1]."""
    signs: Tensor
    """Sum of the mean sign of each real since p changed last, float32 scalar."""
    seen: Tensor
    """Number of those reals, float32 scalar."""
    calls: Tensor
    """How often `adapt` was called, int64 scalar."""

    def __init__(self, target: float = 0.6, *, images: float = 500_000, every: int = 4, start: float = 0.0) -> None:
        super().__init__()
        if not -1 < target < 1:
            raise ValueError(f"AdaptiveProbability: target must be between -1 and 1, not {target}")
        if not 1 <= images < math.inf or every < 1:
            raise ValueError(f"AdaptiveProbability: images ({images}) and every ({every}) must be 1 or more")
        if not 0 <= start <= 1:
            raise ValueError(f"AdaptiveProbability: start must be from 0 to 1, not {start}")
        self.target, self.images, self.every = target, images, every
        self.register_buffer("p", torch.full((), float(start)))
        self.register_buffer("signs", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def adapt(self, logits: Tensor) -> None:
        """Takes account of the discriminator's `logits` (N, ...) on N reals, on the device and without waiting for it.

        Of a relativistic discriminator, whose logits have no zero: ``adapt(on_reals - on_fakes)``.
        """
        number = whole_batch.whole(len(logits))
        if logits.numel() == 0:
            return
        self.signs.add_(whole_batch.mean(logits.sign().float().mean()) * number)
        self.seen.add_(number)
        self.calls.add_(1)
        due = self.calls % self.every == 0
        step = (self.signs / self.seen - self.target).sign() * (self.seen / self.images)
        self.p.copy_(torch.where(due, (self.p + step).clamp(0, 1), self.p))
        for total in (self.signs, self.seen):
            total.mul_(~due)

    def extra_repr(self) -> str:
        return f"target={self.target}, images={self.images}, every={self.every}"


__all__ = ["AdaptiveProbability"]
