"""A run as a directory that others can use: a repository of the Hugging Face Hub, and a run again."""

from gankit.hub.card import About
from gankit.hub.fetching import SCHEME, fetched, is_address
from gankit.hub.reading import read_directory
from gankit.hub.writing import Shared, check_directory, write_directory

__all__ = [
    "SCHEME",
    "About",
    "Shared",
    "check_directory",
    "fetched",
    "is_address",
    "read_directory",
    "write_directory",
]
