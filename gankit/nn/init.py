"""How the weights of a new network are drawn."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from gankit.nn.instance_norm_act import InstanceNormAct2d

__all__ = ["init_he", "init_normal"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_WEIGHTS = (nn.Linear, nn.modules.conv._ConvNd)
_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.modules.instancenorm._InstanceNorm,
    InstanceNormAct2d,
)


def init_normal(module: ModuleT, std: float = 0.02) -> ModuleT:
    """Draws the weights of `module` from N(0, std), scales of norms from N(1, std), and sets biases to 0; returns it.

    Radford et al. 2016, section 4, and after it pix2pix and CycleGAN. Convolutions, transposed ones, linear layers and
    norms, in place; other parameters stay as they are. Draws from torch's global generator.
    """
    for part in module.modules():
        if isinstance(part, _WEIGHTS):
            nn.init.normal_(part.weight, 0.0, std)
        elif isinstance(part, _NORMS) and part.weight is not None:
            nn.init.normal_(part.weight, 1.0, std)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
    return module


def init_he(module: ModuleT, slope: float = 0.2) -> ModuleT:
    """Draws the weights of `module` so that activations keep their size where no norm does that; returns it.

    From N(0, std) with std = sqrt(2 / (1 + slope^2) / fan-in), for leaky ReLU of that negative `slope`, 0 for ReLU (He
    et al. 2015, "Delving deep into rectifiers"); biases become 0. Convolutions and linear layers, in place; transposed
    convolutions and other parameters stay as they are. Draws from torch's global generator.
    """
    for part in module.modules():
        if isinstance(part, _WEIGHTS) and not isinstance(part, nn.modules.conv._ConvTransposeNd):
            nn.init.kaiming_normal_(part.weight, slope)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return module
