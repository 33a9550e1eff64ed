"""Plugin ``cycada``: translation that keeps what a classifier needs, and the dataset ``street-digits``."""

from gankit_plugin_cycada.variant import CyCADA

__all__ = ["CyCADA"]
