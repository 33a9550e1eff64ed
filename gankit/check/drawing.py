"""The part of ``gankit plugins check`` that draws: samples, sheets, codes, and the variant's own metrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gankit.check.checker import BATCH, Failed
from gankit.data.kinds import KINDS, kind_of
from gankit.dataset import read
from gankit.evaluate.own import measure_own
from gankit.plugin import SampleRequest
from gankit.sampling.conditions import asked_keys, choose, conditions
from gankit.sampling.draw import called, defines, fault_of, sampler
from gankit.sampling.drawer import Drawer

if TYPE_CHECKING:
    from gankit.training.session import Session

CPU = torch.device("cpu")


def check_samples(session: Session) -> str:
    shapes = []
    variant = session.variant
    for to in variant.produces or (None,):
        for n in (1, 5):
            samples = _draw(session, n, 0, to)
            _check_values(samples, session.spec[to].kind if to else "")
        shapes.append("x".join(map(str, samples.shape[1:])) or "a number")
        if not torch.equal(_draw(session, 5, 1, to), _draw(session, 5, 1, to)):
            raise Failed("sample() gives different samples for one seed: draw all noise from request.generator")
        same = torch.equal(_draw(session, 5, 1, to), _draw(session, 5, 2, to))
        if same and variant.random:
            remedy = "draw noise from request.generator, or say `random = False`"
            raise Failed(f"sample() gives the same samples for different seeds: {remedy}")
        if not same and not variant.random:
            raise Failed("`random` is False, but sample() gives different samples for different seeds")
        asked = asked_keys(variant, session.spec, to or "")
        if variant.keeps is not None and (variant.keeps not in asked or asked[variant.keeps].kind != "mask"):
            raise Failed(f"`keeps` names {variant.keeps!r}, which is no mask that sample() is asked with")
    drawer = Drawer(variant, session.sampling_networks(), session.spec, lambda: [session.dataset], CPU)
    shown = drawer.samples(drawer.ask(5, seed=0), drawer.ask_for_sheet(5, seed=0), seed=0)
    beside = [*shown.layout.panels, *shown.figures]
    return ", ".join(shapes) + (f"; shown with {', '.join(beside)}" if beside else "")


def _check_values(samples: Tensor, kind: str) -> None:
    if not samples.isfinite().all():
        raise Failed("sample() returned values that are not finite")
    low, high = float(samples.min()), float(samples.max())
    pictures = KINDS[kind] if kind in KINDS and KINDS[kind].pixels else None
    if pictures is not None and (low < pictures.lowest - 1e-3 or high > 1 + 1e-3):
        raise Failed(f"sample() returned values from {low:.3g} to {high:.3g}; {kind}s are in [{pictures.lowest:g}, 1]")


def _draw(session: Session, n: int, seed: int, to: str | None) -> Tensor:
    """As the trainer draws, without its clamping; the conditions stay the same for all seeds."""
    networks, spec, variant = session.sampling_networks(), session.spec, session.variant
    asked = conditions(variant, spec, n, to=to, rows=lambda: [session.dataset], seed=0)
    produces = choose(variant, to)
    method = sampler(variant, networks)
    ((samples, _),) = called(method, networks, spec, [(n, asked.batch)], seed=seed, device=CPU, produces=produces)
    if fault := fault_of(samples, n, spec, produces):
        raise Failed(f"sample() returned {fault}")
    return samples


def check_codes(session: Session) -> str:
    """What `codes` and `encode` return can be decoded, to samples of the right shape."""
    variant, networks, spec = session.variant, session.sampling_networks(), session.spec
    if not defines(variant, "decode"):
        return ""
    produces = choose(variant)
    asked = conditions(variant, spec, 3, rows=lambda: [session.dataset])

    def decoded(request: SampleRequest, codes: object, source: str) -> None:
        if not isinstance(codes, Tensor) or codes.shape[:1] != (request.n,):
            shape = tuple(codes.shape) if isinstance(codes, Tensor) else type(codes).__name__
            raise Failed(f"{source} returned {shape}; a tensor of {request.n} rows is expected")
        if fault := fault_of(variant.decode(networks, codes, request), request.n, spec, produces):
            raise Failed(f"decode() of what {source} returns gave {fault}")

    def use(request: SampleRequest) -> list[str]:
        done = []
        if defines(variant, "codes"):
            decoded(request, variant.codes(request), "codes()")
            done.append("interpolated")
        if defines(variant, "encode"):
            decoded(request, variant.encode(networks, _held_out(session, request.n)), "encode()")
            done.append("reconstructed")
        return done

    ((done, _),) = called(use, networks, spec, [(3, asked.batch)], seed=0, device=CPU, produces=produces)
    return "; can be " + " and ".join(done) if done else ""


def _held_out(session: Session, n: int) -> dict[str, Tensor]:
    """`n` samples as in a step."""
    data, rows = session.dataset, torch.arange(n)
    batch = read(data, {stream: rows % length for stream, length in data.streams().items()})
    return {name: kind_of(session.spec[name]).to_step(value) for name, value in batch.items()}


def check_measures(session: Session) -> str:
    """The variant's own metrics have the names it says, and values."""
    values = measure_own(
        session.variant,
        session.sampling_networks(),
        session.dataset,
        batch_size=BATCH,
        seed=0,
        device=CPU,
        tell=lambda event: None,
    )
    undefined = [name for name, value in values.items() if not math.isfinite(value)]
    if undefined and session.variant.metric in undefined:
        raise Failed(f"`metric` is {session.variant.metric!r}, which measure() gives as {values[undefined[0]]}")
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


__all__ = ["check_codes", "check_measures", "check_samples"]
