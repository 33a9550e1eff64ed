"""Flips and shifts: drawn once for all that belongs to an image, and done to pixels, boxes and points alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gankit import whole_batch

__all__ = ["Grid", "Moves", "pick"]


@dataclass(frozen=True)
class Grid:
    """The steps in which a group of images is shifted: whole pixels of the smallest, so that larger ones whose sides
    are multiples of its sides stay exactly aligned with it (others to half a pixel)."""

    sides: tuple[int, int]
    """Height and width of the smallest image; one step is such a fraction of a side."""
    reach: tuple[int, int]
    """Most steps down or up, and right or left."""

    @classmethod
    def of(cls, sizes: Iterable[tuple[int, int]], crop: float) -> Grid:
        """For images of `sizes` (height, width), shifted by up to the fraction `crop` of a side each way."""
        height, width = min(sizes, key=lambda size: size[0] * size[1])
        # 0.29 * 100 is a little less than 29
        return cls((height, width), (int(crop * height + 1e-6), int(crop * width + 1e-6)))


@dataclass(frozen=True)
class Moves:
    """A shift and then a left-right flip for each sample of a batch, for all that moves with one image."""

    flip: Tensor | None
    """bool (N,); None: nothing is flipped."""
    shift: Tensor | None
    """int64 (N, 2), down and right, in steps of `grid`; None: nothing is shifted."""
    grid: Grid

    @classmethod
    def draw(cls, number: int, *, flip: bool, grid: Grid, generator: torch.Generator) -> Moves:
        """Flip each with probability 1/2 if `flip`; shift by any number of steps within the grid's reach."""
        device = generator.device
        flips = shift = None
        if flip:
            flips = whole_batch.rand(number, generator=generator, device=device) < 0.5
        if any(grid.reach):
            uniform = whole_batch.rand(2, number, generator=generator, dim=1, device=device)
            steps = [(u * (2 * reach + 1)).long() - reach for u, reach in zip(uniform, grid.reach, strict=True)]
            shift = torch.stack(steps, 1)
        return cls(flips, shift, grid)

    def pixels(self, images: Tensor) -> Tensor:
        """`images` (N, C, H, W) of any type and size; what comes in at a border mirrors what is inside."""
        height, width = images.shape[2:]
        rows = torch.arange(height, device=images.device).expand(len(images), -1)
        columns = torch.arange(width, device=images.device).expand(len(images), -1)
        if self.flip is not None:
            columns = torch.where(self.flip[:, None], width - 1 - columns, columns)
        if self.shift is not None:
            down, right = (
                steps if side == own else (2 * steps * side + own).div(2 * own, rounding_mode="floor")
                for steps, side, own in zip(self.shift.unbind(1), (height, width), self.grid.sides, strict=True)
            )
            rows = _mirror(rows - down[:, None], height)
            columns = _mirror(columns - right[:, None], width)
        return pick(images, rows, columns)

    def boxes(self, boxes: Tensor) -> Tensor:
        """`boxes` (N, ..., 4): left, top, right, bottom as fractions of the image.

        Shifted ones are cut at the frame: one that is wholly outside becomes an empty box at the border.
        """
        left, top, right, bottom = boxes.unbind(-1)
        if self.shift is not None:
            x, y = self._fractions(left)
            left, top, right, bottom = (
                (side + by).clamp(0, 1) for side, by in zip((left, top, right, bottom), (x, y, x, y), strict=True)
            )
        if self.flip is not None:
            flip = _lined_up(self.flip, left)
            left, right = torch.where(flip, 1 - right, left), torch.where(flip, 1 - left, right)
        return torch.stack([left, top, right, bottom], -1)

    def points(self, points: Tensor, mirror: Sequence[int] = ()) -> Tensor:
        """`points` (N, K, 2 or 3): x and y as fractions of the image, and whether they are visible.

        Under a flip the points also change places, as `mirror` says. Points that a shift takes out of the frame keep
        their place outside it and are no longer visible.
        """
        x, y, *seen = points.unbind(-1)
        if self.shift is not None:
            right, down = self._fractions(x)
            x, y = x + right, y + down
            inside = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)
            seen = [value * inside for value in seen]
        if self.flip is None:
            return torch.stack([x, y, *seen], -1)
        moved = torch.stack([x, y, *seen], -1)
        flipped = torch.stack([1 - x, y, *seen], -1)
        if mirror:
            flipped = torch.stack([flipped[:, place] for place in mirror], 1)
        return torch.where(self.flip[:, None, None], flipped, moved)

    def _fractions(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Right and down as fractions of a side, to be added to `like` (N, ...)."""
        assert self.shift is not None
        down, right = (
            steps.to(like.dtype) / side for steps, side in zip(self.shift.unbind(1), self.grid.sides, strict=True)
        )
        return _lined_up(right, like), _lined_up(down, like)


def _lined_up(values: Tensor, like: Tensor) -> Tensor:
    """`values` (N,) so that each goes to all of its sample in `like` (N, ...)."""
    return values.view(-1, *[1] * (like.dim() - 1))


def _mirror(positions: Tensor, size: int) -> Tensor:
    """Positions outside 0 ... size - 1 reflected at the first and last, however far outside they are."""
    period = max(2 * (size - 1), 1)
    positions = positions.remainder(period)
    return torch.minimum(positions, period - positions) if size > 1 else torch.zeros_like(positions)


def pick(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """images[n, c, rows[n, h], columns[n, w]], in the memory format of `images`.

    Just that, written with brackets, takes ten times as long: here whole rows, or whole pixels, are copied.
    """
    number, channels, height, width = images.shape
    if images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous():
        first = torch.arange(0, number * height, height, device=images.device)
        pixels = (first[:, None] + rows)[:, :, None] * width + columns[:, None, :]
        flat = images.permute(0, 2, 3, 1).reshape(number * height * width, channels)
        return flat.index_select(0, pixels.flatten()).view(number, height, width, channels).permute(0, 3, 1, 2)
    first = torch.arange(0, number * channels * height, height, device=images.device)
    lines = first.view(number, channels, 1) + rows[:, None, :]
    flat = images.reshape(number * channels * height, width)
    picked = flat.index_select(0, lines.flatten()).view(number, channels, height, width)
    return picked.gather(3, columns[:, None, None, :].expand(number, channels, height, width))
