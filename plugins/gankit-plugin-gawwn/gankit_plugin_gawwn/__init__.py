"""Plugin ``gawwn``: images from text and a place."""

from gankit_plugin_gawwn.variant import GAWWN

__all__ = ["GAWWN"]
