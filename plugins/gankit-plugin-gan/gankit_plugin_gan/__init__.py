"""Plugin ``gan``: the original GAN, and the datasets ``mnist``, ``cifar10``, ``cifar100`` and ``svhn``."""

from gankit_plugin_gan.variant import GAN

__all__ = ["GAN"]
