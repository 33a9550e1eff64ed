"""Plugin ``inpaint``: what a mask hides is filled in."""

from gankit_plugin_inpaint.variant import Inpaint

__all__ = ["Inpaint"]
