"""Plugin ``stargan``: translation between many domains by one generator that is told which."""

from gankit_plugin_stargan.variant import StarGAN

__all__ = ["StarGAN"]
