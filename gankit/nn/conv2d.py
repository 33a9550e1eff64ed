"""Convolution for networks under a gradient penalty."""

from __future__ import annotations

from torch import Tensor, nn

from gankit.ops.conv2d import conv2d

__all__ = ["Conv2d"]


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` without bias whose second derivatives cost what its first do: see `gankit.ops.conv2d`.

    Weights, their start and the state dict are those of `nn.Conv2d`. A `LeakyReLU` that follows can add the bias.

    Args:
        in_channels, out_channels: channels, multiples of `groups`.
        kernel_size, stride, padding: one number or (vertical, horizontal); zeros come in at the borders.
        groups: the n-th part of the outputs sees the n-th part of the inputs alone.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        *,
        groups: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, stride=self._of("stride"), padding=self._of("padding"), groups=self.groups)

    def _of(self, name: str) -> tuple[int, int]:
        vertical, horizontal = getattr(self, name)
        return vertical, horizontal
