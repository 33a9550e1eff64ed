"""Plugin ``r3gan``: the modern baseline, relativistic pairs with both gradient penalties and no normalisation."""

from gankit_plugin_r3gan.variant import R3GAN

__all__ = ["R3GAN"]
