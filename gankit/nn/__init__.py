"""Thin modules over the ops, and the blocks that several variants share."""

from gankit.nn.instance_norm_act import InstanceNormAct2d
from gankit.nn.leaky_relu import LeakyReLU
from gankit.nn.patchgan_loss import PatchGANLoss

__all__ = ["InstanceNormAct2d", "LeakyReLU", "PatchGANLoss"]
