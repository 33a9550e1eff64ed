"""Optimisers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gankit.plugin import Optim


def scheduled_lr(optim: Optim, step: int, steps: int) -> float:
    """Learning rate of step `step` (from 0) in a run of `steps`: a pure function, so a resumed run needs no state."""
    progress = step / max(steps, 1)
    if optim.schedule == "constant":
        return optim.lr
    if optim.schedule == "halve":
        return optim.lr * 0.5 ** min(optim.halvings, math.floor(progress * (optim.halvings + 1)))
    fallen = max(0.0, progress - optim.hold) / (1.0 - optim.hold)
    if optim.schedule == "linear":
        return optim.lr * (1.0 - fallen)
    return optim.lr * 0.5 * (1.0 + math.cos(math.pi * fallen))


def make_optimizer(optim: Optim, parameters: Sequence[Tensor], *, fused: bool | None = True) -> torch.optim.Optimizer:
    """The fused implementation where torch has one: one pass over the weights instead of one an operation.

    ``fused=None`` leaves the choice to torch.
    """
    first, second = optim.betas
    fused = fused and all(p.device.type in ("cpu", "cuda", "mps") and p.is_floating_point() for p in parameters)
    lr, decay = optim.lr, optim.weight_decay
    if optim.kind == "adam":
        return torch.optim.Adam(parameters, lr, optim.betas, weight_decay=decay, fused=fused)
    if optim.kind == "adamw":
        return torch.optim.AdamW(parameters, lr, optim.betas, weight_decay=decay, fused=fused)
    if optim.kind == "rmsprop":
        return torch.optim.RMSprop(parameters, lr, alpha=second, weight_decay=decay)
    return torch.optim.SGD(parameters, lr, momentum=first, weight_decay=decay, fused=fused)
