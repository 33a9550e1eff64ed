"""Plugin ``dcgan``: the deep convolutional GAN, and the dataset ``folder``."""

from gankit_plugin_dcgan.variant import DCGAN

__all__ = ["DCGAN"]
