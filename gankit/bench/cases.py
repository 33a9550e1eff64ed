"""What is measured: ops, shapes, dtypes, layouts, directions, and the candidates that are compared on each."""

from __future__ import annotations

import functools
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


def _norm_eager(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    y = torch.nn.functional.instance_norm(x, weight=weight, bias=bias)
    return torch.nn.functional.leaky_relu(y, 0.2)


def _leaky_eager(x: Tensor, bias: Tensor) -> Tensor:
    return torch.nn.functional.leaky_relu(x + bias.view(1, -1, 1, 1), 0.2)


# A CycleGAN generator's and a DCGAN's activations at several sizes; three channels; then shapes that are all overhead.
_MAPS = ((1, 64, 256, 256), (4, 64, 128, 128), (1, 128, 128, 128), (1, 256, 64, 64), (16, 3, 256, 256))
_SMALL = ((8, 512, 4, 4), (1, 64, 4, 4), (1, 1, 2, 2))
# 70x70 PatchGAN logits at 256x256, batches of them, and single numbers (a DCGAN's discriminator).
_LOGITS = ((32, 1, 256, 256), (16, 1, 256, 256), (16, 1, 30, 30), (1, 1, 30, 30), (64, 1, 1, 1), (1, 1, 1, 1))


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
            )


OPS: tuple[Op, ...] = (
    Op(
        "instance_norm_act",
        functools.partial(instance_norm_act, negative_slope=0.2),
        _norm_eager,
        channel_args=0,
        shapes=(*_MAPS, *_SMALL),
    ),
    Op(
        "instance_norm_act[affine]",
        functools.partial(instance_norm_act, negative_slope=0.2),
        _norm_eager,
        channel_args=2,
        shapes=(*_MAPS, *_SMALL),
    ),
    Op("leaky_relu", leaky_relu, _leaky_eager, channel_args=1, shapes=(*_MAPS, *_SMALL)),
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
    def bytes(self) -> int:
        """Bytes of x; of all logits for a loss. Their copy is the yardstick."""
        return max(self.op.logits, 1) * torch.Size(self.shape).numel() * self.dtype.itemsize

    def _tensor(self, device: torch.device, grad: bool) -> Tensor:
        x = torch.randn(self.shape, device=device).to(self.dtype)
        if self.layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        return x.requires_grad_(grad)

    def candidates(self, device: torch.device, compiled: bool = True) -> dict[str, Candidate]:
        """What to time, by name: ours, eager, compile, copy (into memory at hand), clone (into fresh memory).

        The pair of functions starts from the same tensors. Backward is driven by a dense gradient in the output's
        layout, or by 1 for a loss.
        """
        grad = self.direction != "forward"
        tensors = [self._tensor(device, grad) for _ in range(max(self.op.logits, 1))]
        channels = [
            torch.randn(self.shape[1], device=device).to(self.dtype).requires_grad_(grad)
            for _ in range(self.op.channel_args)
        ]
        leaves = [*tensors, *channels]
        incoming = None if self.op.logits else torch.randn_like(tensors[0])
        sources = [t.detach() for t in tensors]
        targets = [torch.empty_like(t) for t in sources]

        def copy() -> None:
            for target, source in zip(targets, sources, strict=True):
                target.copy_(source)

        candidates: dict[str, Candidate] = {
            "ours": _driver(self.op.fused, leaves, grad, incoming),
            "eager": _driver(self.op.eager, leaves, grad, incoming),
            "copy": copy,
            "clone": lambda: [s.clone() for s in sources],
        }
        if compiled:
            reset_compiled()
            # A compiled copy of what eager torch computes, for these shapes alone: its best case.
            fused_by_torch = torch.compile(self.op.eager, dynamic=False)
            candidates["compile"] = _driver(fused_by_torch, leaves, grad, incoming)
        return candidates


def reset_compiled() -> None:
    """Forgets what was compiled, so that no case runs into the limit of recompilations."""
    torch.compiler.reset()


def _driver(
    function: Callable[..., Tensor], leaves: Sequence[Tensor], grad: bool, incoming: Tensor | None
) -> Candidate:
    def forward() -> Tensor:
        return function(*leaves)

    def forward_backward() -> None:
        for leaf in leaves:
            leaf.grad = None
        function(*leaves).backward(incoming)

    return forward_backward if grad else forward


def op_cases(ops: Sequence[str] | None = None, quick: bool = False) -> list[Case]:
    """All rows of the suite, or those of the named ops; `quick` keeps a large and a small shape in float32.

    A name picks an op and its variants: "patchgan_d_loss" stands for all its kinds.
    """
    wanted = [op for op in OPS if ops is None or op.name in ops or op.name.split("[")[0] in ops]
    if ops is not None:
        known = {op.name for op in OPS} | {op.name.split("[")[0] for op in OPS}
        if unknown := sorted(set(ops) - known):
            raise ValueError(f"unknown op {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return [
        Case(op, shape, dtype, layout, direction)
        for op in wanted
        for shape in ((op.shapes[1], op.shapes[-1]) if quick else op.shapes)
        for dtype in _dtypes(shape, op, quick)
        # Logits have one channel, so both layouts are the same memory.
        for layout in (LAYOUTS[:1] if op.logits else LAYOUTS)
        for direction in DIRECTIONS
    ]


def _dtypes(shape: tuple[int, ...], op: Op, quick: bool) -> tuple[torch.dtype, ...]:
    """Half types on the largest map only: what they change is bandwidth, not overhead."""
    if quick or shape != op.shapes[0]:
        return (torch.float32,)
    return (torch.float32, torch.bfloat16, torch.float16)
