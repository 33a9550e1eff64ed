"""The :class:`~gankit.plugin.Step` a phase's loss is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gankit import whole_batch
from gankit.data.augment import DiffAugment, check_along, check_p
from gankit.errors import PluginError
from gankit.plugin import DataSpec, Step

if TYPE_CHECKING:
    from gankit.plugin import Batch


class TrainStep(Step):
    """A step of the trainer. See :class:`~gankit.plugin.Step` for what each member promises.

    It is made once and filled anew for every step: its noise stays in the same memory.
    """

    def __init__(
        self,
        steps: int,
        size: int,
        device: torch.device,
        networks: Mapping[str, nn.Module],
        generator: torch.Generator,
        feed: Callable[[], Batch],
        spec: DataSpec,
        diff_augment: DiffAugment | None = None,
    ) -> None:
        self.index = 0
        self.steps = steps
        self.size = size
        self.spec = spec
        self.device = device
        self.networks = networks
        self.generator = generator
        self.phase = ""
        """The phase whose turn it is."""
        self.logged: dict[str, Tensor] = {}
        self.drawn: dict[str, int] = {}
        """For each shared key, how many entries `updated` had when it was drawn."""
        self.users: dict[str, list[str]] = {}
        """For each shared key, the phases that asked for it."""
        self.updated: list[tuple[str, tuple[str, ...]]] = []
        """The phases whose optimisers have stepped in this step, and the networks that they update."""
        self._feed = feed
        self._diff_augment = diff_augment
        self._batch: Batch | None = None
        self._shared: dict[str, Any] = {}
        self._noise: list[Tensor] = []
        self._noises = 0

    def begin(self, index: int) -> None:
        """Becomes step `index`: nothing is drawn yet."""
        self.index = index
        self.clear()

    def clear(self) -> None:
        """Lets go of the batch and of what was drawn from it, graphs and all."""
        self._batch = None
        self._noises = 0
        for kept in (self._shared, self.drawn, self.users, self.updated, self.logged):
            kept.clear()

    @property
    def batch(self) -> Batch:
        if self._batch is None:
            self._batch = self._feed()
        return self._batch

    def noise(self, *shape: int) -> Tensor:
        """The n-th one asked for in a step lies where the n-th one of the step before lay, if it is as large."""
        number = self._noises
        self._noises = number + 1
        wide = (whole_batch.whole(shape[0]), *shape[1:]) if shape else shape
        if number < len(self._noise):
            kept = self._noise[number]
            if kept.shape == wide and not kept.requires_grad:  # a loss may have asked for its gradient
                return whole_batch.randn(*shape, generator=self.generator, out=kept)
        fresh = torch.randn(wide, generator=self.generator, device=self.device)
        self._noise[number : number + 1] = [fresh]
        return whole_batch.rows(fresh)

    def shared(self, key: str, draw: Callable[[], Any]) -> Any:
        if key not in self._shared:
            self.drawn[key] = len(self.updated)
            self._shared[key] = draw()
            self.users[key] = []
        self.users[key].append(self.phase)
        return self._shared[key]

    def value(self, key: str) -> Any:
        """What was drawn under a shared key."""
        return self._shared[key]

    def augment(self, images: Tensor, along: Tensor | None = None, *, p: Tensor | float | None = None) -> Any:
        if self._diff_augment is None:
            check_p(p)
            if along is None:
                return images
            check_along(images, along)
            return images, along
        if along is None:
            return self._diff_augment(images, self.generator, p=p)
        return self._diff_augment(images, self.generator, along, p=p)

    def log(self, name: str, value: Tensor) -> None:
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise PluginError(f"phase {self.phase!r}: step.log({name!r}) takes a scalar tensor, not {got}")
        # a copy: what is logged may be a state that goes on changing in place
        self.logged[name] = value.detach().reshape(()).float().clone()

    def take_logged(self) -> dict[str, Tensor]:
        """What was logged since this was last asked."""
        taken, self.logged = self.logged, {}
        return taken
