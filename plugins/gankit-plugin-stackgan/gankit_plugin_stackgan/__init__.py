"""Plugin ``stackgan``: text to image in two stages, and the datasets ``captioned-digits`` and ``captioned-folder``."""

from gankit_plugin_stackgan.variant import StackGAN

__all__ = ["StackGAN"]
