"""The version of gankit."""

__version__ = "0.1.0"
