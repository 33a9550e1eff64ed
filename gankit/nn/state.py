"""What steps change beside weights: a value that a variant keeps, in buffers, where checkpoints find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn


class State(nn.Module):
    """Named buffers: ``State(p=torch.zeros(()), lengths=torch.zeros(100))`` has ``state.p`` and ``state.lengths``.

    Put it among a variant's networks: then it moves to the device, is saved and comes back when a run is resumed. Each
    buffer is a copy of the tensor given, of any shape and dtype. ValueError if a name is not a plain identifier or one
    that every module has (``training``).
    """

    def __init__(self, **values: Tensor) -> None:
        super().__init__()
        for name, value in values.items():
            if not isinstance(value, Tensor):
                raise ValueError(f"State: {name} must be a tensor, not {type(value).__name__}")
            if hasattr(self, name):
                raise ValueError(f"State: the name {name!r} is taken by torch.nn.Module; choose another")
            self.register_buffer(name, value.detach().clone())

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor: ...

    @torch.no_grad()
    def update(self, **values: Tensor | float) -> None:
        """Puts new values in place: each of the shape of its buffer, or one number for all of it. No graph is kept.

        ValueError for a name that there is not, or a shape that does not fit.
        """
        for name, value in values.items():
            if name not in self._buffers:
                raise ValueError(f"State has no {name!r}; it has {', '.join(self._buffers)}")
            kept = getattr(self, name)
            if isinstance(value, Tensor):
                if value.shape not in (kept.shape, torch.Size()):
                    raise ValueError(f"State: {name} is of shape {tuple(kept.shape)}, not {tuple(value.shape)}")
                kept.copy_(value)
            else:
                kept.fill_(value)


__all__ = ["State"]
