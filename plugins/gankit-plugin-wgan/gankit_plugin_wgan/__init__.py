"""Plugin ``wgan``: a GAN whose critic estimates how far the samples are from the data."""

from gankit_plugin_wgan.variant import WGAN

__all__ = ["WGAN"]
