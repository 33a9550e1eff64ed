"""What is kept between commands because making it again takes long. Anything here may be deleted at any time."""

from __future__ import annotations

import os
from pathlib import Path

from gankit.files import write_whole


def cache_directory() -> Path:
    """``$GANKIT_CACHE``, else ``$XDG_CACHE_HOME/gankit``, else ``~/.cache/gankit``. OSError if there is no home."""
    if own := os.environ.get("GANKIT_CACHE"):
        return Path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "gankit"
    try:
        return Path.home() / ".cache" / "gankit"
    except RuntimeError as error:
        raise OSError(str(error)) from error


def keep(path: Path, content: bytes) -> None:
    """Write a file, and its directory: whole or not at all, also when several processes write the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
