"""What is measured: ops, shapes, dtypes, layouts, directions, and the candidates that are compared on each."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gankit.ops.instance_norm_act import instance_norm_act
from gankit.ops.leaky_relu import leaky_relu
from gankit.ops.patchgan_loss import (
    patchgan_d_loss,
    patchgan_d_loss_reference,
    patchgan_g_loss,
    patchgan_g_loss_reference,
)

__all__ = ["DIRECTIONS", "LAYOUTS", "OPS", "Case", "op_cases"]

Candidate = Callable[[], Any]
DIRECTIONS = ("forward", "forward+backward")
LAYOUTS = ("nchw", "channels_last")


@dataclass(frozen=True)
class Op:
    """An op, what it stands for in eager torch, and the shapes it meets in practice."""

    name: str
    fused: Callable[..., Tensor]
    eager: Callable[..., Tensor]
    channel_args: int  # trailing arguments of shape (C,), leaves that take gradients
    shapes: tuple[tuple[int, ...], ...]
    logits: int = 0  # tensors of x's shape that the op takes, for losses
    large: tuple[tuple[int, ...], ...] = ()  # further shapes for a GPU, 4 MiB and 64 MiB in float32
    aten: Callable[..., Tensor] | None = None  # torch's own kernel, where eager is something else


def _norm_eager(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    y = torch.nn.functional.instance_norm(x, weight=weight, bias=bias)
    return torch.nn.functional.leaky_relu(y, 0.2)


def _norm_aten(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    y = torch.instance_norm(x, weight, bias, None, None, True, 0.0, 1e-5, cudnn_enabled=False)
    return torch.nn.functional.leaky_relu(y, 0.2)


def _leaky_eager(x: Tensor, bias: Tensor) -> Tensor:
    return torch.nn.functional.leaky_relu(x + bias.view(1, -1, 1, 1), 0.2)


# A CycleGAN generator's and a DCGAN's activations at several sizes; three channels; then shapes that are all overhead.
_MAPS = ((1, 64, 256, 256), (4, 64, 128, 128), (1, 128, 128, 128), (1, 256, 64, 64), (16, 3, 256, 256))
_SMALL = ((8, 512, 4, 4), (1, 64, 4, 4), (1, 1, 2, 2))
# 70x70 PatchGAN logits at 256x256, batches of them, and single numbers (a DCGAN's discriminator).
_LOGITS = ((32, 1, 256, 256), (16, 1, 256, 256), (16, 1, 30, 30), (1, 1, 30, 30), (64, 1, 1, 1), (1, 1, 1, 1))
# A GPU's: below, at and above what its cache holds.
_LARGE_MAPS = ((1, 64, 128, 128), (16, 64, 128, 128), (4, 64, 256, 256))
_LARGE_LOGITS = ((16, 1, 256, 256), (256, 1, 256, 256))

# The losses of torch.nn.functional, with their targets made beforehand in a user's place.
_ATEN_LOSSES: dict[str, Callable[..., Tensor]] = {
    "lsgan": torch.nn.functional.mse_loss,
    "bce": torch.nn.functional.binary_cross_entropy_with_logits,
}


def _loss_aten(*logits: Tensor, kind: str) -> Tensor:
    """The discriminator's where there are two maps, else the generator's."""
    one, zero = _targets(logits[0].shape, logits[0].dtype, logits[0].device)
    loss = _ATEN_LOSSES[kind](logits[0], one)
    if len(logits) == 1:
        return loss
    loss = loss + _ATEN_LOSSES[kind](logits[1], zero)
    return loss * 0.5 if kind == "lsgan" else loss


@functools.lru_cache(maxsize=1)
def _targets(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.ones(shape, dtype=dtype, device=device), torch.zeros(shape, dtype=dtype, device=device)


def _losses() -> Iterator[Op]:
    for kind in ("lsgan", "bce", "hinge", "wgan"):
        for player, count, fused, eager in (
            ("d", 2, patchgan_d_loss, patchgan_d_loss_reference),
            ("g", 1, patchgan_g_loss, patchgan_g_loss_reference),
        ):
            shapes = _LOGITS if kind in ("lsgan", "bce") else _LOGITS[1:]
            yield Op(
                f"patchgan_{player}_loss[{kind}]",
                functools.partial(fused, kind=kind),
                functools.partial(eager, kind=kind),
                channel_args=0,
                shapes=shapes,
                logits=count,
                large=_LARGE_LOGITS,
                aten=functools.partial(_loss_aten, kind=kind) if kind in _ATEN_LOSSES else None,
            )


OPS: tuple[Op, ...] = (
    Op(
        "instance_norm_act",
        functools.partial(instance_norm_act, negative_slope=0.2),
        _norm_eager,
        channel_args=0,
        shapes=(*_MAPS, *_SMALL),
        large=_LARGE_MAPS,
        aten=_norm_aten,
    ),
    Op(
        "instance_norm_act[affine]",
        functools.partial(instance_norm_act, negative_slope=0.2),
        _norm_eager,
        channel_args=2,
        shapes=(*_MAPS, *_SMALL),
        large=_LARGE_MAPS,
        aten=_norm_aten,
    ),
    Op("leaky_relu", leaky_relu, _leaky_eager, channel_args=1, shapes=(*_MAPS, *_SMALL), large=_LARGE_MAPS),
    *_losses(),
)


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
        """Bytes of x; of all logits for a loss. Their copy is the yardstick."""
        return self._maps * torch.Size(self.shape).numel() * self.dtype.itemsize

    @property
    def passes(self) -> int:
        """How often `bytes` have to move at least, read or written.

        A map is read and written; backward reads the gradient and what was kept, and writes. Of a loss the logits are
        read, and their gradient is written.
        """
        if self.op.logits:
            return 1 if self.direction == "forward" else 2
        return 2 if self.direction == "forward" else 5

    def _tensor(self, device: torch.device, grad: bool) -> Tensor:
        x = torch.randn(self.shape, device=device).to(self.dtype)
        if self.layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        return x.requires_grad_(grad)

    def candidates(
        self, device: torch.device, compiled: bool = True, copies: int = 1, gpu: bool | None = None
    ) -> dict[str, Candidate]:
        """What to time, by name: ours, eager, compile, copy (into memory at hand), clone (into fresh memory).

        On CUDA (`gpu`) also compile_no_graphs and, where torch has a kernel of its own, aten. Each call takes the next
        of `copies` sets of tensors, which all share. Backward is driven by a dense gradient in the output's layout, or
        by 1 for a loss.
        """
        sets = [self._set(device) for _ in range(copies)]
        gpu = device.type == "cuda" if gpu is None else gpu
        candidates = {
            "ours": self._round(self.op.fused, sets),
            "eager": self._round(self.op.eager, sets),
            "copy": _in_turn([_copy(leaves[: self._maps]) for leaves, _ in sets]),
            "clone": _in_turn([_clone(leaves[: self._maps]) for leaves, _ in sets]),
        }
        if gpu and self.op.aten is not None:
            candidates["aten"] = self._round(self.op.aten, sets)
        if compiled:
            reset_compiled()
            # A compiled copy of what eager torch computes, for these shapes alone: its best case.
            modes = {"compile": "max-autotune", "compile_no_graphs": "max-autotune-no-cudagraphs"}
            for name, mode in modes.items() if gpu else [("compile", None)]:
                candidates[name] = self._round(torch.compile(self.op.eager, dynamic=False, mode=mode), sets)
                if name == "compile" and gpu:
                    candidates[name] = _new_step(candidates[name])
        return candidates

    def _set(self, device: torch.device) -> tuple[list[Tensor], Tensor | None]:
        """The op's arguments, and the gradient that comes in."""
        grad = self.direction != "forward"
        tensors = [self._tensor(device, grad) for _ in range(self._maps)]
        channels = [
            torch.randn(self.shape[1], device=device).to(self.dtype).requires_grad_(grad)
            for _ in range(self.op.channel_args)
        ]
        return [*tensors, *channels], None if self.op.logits else torch.randn_like(tensors[0])

    def _round(self, function: Callable[..., Tensor], sets: Sequence[tuple[list[Tensor], Tensor | None]]) -> Candidate:
        return _in_turn([_driver(function, leaves, self.direction != "forward", incoming) for leaves, incoming in sets])


def reset_compiled() -> None:
    """Forgets what was compiled, so that no case runs into the limit of recompilations."""
    torch.compiler.reset()


def _driver(
    function: Callable[..., Tensor], leaves: Sequence[Tensor], grad: bool, incoming: Tensor | None
) -> Candidate:
    def forward() -> Tensor:
        return function(*leaves)

    def forward_backward() -> None:
        function(*leaves).backward(incoming)
        for leaf in leaves:  # at once: a CUDA graph's memory is free for its next replay then
            leaf.grad = None

    return forward_backward if grad else forward


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


def _in_turn(calls: Sequence[Candidate]) -> Candidate:
    """Each call is the next one's."""
    if len(calls) == 1:
        return calls[0]
    order = itertools.cycle(calls)
    return lambda: next(order)()


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
        for shape, dtype in _shapes(op, quick, device)
        # Logits have one channel, so both layouts are the same memory.
        for layout in (LAYOUTS[:1] if op.logits else LAYOUTS)
        for direction in DIRECTIONS
    ]


def _shapes(op: Op, quick: bool, device: str) -> Iterator[tuple[tuple[int, ...], torch.dtype]]:
    """Half types on the largest map only: what they change is bandwidth, not overhead."""
    for shape in (op.shapes[1], op.shapes[-1]) if quick else op.shapes:
        yield shape, torch.float32
        if shape == op.shapes[0]:
            yield shape, torch.bfloat16
            yield shape, torch.float16
    if device == "cuda" and not quick:
        for shape in op.large:
            yield shape, torch.float32
            yield (2 * shape[0], *shape[1:]), torch.bfloat16
