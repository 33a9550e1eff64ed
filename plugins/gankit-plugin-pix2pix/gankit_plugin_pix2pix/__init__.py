"""Plugin ``pix2pix``: translation that is learnt from pairs of images."""

from gankit_plugin_pix2pix.variant import Pix2Pix

__all__ = ["Pix2Pix"]
