"""The :class:`~gankit.plugin.Step` a phase's loss is given, and the batches behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gankit.data.augment import DiffAugment, Moves
from gankit.data.images import to_float
from gankit.plugin import DataSpec, Step

if TYPE_CHECKING:
    from gankit.data.loader import Loader
    from gankit.options.resolve import Augment
    from gankit.plugin import Batch


class Feed:
    """Batches as a step sees them: on the device, images as floats in [-1, 1], flipped and cropped."""

    def __init__(
        self,
        loader: Loader,
        spec: DataSpec,
        augment: Augment,
        generator: torch.Generator,
        device: torch.device,
        memory_format: torch.memory_format,
    ) -> None:
        self.loader = loader
        self.generator = generator
        self.device = device
        self.memory_format = memory_format
        self.flip, self.crop = augment.flip, augment.crop
        self.images = [name for name, key in spec.keys.items() if key.kind == "image"]
        self.moves = {name: spec.moves_with(name) for name in self.images}

    def __call__(self) -> Batch:
        batch = self.loader.next()
        if self.device.type != "cpu":
            batch = {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}
        else:
            batch = dict(batch)
        moves: dict[str | None, Moves] = {}
        for name in self.images:
            images = batch[name]
            if self.flip or self.crop:
                if (group := self.moves[name]) not in moves:  # images that belong together move together
                    moves[group] = Moves.draw(len(images), flip=self.flip, crop=self.crop, generator=self.generator)
                images = moves[group](images)
            images = to_float(images)
            if self.memory_format is torch.channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            batch[name] = images
        return batch


class TrainStep(Step):
    """A step of the trainer. See :class:`~gankit.plugin.Step` for what each member promises."""

    def __init__(
        self,
        index: int,
        size: int,
        device: torch.device,
        networks: Mapping[str, nn.Module],
        generator: torch.Generator,
        feed: Callable[[], Batch],
        spec: DataSpec,
        steps: int,
        diff_augment: DiffAugment | None = None,
    ) -> None:
        self.index = index
        self.spec = spec
        self.steps = steps
        self.logged: dict[str, Tensor] = {}
        self.size = size
        self.device = device
        self.networks = networks
        self.generator = generator
        self._feed = feed
        self._diff_augment = diff_augment
        self._batch: Batch | None = None
        self._shared: dict[str, Any] = {}

    @property
    def batch(self) -> Batch:
        if self._batch is None:
            self._batch = self._feed()
        return self._batch

    def noise(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)

    def shared(self, key: str, draw: Callable[[], Any]) -> Any:
        if key not in self._shared:
            self._shared[key] = draw()
        return self._shared[key]

    def augment(self, images: Tensor, along: Tensor | None = None) -> Any:
        if along is not None:
            raise NotImplementedError
        return images if self._diff_augment is None else self._diff_augment(images, self.generator)

    def log(self, name: str, value: Tensor) -> None:
        self.logged[name] = value.detach()
