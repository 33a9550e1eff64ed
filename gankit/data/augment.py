"""Augmentation on the device: flips and crops of real batches, and DiffAugment for all that a discriminator sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gankit.errors import UsageError

__all__ = ["DiffAugment", "Moves", "Policy", "geometric"]

Policy = Literal["color", "translation", "cutout"]


@dataclass(frozen=True)
class Moves:
    """A flip and a shift for each image of a batch, to be applied to every image that belongs to the sample."""

    flip: Tensor
    """bool (N,)."""
    shift: Tensor
    """int64 (N, 2), down and right, in pixels."""

    @classmethod
    def draw(cls, number: int, *, flip: bool, crop: int, generator: torch.Generator) -> Moves:
        """Flip each with probability 1/2 if `flip`; shift by up to `crop` pixels each way."""
        device = generator.device
        flips = torch.zeros(number, dtype=torch.bool, device=device)
        shift = torch.zeros(number, 2, dtype=torch.int64, device=device)
        if flip:
            flips = torch.rand(number, generator=generator, device=device) < 0.5
        if crop:
            shift = torch.randint(-crop, crop + 1, (number, 2), generator=generator, device=device)
        return cls(flips, shift)

    def __call__(self, images: Tensor) -> Tensor:
        """`images` (N, C, H, W) of any type, moved; what comes in at a border mirrors what is inside."""
        height, width = images.shape[2:]
        rows = _mirror(torch.arange(height, device=images.device) - self.shift[:, :1], height)
        columns = torch.arange(width, device=images.device)
        columns = torch.where(self.flip[:, None], width - 1 - columns, columns)
        return _pick(images, rows, _mirror(columns - self.shift[:, 1:], width))


def geometric(images: Tensor, *, flip: bool, crop: int, generator: torch.Generator) -> Tensor:
    """Random mirroring and random crops of a real batch (N, C, H, W), of any type, on `generator`'s device.

    `crop` is the number of pixels by which an image is extended on each side (by reflection) before a window of its
    own size is cut out at random. For images that belong together use :class:`Moves` once and apply it to each.
    """
    if not flip and not crop:
        return images
    return Moves.draw(len(images), flip=flip, crop=crop, generator=generator)(images)


def _mirror(positions: Tensor, size: int) -> Tensor:
    """Positions outside 0 ... size - 1 reflected at the first and last, however far outside they are."""
    period = max(2 * (size - 1), 1)
    positions = positions.remainder(period)
    return torch.minimum(positions, period - positions) if size > 1 else torch.zeros_like(positions)


def _pick(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """images[n, c, rows[n, h], columns[n, w]], in the memory format of `images`."""
    sample = torch.arange(len(images), device=images.device)
    if images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous():
        pixels = images.permute(0, 2, 3, 1)[sample[:, None, None], rows[:, :, None], columns[:, None, :]]
        return pixels.permute(0, 3, 1, 2)
    channel = torch.arange(images.shape[1], device=images.device)
    index = (sample[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :])
    return images[index]


class DiffAugment:
    """Differentiable augmentation (Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020).

    `policy` names what is applied, always in this order: ``color`` (brightness +-0.5, saturation 0 to 2, contrast 0.5
    to 1.5), ``translation`` (up to 1/8 of a side each way, zeros coming in), ``cutout`` (a box of half the sides set to
    zero). Each image gets its own draw. Differentiable to any order; works for any number of channels (saturation does
    nothing to one), any floating-point type, in the memory format of its input.
    """

    def __init__(self, policy: Sequence[str]) -> None:
        self._steps = {"color": _color, "translation": _translation, "cutout": _cutout}
        if unknown := [name for name in policy if name not in self._steps]:
            raise UsageError(f"augment.diff has {unknown[0]!r}; it takes {', '.join(self._steps)}")
        self.policy = tuple(name for name in self._steps if name in policy)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """`images` (N, C, H, W), float, augmented with draws from `generator`, which is on the same device."""
        for name in self.policy:
            images = self._steps[name](images, generator)
        return images


def _uniform(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` numbers in [0, 1) an image: (count, N, 1, 1, 1) float32."""
    return torch.rand(count, len(images), 1, 1, 1, generator=generator, device=images.device)


def _color(images: Tensor, generator: torch.Generator) -> Tensor:
    brightness, saturation, contrast = _uniform(images, 3, generator).to(images.dtype)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (saturation * 2) + grey
    level = images.mean((1, 2, 3), keepdim=True)
    return (images - level) * (contrast + 0.5) + level


def _translation(images: Tensor, generator: torch.Generator) -> Tensor:
    height, width = images.shape[2:]
    down, right = _uniform(images, 2, generator).view(2, -1)
    reach_y, reach_x = (height + 4) // 8, (width + 4) // 8
    down = (down * (2 * reach_y + 1)).long() - reach_y
    right = (right * (2 * reach_x + 1)).long() - reach_x
    return _Shift.apply(images, down, right)


class _Shift(torch.autograd.Function):
    """Moves each image by whole pixels, zeros coming in. Its adjoint is the opposite move, so that every order of
    derivative is a gather: fast, and the same bits each time, where autograd's own would scatter with atomics."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, down: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(down, right)
        height, width = images.shape[2:]
        rows = torch.arange(height, device=images.device) - down[:, None]
        columns = torch.arange(width, device=images.device) - right[:, None]
        inside = _within(rows, height)[:, None, :, None] & _within(columns, width)[:, None, None, :]
        moved = _pick(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
        return moved.masked_fill_(~inside, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        down, right = ctx.saved_tensors
        return _Shift.apply(gradients[0], -down, -right), None, None


def _within(positions: Tensor, size: int) -> Tensor:
    return (positions >= 0) & (positions < size)


def _cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    place = _uniform(images, 2, generator).view(2, -1, 1)
    hidden = []
    for side, where in zip(images.shape[2:], place, strict=True):
        box = (side + 1) // 2
        centre = (where * (side + 1 - box % 2)).long()
        offset = torch.arange(side, device=images.device) - (centre - box // 2)
        hidden.append(_within(offset, box))
    covered = hidden[0][:, None, :, None] & hidden[1][:, None, None, :]
    return images * ~covered  # a product keeps the memory format, masked_fill does not
