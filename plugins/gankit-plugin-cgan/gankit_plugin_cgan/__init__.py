"""Plugin ``cgan``: the class-conditional GAN, and the dataset ``digits``."""

from gankit_plugin_cgan.variant import CGAN

__all__ = ["CGAN"]
