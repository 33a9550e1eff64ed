"""Plugin ``infogan``: a GAN whose codes say what is drawn, without a label in training."""

from gankit_plugin_infogan.variant import InfoGAN

__all__ = ["InfoGAN"]
