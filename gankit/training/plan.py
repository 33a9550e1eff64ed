"""What a run would be, without running it: ``gankit run VARIANT --dry-run``."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gankit.data.kinds import describe, kind_of
from gankit.plugin import Step
from gankit.training.step import TrainStep

if TYPE_CHECKING:
    from gankit.plugin import Batch
    from gankit.training.session import Session


@dataclass(frozen=True)
class Plan:
    """Everything settled before the first step; :meth:`to_dict` is JSON."""

    variant: str
    dataset: str
    preset: str
    stage: int | None
    device: str
    precision: str
    memory_format: str
    steps: int
    processes: int
    batch_size: int
    """Of all processes together; `memory` is of each."""
    accumulate: int
    samples: int
    """In the training split."""
    data: dict[str, str]
    """What stands under each key of a batch, in words."""
    networks: list[dict[str, Any]]
    """Of each: name, parameters, trainable, averaged."""
    phases: list[dict[str, Any]]
    """Of each: name, updates, every, repeat ("by step" if a function says it), optimizers, shares, parameters."""
    memory: dict[str, int | None]
    """Estimated bytes: weights, gradients, optimizers, averages, batch, activations, total. `activations`, the most
    that autograd keeps at once, is measured by running a step without data; None, and left out of the total, if the
    variant's losses cannot be run like that."""
    unknown: str
    """Why `activations` is None; else empty."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_plan(session: Session) -> Plan:
    """The plan of what `session` would train. Nothing is trained or written."""
    resolved, run, spec = session.resolved, session.resolved.run, session.spec
    averaged = session.variant.averaged if run.ema > 0 else ()
    networks = [
        {
            "name": name,
            "parameters": sum(p.numel() for p in network.parameters()),
            "trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
            "averaged": name in averaged,
        }
        for name, network in session.networks.items()
    ]
    phases = [
        {
            "name": turn.name,
            "updates": list(turn.phase.updates),
            "every": turn.phase.every,
            "repeat": "by step" if callable(turn.phase.repeat) else turn.phase.repeat,
            "optimizers": [one.optim.model_dump(mode="json") for one in turn.optimizers],
            "shares": turn.phase.shares,
            "parameters": sum(p.numel() for p in turn.parameters),
        }
        for turn in session.turns
    ]
    kept, unknown = _activations(session)
    return Plan(
        variant=resolved.variant,
        dataset=resolved.dataset,
        preset=resolved.preset,
        stage=resolved.stage,
        device=str(session.device),
        precision=session.precision,
        memory_format=str(session.memory_format).removeprefix("torch.").removesuffix("_format"),
        steps=run.steps,
        processes=session.world.size,
        batch_size=run.batch_size,
        accumulate=run.accumulate,
        samples=len(session.dataset),
        data=describe(spec),
        networks=networks,
        phases=phases,
        memory=_memory(session, averaged, kept),
        unknown=unknown,
    )


def _memory(session: Session, averaged: Sequence[str], kept: int | None) -> dict[str, int | None]:
    moments = {"adam": 2, "adamw": 2, "rmsprop": 1, "sgd": 1}
    learning = {id(p): p for turn in session.turns for p in turn.parameters}
    keys = session.spec.keys.values()
    batch = sum(torch.Size(key.shape).numel() * kind_of(key).step_dtype.itemsize for key in keys)
    memory: dict[str, int | None] = {
        "weights": _bytes(session.networks.values()),
        "gradients": sum(p.nbytes for p in learning.values()),
        "optimizers": sum(
            moments[one.optim.kind] * p.nbytes
            for turn in session.turns
            if turn.phase.shares is None
            for one in turn.optimizers
            for p in one.parameters
        ),
        "averages": _bytes([session.networks[name] for name in averaged]),
        "batch": batch * session.loader.size * session.resolved.run.accumulate,
        "activations": kept,
    }
    memory["total"] = sum(value for value in memory.values() if value is not None)
    return memory


def _bytes(networks: Any) -> int:
    """Parameters and buffers, shared ones once."""
    tensors = {id(t): t for network in networks for t in [*network.parameters(), *network.buffers()]}
    return sum(t.nbytes for t in tensors.values())


def _activations(session: Session) -> tuple[int | None, str]:
    """:func:`activations`; None, and why, if the losses need more than tensors without content."""
    try:
        return activations(session), ""
    except Exception as error:  # the losses are a plugin's; torch may have no rule for an op
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason if len(reason) <= 160 else reason[:157] + "..."
        return None, f"the losses cannot be run without data, which would measure it: {reason}"


def activations(session: Session) -> int:
    """Most bytes that autograd keeps for backward passes during a step: a step on tensors without content."""
    from torch._subclasses.fake_tensor import FakeTensorMode  # private: a torch without it costs this figure

    networks = copy.deepcopy(session.networks)
    # fake tensors name a real device, meta tensors do not, and autocast (switched off, too) needs to know one
    with FakeTensorMode() as mode:
        for network in networks.values():
            network._apply(mode.from_tensor)
        peak = _run(session, networks)
    # under autocast most of what is kept is half as wide
    return peak if session.precision == "float32" else peak // 2


def _run(session: Session, networks: Mapping[str, nn.Module]) -> int:
    size, device = session.loader.size, session.device

    def feed() -> Batch:
        return {
            name: torch.empty(size, *key.shape, dtype=kind_of(key).step_dtype, device=device)
            for name, key in session.spec.keys.items()
        }

    def make() -> Step:
        return TrainStep(1, size, device, networks, torch.Generator(device), feed, session.spec)

    own = [t for network in networks.values() for t in [*network.parameters(), *network.buffers()]]
    memory = _AutogradMemory({t.untyped_storage()._cdata for t in own})
    main = [make() for _ in range(session.resolved.run.accumulate)]
    with torch.autograd.graph.saved_tensors_hooks(memory.pack, memory.unpack):
        for turn in session.turns:
            names = dict(zip(turn.names, turn.parameters, strict=True))
            parameters = [networks[key.partition(".")[0]].get_parameter(key.partition(".")[2]) for key in names]
            for step in main:
                terms = turn.phase.loss(step)
                torch.stack(list(terms.values())).sum().backward(inputs=parameters)
                del terms
    return memory.peak


class _AutogradMemory:
    """Counts the storages that autograd holds, each once, while it holds them."""

    def __init__(self, ignored: set[int]) -> None:
        self.ignored = ignored
        self.holders: dict[int, int] = {}
        self.live = self.peak = 0

    def pack(self, tensor: Tensor) -> _HeldTensor:
        return _HeldTensor(tensor, None if tensor.untyped_storage()._cdata in self.ignored else self)

    def unpack(self, saved: _HeldTensor) -> Tensor:
        return saved.tensor

    def change(self, tensor: Tensor, by: int) -> None:
        storage = tensor.untyped_storage()
        count = self.holders.get(storage._cdata, 0) + by
        self.holders[storage._cdata] = count
        if (by > 0 and count == 1) or (by < 0 and count == 0):
            self.live += by * storage.nbytes()
            self.peak = max(self.peak, self.live)


class _HeldTensor:
    """A tensor that autograd keeps; freed with the graph."""

    def __init__(self, tensor: Tensor, memory: _AutogradMemory | None) -> None:
        self.tensor, self.memory = tensor, memory
        if memory is not None:
            memory.change(tensor, 1)

    def __del__(self) -> None:
        if self.memory is not None:
            self.memory.change(self.tensor, -1)


__all__ = ["Plan", "activations", "make_plan"]
