"""Batches as a step sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gankit.data.faults import spec_fault
from gankit.data.kinds import kind_of
from gankit.data.moves import Grid, Moves
from gankit.errors import PluginError, UsageError
from gankit.plugin import DataSpec, Key

if TYPE_CHECKING:
    from gankit.data.loader import Loader
    from gankit.options.run import Augment
    from gankit.plugin import Batch

__all__ = ["Feed"]


class Feed:
    """Batches of `loader` on `device`, flipped and shifted as `augment` says, converted as `gankit.data.kinds` says.

    All that belongs to one image (``spec.moves_with``) shares its draw of a flip and a shift, which comes from
    `generator`, on `device`. Pictures stand in `memory_format`. :class:`UsageError` if a key cannot be moved with its
    image, :class:`PluginError` if `spec` contradicts itself.
    """

    def __init__(
        self,
        loader: Loader,
        spec: DataSpec,
        augment: Augment,
        generator: torch.Generator,
        device: torch.device,
        memory_format: torch.memory_format,
    ) -> None:
        if text := spec_fault(spec):
            raise PluginError(f"the dataset's spec, {text}")
        self.loader = loader
        self.generator = generator
        self.device = device
        self.memory_format = memory_format
        self.flip = augment.flip
        self.grids = _grids(spec, augment) if augment.flip or augment.crop else {}
        self._keys = [(name, key, kind_of(key), spec.moves_with(name)) for name, key in spec.keys.items()]

    def __call__(self) -> Batch:
        """The next batch."""
        batch = self.loader.next()
        if self.device.type != "cpu":
            batch = {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}
        else:
            batch = dict(batch)
        moves: dict[str | None, Moves] = {
            group: Moves.draw(self.loader.size, flip=self.flip, grid=grid, generator=self.generator)
            for group, grid in self.grids.items()
        }
        for name, key, kind, group in self._keys:
            values = batch[name]
            if group in moves:
                values = kind.move(key, values, moves[group])
            values = kind.to_step(values)
            if kind.pixels and self.memory_format is torch.channels_last:
                values = values.contiguous(memory_format=torch.channels_last)
            batch[name] = values
        return batch


def _grids(spec: DataSpec, augment: Augment) -> dict[str, Grid]:
    """In which steps each group shifts, by the image that its keys move with, in the order of the spec."""
    for name, key in spec.keys.items():
        _check_movable(name, key, spec, augment)
    sizes: dict[str, list[tuple[int, int]]] = {}
    for name, key in spec.keys.items():
        group = spec.moves_with(name)
        if kind_of(key).pixels and group is not None:
            sizes.setdefault(group, []).append((key.shape[1], key.shape[2]))
    if not sizes:
        raise UsageError(f"augment.{'flip' if augment.flip else 'crop'}: the data has no images to move")
    grids = {group: Grid.of(found, augment.crop) for group, found in sizes.items()}
    for group, grid in grids.items():
        if augment.crop and not any(grid.reach):
            height, width = grid.sides
            raise UsageError(
                f"augment.crop = {augment.crop}: that is less than a pixel of the {height}x{width} of {group!r}; "
                f"a pixel is {1 / max(height, width):.3g}"
            )
    return grids


def _check_movable(name: str, key: Key, spec: DataSpec, augment: Augment) -> None:
    """:class:`UsageError` if `augment` asks for moves of an image that the key `name` cannot share."""
    kind, option = kind_of(key), "flip" if augment.flip else "crop"
    if kind.unmoved(key):
        raise UsageError(
            f"augment.{option} must be off for this data: {name!r} describes {key.of!r} and is a {key.kind}, "
            "of which nobody knows how it moves with the image"
        )
    if kind.moves and spec.moves_with(name) is None:
        raise UsageError(
            f"augment.{option} must be off for this data: {name!r} does not say which of "
            f"{', '.join(spec.images) or 'no images'} it moves with (its key's `of`)"
        )
    if augment.flip and kind.unflipped(key):
        raise UsageError(
            f"augment.flip must be off for this data: {name!r} does not say which of its {key.shape[0]} points stands "
            "where in a mirrored image (its key's `mirror`)"
        )
