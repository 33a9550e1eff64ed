"""A convolution of a map joined with a vector that is the same at every place of it."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConcatConv2d", "ConcatSequential"]


class ConcatConv2d(nn.Conv2d):
    """``Conv2d`` of a map (N, C, H, W) concatenated with a vector (N, K) repeated at all its places; zeros around.

    Its weights are those of ``Conv2d(C + K, ...)``, and so is its result, to rounding. But what comes of the vector is
    computed for each place of the kernel, not of the map: it is the same everywhere, less what hangs over an edge.
    And :meth:`of_map` may be computed once for several vectors. ValueError for a vector of another length.

    Args:
        channels: C, of the map.
        vector: K, the length of the vector.
        out_channels, kernel_size, padding, bias: as of ``Conv2d``; the stride is 1.
    """

    def __init__(
        self, channels: int, vector: int, out_channels: int, kernel_size: int = 3, padding: int = 1, bias: bool = True
    ) -> None:
        super().__init__(channels + vector, out_channels, kernel_size, 1, padding, bias=bias)
        self.channels = channels

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:  # type: ignore[override]
        """Of a map (N, C, H, W) and a vector (N, K): (N, out_channels, H', W')."""
        return self.joined(self.of_map(x), vector)

    def of_map(self, x: Tensor) -> Tensor:
        """What comes of the map (N, C, H, W) alone, the bias with it: (N, out_channels, H', W')."""
        return F.conv2d(x, self.weight[:, : self.channels], self.bias, padding=self.padding)

    def joined(self, of_map: Tensor, vector: Tensor) -> Tensor:
        """The result for the vector (N, K), where `of_map` is what comes of the map: its shape and dtype."""
        kernel, length = self.kernel_size, self.in_channels - self.channels
        if vector.shape[1:] != (length,):
            raise ValueError(f"the vector is {tuple(vector.shape)}, not (N, {length})")
        with torch.autocast(vector.device.type, enabled=False):
            weight = self.weight[:, self.channels :].transpose(0, 1).flatten(1)
            taps = vector.to(weight.dtype) @ weight
            rows, columns = (self._covered(of_map.shape[2 + axis], axis) for axis in (0, 1))
            covered = (rows[:, None, :, None] & columns[None, :, None, :]).reshape(kernel[0] * kernel[1], -1)
            added = (taps.view(-1, len(covered)) @ covered.to(weight.dtype)).view_as(of_map)
        return of_map + added.to(of_map.dtype)

    def _covered(self, places: int, axis: int) -> Tensor:
        """Which of the kernel's places lie on the map, for each place of the result: bool (kernel, places)."""
        kernel, padding = self.kernel_size[axis], int(self.padding[axis])
        at = torch.arange(kernel, device=self.weight.device)[:, None] - padding
        at = at + torch.arange(places, device=self.weight.device)
        return (at >= 0) & (at < places + kernel - 1 - 2 * padding)

    def extra_repr(self) -> str:
        inputs = f"{self.channels} + {self.in_channels - self.channels}"
        return super().extra_repr().replace(f"{self.in_channels}, ", f"{inputs}, ", 1)


class ConcatSequential(nn.Sequential):
    """Layers of which the first is a :class:`ConcatConv2d`."""

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:  # type: ignore[override]
        """Of a map (N, C, H, W) and a vector (N, K)."""
        return self.of_both(self.of_map(x), vector)

    def of_map(self, x: Tensor) -> Tensor:
        """What comes of the map alone in the first layer: for :meth:`of_both`, once for several vectors."""
        return self._first.of_map(x)

    def of_both(self, of_map: Tensor, vector: Tensor) -> Tensor:
        """The result, where `of_map` is what comes of the map."""
        x = self._first.joined(of_map, vector)
        for layer in islice(self, 1, None):
            x = layer(x)
        return x

    @property
    def _first(self) -> ConcatConv2d:
        first = self[0]
        assert isinstance(first, ConcatConv2d)
        return first
