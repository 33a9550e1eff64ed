"""Optimisers and their schedules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gankit.errors import UsageError
from gankit.options.run import RunConfig
from gankit.plugin import Optim

Betas = tuple[float, float]


def scheduled_lr(optim: Optim, step: int, steps: int) -> float:
    """Learning rate of step `step` (from 0) in a run of `steps`: a pure function, so a resumed run needs no state."""
    if optim.schedule == "constant":
        return optim.lr
    if optim.schedule == "halve":
        progress = step / max(steps, 1)
        return optim.lr * 0.5 ** min(optim.halvings, math.floor(progress * (optim.halvings + 1)))
    left = _left(optim, step, steps)
    return optim.lr * left if optim.lr_end == 0 else optim.lr_end + (optim.lr - optim.lr_end) * left


def scheduled_betas(optim: Optim, step: int, steps: int) -> Betas:
    """Decay rates of step `step` (from 0) in a run of `steps`, as :func:`scheduled_lr`."""
    if optim.betas_end is None or optim.schedule not in ("linear", "cosine"):
        return optim.betas
    left = _left(optim, step, steps)
    first, second = (end + (begin - end) * left for begin, end in zip(optim.betas, optim.betas_end, strict=True))
    return first, second


def scheduled_ema(run: RunConfig, step: int) -> float:
    """Decay of the moving averages after step `step` (from 0): from `ema_start` in a line to `ema`, at `ema_until`."""
    if run.ema_start is None:
        return run.ema
    gone = min(step / (run.ema_until * run.steps), 1.0)
    return run.ema_start + (run.ema - run.ema_start) * gone


def _left(optim: Optim, step: int, steps: int) -> float:
    """How much of the way from a value to its end is still to go: 1 until `hold`, 0 from `until` on."""
    gone = max(0.0, step / max(steps, 1) - optim.hold) / (optim.until - optim.hold)
    gone = min(gone, 1.0)
    return 1.0 - gone if optim.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * gone))


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


_STATE = {
    "adam": {"step", "exp_avg", "exp_avg_sq"},
    "adamw": {"step", "exp_avg", "exp_avg_sq"},
    "rmsprop": {"step", "square_avg"},
    "sgd": {"momentum_buffer"},
}
"""What each keeps of a parameter that it has stepped."""


class ScheduledOptimizer:
    """An optimiser of named parameters, with its schedules."""

    def __init__(self, optim: Optim, parameters: Mapping[str, Tensor]) -> None:
        self.optim = optim
        self.names, self.parameters = list(parameters), list(parameters.values())
        self.optimizer = make_optimizer(optim, self.parameters)

    def schedule(self, step: int, steps: int) -> None:
        """Sets the learning rate and the decay rates of step `step` of `steps`."""
        if self.optim.schedule == "constant":
            return
        values: dict[str, object] = {"lr": scheduled_lr(self.optim, step, steps)}
        if self.optim.betas_end is not None:
            betas = scheduled_betas(self.optim, step, steps)
            names = {"rmsprop": {"alpha": betas[1]}, "sgd": {"momentum": betas[0]}}
            values |= names.get(self.optim.kind, {"betas": betas})
        for group in self.optimizer.param_groups:
            group.update(values)

    def state_dict(self) -> dict[str, Tensor]:
        """The optimiser's tensors, keyed ``parameter/name``."""
        return {
            f"{key}/{name}": value if isinstance(value, Tensor) else torch.tensor(value)
            for key, p in zip(self.names, self.parameters, strict=True)
            for name, value in self.optimizer.state.get(p, {}).items()
            if value is not None
        }

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """The reverse of :meth:`state_dict`. ValueError names what is of no parameter, or of another shape.

        :class:`UsageError` if it is the state of another kind of optimiser.
        """
        places = dict(zip(self.names, self.parameters, strict=True))
        self.optimizer.state.clear()
        for key, value in tensors.items():
            parameter, _, name = key.rpartition("/")
            if parameter not in places:
                raise ValueError(f"{key!r} belongs to no parameter")
            self.optimizer.state[places[parameter]][name] = self._placed(key, value, places[parameter])
        needed, kind = _STATE[self.optim.kind], self.optim.kind
        for parameter, place in places.items():
            if (has := self.optimizer.state.get(place)) and set(has) != needed:
                raise UsageError(f"the state of {parameter!r} is {', '.join(has)}, which is not that of {kind}")

    def _placed(self, key: str, value: Tensor, parameter: Tensor) -> Tensor:
        """`value` where and as the optimiser expects it: the fused kernels count steps on the device, others do not."""
        if not value.isfinite().all():
            raise ValueError(f"{key!r} is not finite")
        if key.endswith("/step"):
            if value.numel() != 1 or not value.is_floating_point():
                raise ValueError(f"{key!r} is of shape {tuple(value.shape)} and {value.dtype}, not a number")
            return value.to(parameter.device if self.optimizer.defaults.get("fused") else "cpu", copy=True)
        if value.shape != parameter.shape or value.dtype != parameter.dtype:
            wanted = f"{tuple(parameter.shape)} and {parameter.dtype}"
            raise ValueError(f"{key!r} is of shape {tuple(value.shape)} and {value.dtype}, its parameter of {wanted}")
        return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


__all__ = ["ScheduledOptimizer", "make_optimizer", "scheduled_betas", "scheduled_ema", "scheduled_lr"]
