"""What is measured: the ops, what they stand for in eager torch, and the shapes that they meet."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
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

__all__ = ["OPS", "Op", "shapes_of"]


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
    penalty: bool = False  # whether the derivative of backward is measured too


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

# The losses of torch.nn.functional; their targets are made beforehand, as a user would.
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


def _norm(name: str, channel_args: int = 0, penalty: bool = False, **options: Any) -> Op:
    return Op(
        name,
        functools.partial(instance_norm_act, negative_slope=0.2, **options),
        _norm_eager,
        channel_args,
        shapes=(*_MAPS, *_SMALL),
        large=_LARGE_MAPS,
        aten=_norm_aten,
        penalty=penalty,
    )


OPS: tuple[Op, ...] = (
    _norm("instance_norm_act", penalty=True),
    _norm("instance_norm_act[keep_input]", keep_input=True),
    _norm("instance_norm_act[affine]", channel_args=2),
    Op("leaky_relu", leaky_relu, _leaky_eager, channel_args=1, shapes=(*_MAPS, *_SMALL), large=_LARGE_MAPS),
    *_losses(),
)


def shapes_of(op: Op, quick: bool, device: str) -> Iterator[tuple[tuple[int, ...], torch.dtype]]:
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
