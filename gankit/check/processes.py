"""The part of ``gankit plugins check`` that trains in two processes: what they learn is what one would have learned."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gankit.check.checker import Failed
from gankit.check.simulated import Apart, together
from gankit.processes import World
from gankit.training.session import Session
from gankit.whole_batch import shared

OFF = 0.02
"""Part of a gradient, or of a buffer, that rounding in another order may come to."""
REMEDY = (
    "draw for the samples of a batch with step.noise or gankit.whole_batch, and look across samples with "
    "whole_batch.gather or whole_batch.mean"
)


def check_processes(session: Session, fresh: Callable[[World], Session]) -> str:
    """A turn of each phase, of one process and of two (simulated, on one batch): gradients and buffers agree.

    `fresh` makes a session like `session`, whose weights it gets, of an even batch size.
    """

    def work(world: World) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
        one = fresh(world)
        for name, network in one.networks.items():
            network.load_state_dict(session.networks[name].state_dict())
        torch.manual_seed(0)
        step, gradients = one.new_step(0), {}
        with shared(world, one.loader.size):
            for turn in one.turns:
                turn.run([step])
                pairs = zip(turn.names, turn.parameters, strict=True)
                gradients[turn.name] = {key: p.grad.clone() for key, p in pairs if p.grad is not None}
        buffers = {f"{name}.{key}": b for name, net in one.networks.items() for key, b in net.named_buffers()}
        return gradients, buffers

    (alone,) = together(1, work)
    try:
        both = together(2, work)
    except Apart as error:
        raise Failed(f"two processes do not train together: {error}. {REMEDY}") from error
    worst = 0.0
    for gradients, buffers in both:
        for phase, of_one in alone[0].items():
            for network in {key.partition(".")[0] for key in of_one}:
                pair = [
                    torch.cat([g.flatten().double() for key, g in all_[phase].items() if key.startswith(f"{network}.")])
                    for all_ in (alone[0], gradients)
                ]
                off = _off(*pair)
                if off > OFF:
                    what = f"phase {phase!r}: the gradient of {network!r}"
                    raise Failed(f"{what} is {off:.0%} off with two processes that share the batch: {REMEDY}")
                worst = max(worst, off)
        for key, value in alone[1].items():
            if (off := _off(value.double().flatten(), buffers[key].double().flatten())) > OFF:
                raise Failed(f"the buffer {key} is {off:.0%} off with two processes that share the batch: {REMEDY}")
    return f"gradients of two agree with those of one to {worst:.0e}"


def _off(wanted: Tensor, found: Tensor) -> float:
    """How large the difference is beside what is wanted."""
    wanted, found = wanted.nan_to_num(), found.nan_to_num()
    scale = float(wanted.norm())
    return float((wanted - found).norm()) / scale if scale else float(found.norm())


__all__ = ["check_processes"]
