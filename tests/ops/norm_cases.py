"""Tensors for tests of instance_norm_act, and how far results may be off."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

# what rounding of the result (16 bits) or of the statistics (32 bits) leaves, relative to 1 + |reference|
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}

SHAPES = {
    "image": (2, 16, 32, 32),  # whole registers
    "odd": (1, 3, 7, 5),  # remainders everywhere
    "sequence": (3, 5, 17),
    "volume": (2, 7, 3, 4, 5),
    "one plane": (1, 1, 4, 4),
    "two elements": (2, 17, 2, 1),
    "one row": (2, 100, 1, 3),
    "tiny planes, many channels": (3, 65, 4, 4),
    "few large planes": (1, 3, 200, 201),  # cut in segments, shared by threads
    "large channels_last image": (1, 40, 70, 61),  # several segments and a tail
    "fewer pixels than a register has lanes": (2, 1, 3, 2),
    "a plane a block": (3, 4, 33, 64),
    "a plane a cluster": (1, 2, 150, 170),
}
CHANNELS_LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}


def channels_last(t: Tensor) -> Tensor:
    order = CHANNELS_LAST[t.dim()]
    return t.permute(order).contiguous().permute(tuple(order.index(d) for d in range(t.dim())))


def randn(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """The same numbers on every device."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator, device="cpu").to(torch.get_default_device())


def make(
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float64,
    *,
    affine: bool = True,
    residual: bool = True,
    last: bool = False,
    affine_dtype: torch.dtype | None = None,
    grad: bool = True,
) -> dict[str, Tensor | None]:
    seeds = itertools.count()

    def draw(size: tuple[int, ...], to: torch.dtype, scale: float = 1, shift: float = 0) -> Tensor:
        return (randn(size, next(seeds)) * scale + shift).to(to)

    lay = channels_last if last else (lambda t: t)
    tensors = {
        "x": lay(draw(shape, dtype, 2, 1)),
        "weight": draw(shape[1:2], affine_dtype or dtype) if affine else None,
        "bias": draw(shape[1:2], affine_dtype or dtype) if affine else None,
        "residual": lay(draw(shape, dtype)) if residual else None,
    }
    return {k: t if t is None else t.requires_grad_(grad) for k, t in tensors.items()}


def away_from_zero(tensors: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    """Weights of a size with the biases: a small one leaves little of the input in the output."""
    if tensors["weight"] is not None:
        with torch.no_grad():
            tensors["weight"] += torch.where(tensors["weight"] < 0, -1, 1)
    return tensors


def call(op, tensors: dict[str, Tensor | None], **options: float) -> Tensor:
    return op(tensors["x"], tensors["weight"], tensors["bias"], residual=tensors["residual"], **options)


def in_float64(tensors: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    return {k: t if t is None else t.detach().double().requires_grad_() for k, t in tensors.items()}


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype, times: float = 1) -> None:
    error = ((actual.double() - expected).abs() / (1 + expected.abs())).max().item() if actual.numel() else 0.0
    assert error <= TOLERANCE[dtype] * times, f"off by {error:.2e}"
