"""The rows of the suite, and the candidates that are compared on each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gankit.bench.suite import OPS, Op, shapes_of

__all__ = ["DIRECTIONS", "LAYOUTS", "Candidate", "Case", "op_cases", "round_robin"]

Candidate = Callable[[], Any]
DIRECTIONS = ("forward", "forward+backward", "penalty")  # penalty: the derivative of backward too
LAYOUTS = ("nchw", "channels_last")


@dataclass(frozen=True)
class Case:
    """One row: an op on one shape, dtype, layout and direction."""

    op: Op
    shape: tuple[int, ...]
    dtype: torch.dtype
    layout: str
    direction: str

    @property
    def id(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.op.name}-{'x'.join(map(str, self.shape))}-{dtype}-{self.layout}-{self.direction}"

    @property
    def _maps(self) -> int:
        return max(self.op.logits, 1)

    @property
    def bytes(self) -> int:
        """Bytes of x; of all logits for a loss. Ops are compared with a copy of as many."""
        return self._maps * torch.Size(self.shape).numel() * self.dtype.itemsize

    @property
    def passes(self) -> int:
        """How often `bytes` have to move at least, read or written.

        A map is read and written; backward reads the gradient and what was kept, and writes; its derivative reads these
        two and the penalty's gradient, and writes two. Of a loss the logits are read, and their gradient is written.
        """
        if self.op.logits:
            return 1 if self.direction == "forward" else 2
        return {"forward": 2, "forward+backward": 5, "penalty": 10}[self.direction]

    def kept_bytes(self, function: Callable[..., Tensor], device: torch.device) -> int:
        """Bytes that autograd keeps for backward besides the output, which the next layer keeps in any case."""
        leaves, _ = self._inputs(device)
        kept: dict[int, int] = {}

        def pack(t: Tensor) -> Tensor:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            y = function(*leaves)
        kept.pop(y.untyped_storage().data_ptr(), None)
        return sum(kept.values())

    def _tensor(self, device: torch.device, grad: bool) -> Tensor:
        x = torch.randn(self.shape, device=device).to(self.dtype)
        if self.layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        return x.requires_grad_(grad)

    def candidates(self, device: torch.device, compiled: bool = True) -> dict[str, Candidate]:
        """What to time, by name: see `calls`, of which there is one each."""
        return {name: calls[0] for name, calls in self.calls(device, compiled).items()}

    def calls(
        self, device: torch.device, compiled: bool = True, copies: int = 1, gpu: bool | None = None
    ) -> dict[str, list[Candidate]]:
        """What to time, by name: ours, eager, compile, copy (into memory allocated before), clone (into new memory).

        On CUDA (`gpu`) also compile_no_graphs and, where torch has a kernel of its own, aten. There are `copies` sets
        of input tensors, and each candidate has one call for each of them. On CUDA a call's results are kept until the
        same call is made again, so that calling all in turn writes to as much memory as it reads; not those of compile,
        whose CUDA graphs have memory of their own. The gradient that backward gets is dense and in the output's layout,
        or 1 for a loss.
        """
        sets = [self._inputs(device) for _ in range(copies)]
        gpu = device.type == "cuda" if gpu is None else gpu

        def for_each_set(function: Callable[..., Tensor]) -> list[Candidate]:
            return [_driver(function, leaves, self.direction, incoming, gpu) for leaves, incoming in sets]

        calls = {
            "ours": for_each_set(self.op.fused),
            "eager": for_each_set(self.op.eager),
            "copy": [_copy(leaves[: self._maps]) for leaves, _ in sets],
            "clone": [_clone(leaves[: self._maps]) for leaves, _ in sets],
        }
        if gpu and self.op.aten is not None:
            calls["aten"] = for_each_set(self.op.aten)
        if compiled and self.direction != "penalty":  # compiled functions have no second derivatives
            reset_compiled()
            # A compiled copy of what eager torch computes, for these shapes alone: its best case.
            modes = {"compile": "max-autotune", "compile_no_graphs": "max-autotune-no-cudagraphs"}
            for name, mode in modes.items() if gpu else [("compile", None)]:
                calls[name] = for_each_set(torch.compile(self.op.eager, dynamic=False, mode=mode))
        if gpu:
            keep = {name: _new_step if name == "compile" else _hold_result for name in calls}
            calls = {name: [keep[name](call) for call in calls[name]] for name in calls}
        return calls

    def _inputs(self, device: torch.device) -> tuple[list[Tensor], Tensor | None]:
        """The op's arguments, and the gradient that comes in."""
        grad = self.direction != "forward"
        tensors = [self._tensor(device, grad) for _ in range(self._maps)]
        channels = [
            torch.randn(self.shape[1], device=device).to(self.dtype).requires_grad_(grad)
            for _ in range(self.op.channel_args)
        ]
        return [*tensors, *channels], None if self.op.logits else torch.randn_like(tensors[0])


def reset_compiled() -> None:
    """Drops what torch.compile has cached, so that no case runs into its limit of recompilations."""
    torch.compiler.reset()


def _driver(
    function: Callable[..., Tensor], leaves: Sequence[Tensor], direction: str, incoming: Tensor | None, results: bool
) -> Candidate:
    """A call; with `results` it returns all that it wrote, which costs a microsecond."""

    def forward() -> Tensor:
        return function(*leaves)

    def forward_backward() -> list[Tensor] | None:
        y = function(*leaves)
        # Not into .grad: what writes there belongs to the stream on which a leaf was first used, which need not be the
        # one that a graph is captured on.
        grads = torch.autograd.grad(y, leaves, incoming)
        return [y.detach(), *grads] if results else None

    def penalty() -> list[Tensor] | None:
        y = function(*leaves)
        (dx,) = torch.autograd.grad(y, leaves[0], incoming, create_graph=True)
        (second,) = torch.autograd.grad(dx, leaves[0], incoming)
        return [y.detach(), dx.detach(), second] if results else None

    return {"forward": forward, "forward+backward": forward_backward, "penalty": penalty}[direction]


def _copy(sources: Sequence[Tensor]) -> Candidate:
    sources = [s.detach() for s in sources]
    targets = [torch.empty_like(s) for s in sources]

    def copy() -> None:
        for target, source in zip(targets, sources, strict=True):
            target.copy_(source)

    return copy


def _clone(sources: Sequence[Tensor]) -> Candidate:
    sources = [s.detach() for s in sources]
    return lambda: [s.clone() for s in sources]


def round_robin(calls: Sequence[Candidate]) -> Candidate:
    """One candidate that makes the calls one after another, a different one each time."""
    if len(calls) == 1:
        return calls[0]
    order = itertools.cycle(calls)
    return lambda: next(order)()


def _hold_result(call: Candidate) -> Candidate:
    """Keeps the results of the last call alive, so that the next one gets other memory."""
    results: list[Any] = [None]

    def holding() -> None:
        results[0] = call()

    return holding


def _new_step(call: Candidate) -> Candidate:
    """Tells CUDA graphs that the results of the call before are no longer needed."""

    def step() -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return call()

    return step


def op_cases(ops: Sequence[str] | None = None, quick: bool = False, device: str = "cpu") -> list[Case]:
    """All rows of the suite, or those of the named ops; `quick` keeps a large and a small shape in float32.

    A name picks an op and its variants: "patchgan_d_loss" stands for all its kinds. On "cuda" maps of 4 MiB and 64 MiB
    are added, in float32 and, with batches twice as large, in bfloat16.
    """
    wanted = [op for op in OPS if ops is None or op.name in ops or op.name.split("[")[0] in ops]
    if ops is not None:
        known = {op.name for op in OPS} | {op.name.split("[")[0] for op in OPS}
        if unknown := sorted(set(ops) - known):
            raise ValueError(f"unknown op {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return [
        Case(op, shape, dtype, layout, direction)
        for op in wanted
        for shape, dtype in shapes_of(op, quick, device)
        # Logits have one channel, so both layouts are the same memory.
        for layout in (LAYOUTS[:1] if op.logits else LAYOUTS)
        for direction in (DIRECTIONS if op.penalty else DIRECTIONS[:2])
    ]
