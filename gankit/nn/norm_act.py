"""The norms that networks of image translation choose from, each with the activation behind it."""

from __future__ import annotations

from typing import Literal

from torch import nn

from gankit.nn.instance_norm_act import InstanceNormAct2d
from gankit.nn.leaky_relu import LeakyReLU

__all__ = ["Norm", "norm_act"]

Norm = Literal["batch", "instance", "affine"]
"""``batch``: batch norm. ``instance``: instance norm without an affine part, behind convolutions with a bias, as in
CycleGAN. ``affine``: instance norm with a scale and a shift of each channel, which is batch norm of one image; unlike
batch norm it is the same in eval mode as in training, and depends on no other image."""


def norm_act(channels: int, norm: Norm, negative_slope: float) -> nn.Module:
    """The norm and a leaky ReLU: (N, channels, H, W) to the same. ValueError for an unknown norm."""
    if norm == "batch":
        return nn.Sequential(nn.BatchNorm2d(channels), LeakyReLU(negative_slope))
    if norm not in ("instance", "affine"):
        raise ValueError(f"norm must be batch, instance or affine, got {norm!r}")
    return InstanceNormAct2d(channels, affine=norm == "affine", negative_slope=negative_slope)
