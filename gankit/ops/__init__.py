"""Fused ops, each with its readable reference beside it."""

from gankit.ops._library import native_available, native_info, native_status
from gankit.ops.conv2d import conv2d
from gankit.ops.instance_norm_act import instance_norm_act
from gankit.ops.leaky_relu import leaky_relu
from gankit.ops.patchgan_loss import patchgan_d_loss, patchgan_g_loss

__all__ = [
    "conv2d",
    "instance_norm_act",
    "leaky_relu",
    "native_available",
    "native_info",
    "native_status",
    "patchgan_d_loss",
    "patchgan_g_loss",
]
