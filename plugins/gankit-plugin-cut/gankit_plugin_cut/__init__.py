"""Plugin ``cut``: translation between two unpaired domains by one generator, one way."""

from gankit_plugin_cut.variant import CUT

__all__ = ["CUT"]
