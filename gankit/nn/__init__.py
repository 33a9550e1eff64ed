"""Thin modules over the ops, and the blocks that several variants share."""

from gankit.nn.adaptive_probability import AdaptiveProbability
from gankit.nn.concat_conv2d import ConcatConv2d, ConcatSequential
from gankit.nn.conv2d import Conv2d
from gankit.nn.dropout_noise import DropoutNoise
from gankit.nn.image_pool import ImagePool
from gankit.nn.instance_norm_act import InstanceNormAct2d
from gankit.nn.leaky_relu import LeakyReLU
from gankit.nn.norm_act import Norm, norm_act
from gankit.nn.patchgan import PatchDiscriminator
from gankit.nn.patchgan_loss import PatchGANLoss
from gankit.nn.reflection_pad import ReflectionPad2d
from gankit.nn.resnet import ResNetGenerator
from gankit.nn.state import State
from gankit.nn.unet import UNetGenerator
from gankit.nn.upsample_conv2d import UpsampleConv2d

__all__ = [
    "AdaptiveProbability",
    "ConcatConv2d",
    "ConcatSequential",
    "Conv2d",
    "DropoutNoise",
    "ImagePool",
    "InstanceNormAct2d",
    "LeakyReLU",
    "Norm",
    "PatchDiscriminator",
    "PatchGANLoss",
    "ReflectionPad2d",
    "ResNetGenerator",
    "State",
    "UNetGenerator",
    "UpsampleConv2d",
    "norm_act",
]
