"""The U-Net generator of image translation (Ronneberger et al. 2015; Isola et al. 2017, section 6.1.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gankit.nn.dropout_noise import DropoutNoise
from gankit.nn.leaky_relu import LeakyReLU
from gankit.nn.norm_act import Norm, norm_act

__all__ = ["UNetGenerator", "halvings"]


def halvings(height: int, width: int) -> int:
    """How often 2 divides both sides: the most `downs` for such images."""
    return min((side & -side).bit_length() - 1 for side in (height, width))


class UNetGenerator(nn.Module):
    """Halvings and doublings, each doubling beside what the way down saw: (N, inputs, H, W) to (N, outputs, H, W).

    4x4 convolutions; H and W are multiples of ``2 ** downs``, ValueError otherwise; values are in [-1, 1]. With
    ``downs=8``, ``width=64`` and batch norm the published network for 256x256: 54,413,955 parameters for 3 channels.
    64x64 pixels take 6 halvings.

    Dropout (`gankit.nn.DropoutNoise`) stands behind the doublings between layers of ``8 * width`` channels, but for the
    innermost: three with 8 halvings, one with 6, none with 5 or fewer. It stays on in eval mode.

    Args:
        inputs, outputs: channels of the images.
        width: channels after the first layer; each further one has twice as many, up to 8 times.
        downs: how often the sides are halved, at least 2.
        norm: behind all convolutions but the first, the innermost and the last; see `gankit.nn.norm_act`.
        dropout: fraction of the values that is dropped.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        downs: int = 8,
        norm: Norm = "batch",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if downs < 2:
            raise ValueError(f"downs must be at least 2, got {downs}")
        wide = [width * min(2**level, 8) for level in range(downs)]
        layers: list[nn.Module] = [_down(inputs, width, norm)]
        layers += [_down(wide[level - 1], wide[level], norm, normed=True) for level in range(1, downs - 1)]
        self.downs = nn.ModuleList([*layers, _down(wide[-2], wide[-1], norm, slope=0.0)])
        layers = [Doubling(wide[-1], wide[-2], norm, 0.0)]
        for level in reversed(range(1, downs - 1)):
            noisy = wide[level - 1] == wide[level]
            layers.append(Doubling(2 * wide[level], wide[level - 1], norm, dropout if noisy else 0.0))
        self.ups = nn.ModuleList(layers)
        self.last = nn.Sequential(nn.ConvTranspose2d(2 * width, outputs, 4, 2, 1), nn.Tanh())

    @property
    def random(self) -> bool:
        """Whether translations of one image differ: False if nothing is dropped."""
        return any(module.p > 0 for module in self.modules() if isinstance(module, DropoutNoise))

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """`generator`, on the device of `images`, draws what is dropped; None: torch's global one."""
        (height, width), factor = images.shape[-2:], 2 ** len(self.downs)
        if height % factor or width % factor:
            raise ValueError(f"height and width must be multiples of {factor}, got {height}x{width}")
        x, seen = images, []
        for down in self.downs:
            x = down(x)
            seen.append(x)
        seen.pop()
        for up in self.ups:
            # relu(leaky_relu(x)) is relu(x): what a doubling begins with is done on either half by itself
            x = torch.cat([seen.pop().relu(), up(x, generator)], 1)
        return self.last(x)


class Doubling(nn.Module):
    """Transposed convolution, norm and ReLU, and dropout: (N, inputs, H, W) to (N, outputs, 2 H, 2 W)."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=norm == "instance")
        self.norm_relu = norm_act(outputs, norm, 0.0)
        self.noise = DropoutNoise(dropout)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.noise(self.norm_relu(self.up(x)), generator)


def _down(inputs: int, outputs: int, norm: Norm, *, normed: bool = False, slope: float = 0.2) -> nn.Module:
    """A halving, with the activation that what follows begins with."""
    bias = norm == "instance"
    if normed:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=bias), norm_act(outputs, norm, slope))
    act = LeakyReLU(slope, channels=outputs if bias else None)  # the bias in its pass
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), act)
