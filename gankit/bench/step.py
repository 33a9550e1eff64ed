"""What a step of the trainer costs over a loop written by hand: both in one process, taking turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from gankit.device import autocast
from gankit.training.optim import make_optimizer

if TYPE_CHECKING:
    from gankit.plugin import Dataset, Variant
    from gankit.training.session import Session

Loop = Callable[[int], None]
"""A step by number."""


def compare(session: Session, loop: Loop, *, rounds: int = 20, seconds: float = 0.15) -> dict[str, Any]:
    """Time the trainer's step against `loop`: `rounds` of about `seconds` each, alternating.

    Times are milliseconds a step. ``ratio`` is the median over rounds of trainer to loop (1.05: five per cent more);
    medians of neighbours in time are all that a shared machine allows to be compared.
    """
    steps = _calibrate(loop, seconds, session.device)
    step = 0
    measured: dict[str, list[float]] = {"trainer": [], "loop": []}
    for number in range(rounds + 1):
        order: list[tuple[str, Loop]] = [("trainer", session.train_step), ("loop", loop)]
        for name, run in order if number % 2 else reversed(order):
            begin = _now(session.device)
            for index in range(step, step + steps):
                run(index)
            if name == "trainer":
                session.meter.drain()  # as often as a run logs
            measured[name].append((_now(session.device) - begin) / steps * 1e3)
        session.meter.means()
        step += steps
    trainer, by_hand = measured["trainer"][1:], measured["loop"][1:]  # the first round warms up
    ratios = [a / b for a, b in zip(trainer, by_hand, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "trainer_ms": statistics.median(trainer),
        "loop_ms": statistics.median(by_hand),
        "trainer_best_ms": min(trainer),
        "loop_best_ms": min(by_hand),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [low, high],
        "ratio_of_best": min(trainer) / min(by_hand),
        "rounds": rounds,
        "steps_per_round": steps,
    }


def bench_step(
    variant: str | type[Variant[Any]],
    dataset: str | Dataset[Any] | None = None,
    *,
    rounds: int = 20,
    loop: Callable[[Session], Loop] | None = None,
    preset: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """A row: the trainer's step of `variant` against `loop`, by default :func:`minimal_loop` over the same losses.

    `options` are those of a run. `loop` makes the loop to compare with; see benchmarks/bench_step.py for two that are
    written out in plain torch.
    """
    from gankit.api import make_session
    from gankit.runs.environment import environment

    session = make_session(variant, dataset, preset=preset, **options)
    session.begin()
    resolved = session.resolved
    row = compare(session, (loop or minimal_loop)(session), rounds=rounds)
    session.close()
    described = environment(session.device, type(session.variant), type(session.dataset))
    return {
        "bench": "step",
        "variant": resolved.variant,
        "dataset": resolved.dataset,
        "against": loop.__name__ if loop else "minimal_loop",
        "batch_size": resolved.run.batch_size,
        "image": list(session.spec.image_shape) if session.spec.images else None,
        "precision": session.precision,
        "ema": resolved.run.ema if session.ema else 0.0,
        **{key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()},
        **described,
    }


def minimal_loop(session: Session) -> Loop:
    """The least that trains the same networks by the same losses: no averages, log, watch or schedule.

    It has networks and a data stream of its own. Gradients are zeroed and taken as in any torch example, so those of
    networks that are not learning are computed as well, and thrown away; the optimisers are torch's by default.
    """
    variant = type(session.variant)(session.variant.config)
    other = type(session)(variant, session.dataset, session.resolved)
    for name, network in other.networks.items():  # with whatever prepare() did
        network.load_state_dict(session.networks[name].state_dict())
    plain = {
        id(one): make_optimizer(one.optim, one.parameters, fused=None)
        for turn in other.turns
        if turn.phase.shares is None
        for one in turn.optimizers
    }
    precision, device = other.precision, other.device

    def loop(index: int) -> None:
        main = other.new_step(index)
        for turn in other.turns:
            optimizers = [plain[id(one)] for one in turn.optimizers]
            for repetition in range(turn.repeats(index)):
                step = main if repetition == 0 else other.new_step(index)
                for optimizer in optimizers:
                    optimizer.zero_grad()
                with autocast(precision, device):
                    loss = torch.stack(list(turn.phase.loss(step).values())).sum()
                loss.backward()
                for optimizer in optimizers:
                    optimizer.step()
                if turn.phase.after is not None:
                    with torch.no_grad():
                        turn.phase.after(step)

    return loop


def _calibrate(loop: Loop, seconds: float, device: torch.device) -> int:
    """How many steps take about `seconds`."""
    begin, steps = _now(device), 0
    while steps < 3 or _now(device) - begin < seconds:
        loop(steps)
        steps += 1
    return max(3, steps)


def _now(device: torch.device) -> float:
    """The clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


__all__ = ["bench_step", "compare", "minimal_loop"]
