"""Plugin ``cyclegan``: translation between two unpaired domains, and the dataset ``dressed-digits``."""

from gankit_plugin_cyclegan.variant import CycleGAN

__all__ = ["CycleGAN"]
