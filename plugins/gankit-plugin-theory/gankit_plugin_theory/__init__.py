"""Plugin ``theory``: a GAN of two densities on the line, and the dataset ``densities``."""

from gankit_plugin_theory.variant import Theory

__all__ = ["Theory"]
