"""Plugins ``ae`` and ``vae``: images to codes and back, and images drawn from codes."""

from gankit_plugin_vae.ae import AE
from gankit_plugin_vae.vae import VAE

__all__ = ["AE", "VAE"]
