"""The norms that networks of image translation choose from, each with the activation behind it."""

from __future__ import annotations

from typing import Literal

from torch import nn

from gankit.nn.instance_norm_act import InstanceNormAct2d
from gankit.nn.leaky_relu import LeakyReLU

__all__ = ["Norm", "norm_act"]

Norm = Literal["batch", "instance", "affine", "layer"]
"""``batch``: batch norm. ``instance``: instance norm without an affine part, behind convolutions with a bias, as in
CycleGAN. ``affine``: instance norm with a scale and a shift of each channel, which is batch norm of one image; unlike
batch norm it is the same in eval mode as in training, and depends on no other image. ``layer``: one mean and variance
of all channels and places of an image (group norm of one group), then a scale and a shift of each channel. Instance
norms make each channel the same on average, and so forget what colour an image has as a whole; the others do not."""


def norm_act(channels: int, norm: Norm, negative_slope: float = 1.0) -> nn.Module:
    """The norm and a leaky ReLU: (N, channels, H, W) to the same. ValueError for an unknown norm."""
    if norm in ("instance", "affine"):
        return InstanceNormAct2d(channels, affine=norm == "affine", negative_slope=negative_slope)
    if norm not in ("batch", "layer"):
        raise ValueError(f"norm must be batch, instance, affine or layer, got {norm!r}")
    alone = nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(1, channels)
    return alone if negative_slope == 1 else nn.Sequential(alone, LeakyReLU(negative_slope))
