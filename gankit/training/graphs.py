"""Why a backward pass failed, in the words of the contract: which shared value is used up or outdated, and by what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from gankit.training.step import TrainStep


def explain(error: RuntimeError, total: Tensor, step: TrainStep) -> str | None:
    """What is wrong with the graph of `total`, as a sentence; None if `error` says something else."""
    text = str(error)
    if "backward through the graph a second time" in text:
        return _used_twice(total, step)
    if "modified by an inplace operation" in text:
        return _changed_since(total, step, text)
    return None


def _used_twice(total: Tensor, step: TrainStep) -> str:
    keys = [key for key in _shared_in(total, step) if any(phase != step.phase for phase in step.users[key])]
    if not keys:
        return (
            "it backpropagates through a graph that is used up: draw what it needs anew, or through step.shared "
            "with .detach()"
        )
    before = sorted({phase for key in keys for phase in step.users[key] if phase != step.phase})
    what = f"shared {_quoted(keys)}, whose graph phase {_quoted(before)} has used up in this step"
    return f"it backpropagates through {what}: detach it in one of the two, or draw anew"


def _changed_since(total: Tensor, step: TrainStep, text: str) -> str:
    for key in _shared_in(total, step):
        drawn = step.drawn[key]
        inside = {id(p) for p in _leaves(step.value(key))}
        for phase, networks in step.updated[drawn:]:
            for name in networks:
                if any(id(p) in inside for p in step.networks[name].parameters()):
                    return (
                        f"it backpropagates through shared {key!r}, which was drawn from network {name!r} before phase "
                        f"{phase!r} updated that network in this step: its gradients would be wrong. Draw it anew, "
                        f"detach it, or let this phase come before {phase!r}"
                    )
    reason = text.partition("modified by an inplace operation")[2].partition(" Hint")[0].lstrip(": ")
    return f"a tensor that its gradients need was changed in place after it was used: {reason}"


def _shared_in(total: Tensor, step: TrainStep) -> list[str]:
    """The keys of shared values that `total` depends on."""
    nodes = set(_nodes([total.grad_fn]))
    return [key for key in step.users if any(t.grad_fn in nodes for t in _tensors(step.value(key)) if t.grad_fn)]


def _leaves(value: Any) -> Iterator[Tensor]:
    """The parameters that the graph of a shared value ends in."""
    for node in _nodes(t.grad_fn for t in _tensors(value)):
        if isinstance(leaf := getattr(node, "variable", None), Tensor):
            yield leaf


def _nodes(starts: Iterable[Any]) -> Iterator[Any]:
    seen: set[Any] = set()
    waiting = list(starts)
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(parent for parent, _ in node.next_functions)


def _tensors(value: Any) -> Iterator[Tensor]:
    """Those in a shared value: a tensor, or tuples, lists and mappings of them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _tensors(one)


def _quoted(names: Iterable[str]) -> str:
    return " and ".join(repr(name) for name in names)


__all__ = ["explain"]
