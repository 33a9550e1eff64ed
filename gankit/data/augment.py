"""DiffAugment: differentiable augmentation, on the device, of all that a discriminator sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, overload

import torch
from torch import Tensor

from gankit import whole_batch
from gankit.data.moves import pick
from gankit.errors import PluginError, UsageError

__all__ = ["DiffAugment", "Policy", "check_along", "check_p"]

Policy = Literal["color", "translation", "cutout"]


class DiffAugment:
    """Differentiable augmentation (Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020).

    `policy` names what is applied, always in this order: ``color`` (brightness +-0.5, saturation 0 to 2, contrast 0.5
    to 1.5), ``translation`` (up to 1/8 of a side each way, zeros coming in), ``cutout`` (a box of half the sides set to
    zero). Each image gets its own draw. Differentiable to any order; works for any number of channels (saturation does
    nothing to one; of four the last is opacity, whose values ``color`` leaves), any floating-point type, in the memory
    format of its input.
    """

    used = False
    """Whether anything was augmented yet."""

    def __init__(self, policy: Sequence[str]) -> None:
        if unknown := [name for name in policy if name not in _DRAWS]:
            raise UsageError(f"augment.diff has {unknown[0]!r}; it takes {', '.join(_DRAWS)}")
        self.policy = tuple(name for name in _DRAWS if name in policy)

    @overload
    def __call__(self, images: Tensor, generator: torch.Generator, *, p: Tensor | float | None = None) -> Tensor: ...
    @overload
    def __call__(
        self, images: Tensor, generator: torch.Generator, along: Tensor, *, p: Tensor | float | None = None
    ) -> tuple[Tensor, Tensor]: ...
    def __call__(
        self,
        images: Tensor,
        generator: torch.Generator,
        along: Tensor | None = None,
        *,
        p: Tensor | float | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """`images` (N, C, H, W), float, augmented with draws from `generator`, which is on the same device.

        `along` (N, C', H, W), of any type, is moved and cut by the same draws, and the pair is returned: zeros come in
        and stand in the box that is cut out; ``color`` leaves it alone. Differentiable like the images.

        `p`, a number or a scalar tensor: each image gets each of the policy's parts with that probability, by a draw of
        its own (Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 2.3). None:
        every image gets all. :class:`PluginError` for a number outside of [0, 1] or a tensor that is no scalar.
        """
        self.used = True
        check_p(p)
        if along is not None:
            check_along(images, along)
        for name in self.policy:
            apply = _DRAWS[name](images, generator)
            if p is not None:
                apply = partial(_where, _uniform(images, 1, generator)[0] < p, apply)
            images = apply(images)
            if along is not None and name != "color":
                along = apply(along)
        return images if along is None else (images, along)


def check_along(images: Tensor, along: Tensor) -> None:
    """:class:`PluginError` unless `along` are maps (N, C', H, W) for each of `images` (N, C, H, W)."""
    if along.dim() != 4 or len(along) != len(images) or along.shape[2:] != images.shape[2:]:
        n, _, height, width = images.shape
        wanted = f"({n}, channels, {height}, {width})"
        raise PluginError(f"step.augment: `along` must be {wanted} like its images, its shape is {tuple(along.shape)}")


def check_p(p: Tensor | float | None) -> None:
    """:class:`PluginError` unless `p` can be a probability; of a tensor only the shape is looked at, not the value."""
    if isinstance(p, Tensor):
        if p.numel() != 1:
            raise PluginError(f"step.augment: `p` must be a number or a scalar tensor, not of shape {tuple(p.shape)}")
    elif p is not None and not 0 <= p <= 1:
        raise PluginError(f"step.augment: `p` is a probability, from 0 to 1, not {p}")


def _where(chosen: Tensor, apply: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`apply` to the images that are chosen, (N, 1, 1, 1) bool; the others as they are."""
    return torch.where(chosen, apply(images), images)


def _uniform(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` numbers in [0, 1) an image: (count, N, 1, 1, 1) float32."""
    return whole_batch.rand(count, len(images), 1, 1, 1, generator=generator, dim=1, device=images.device)


def _color(images: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    brightness, saturation, contrast = _uniform(images, 3, generator).to(images.dtype)

    def apply(images: Tensor) -> Tensor:
        if images.shape[1] == 4:  # opacity is no colour
            return torch.cat([apply(images[:, :3]), images[:, 3:]], 1)
        images = images + (brightness - 0.5)
        grey = images.mean(1, keepdim=True)
        images = (images - grey) * (saturation * 2) + grey
        level = images.mean((1, 2, 3), keepdim=True)
        return (images - level) * (contrast + 0.5) + level

    return apply


def _translation(images: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    height, width = images.shape[2:]
    down, right = _uniform(images, 2, generator).view(2, -1)
    reach_y, reach_x = (height + 4) // 8, (width + 4) // 8
    down = (down * (2 * reach_y + 1)).long() - reach_y
    right = (right * (2 * reach_x + 1)).long() - reach_x
    return partial(_shift, down=down, right=right)


def _shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
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
        moved = pick(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
        return moved.masked_fill_(~inside, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        down, right = ctx.saved_tensors
        return _Shift.apply(gradients[0], -down, -right), None, None


def _within(positions: Tensor, size: int) -> Tensor:
    return (positions >= 0) & (positions < size)


def _cutout(images: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    place = _uniform(images, 2, generator).view(2, -1, 1)
    hidden = []
    for side, where in zip(images.shape[2:], place, strict=True):
        box = (side + 1) // 2
        centre = (where * (side + 1 - box % 2)).long()
        offset = torch.arange(side, device=images.device) - (centre - box // 2)
        hidden.append(_within(offset, box))
    kept = ~(hidden[0][:, None, :, None] & hidden[1][:, None, None, :])
    return lambda images: images * kept  # a product keeps the memory format, masked_fill does not


_DRAWS = {"color": _color, "translation": _translation, "cutout": _cutout}
"""Each draws for the images it is given, and returns what is then done to them and to what goes along."""
