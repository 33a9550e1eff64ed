"""What is kept between commands because making it again takes long. Anything here may be deleted at any time."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from gankit.files import write_whole

SPARE = 1 << 30
"""Bytes of the disk that no cache takes: a run's checkpoints need room too."""


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


def use(handle: int) -> None:
    """Marks an open file as in use, as long as it is open: :func:`make_room` leaves it."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_SH)
    except (ImportError, OSError):  # Windows does not remove open files; a disk without locks removes none, see below
        return


def make_room(folder: Path, need: int, most: int) -> str:
    """Removes the files of `folder` that were used longest ago until `need` bytes more are at most `most`.

    Those in use stay. Returns "" if there is room, on the disk too, else why there is none.
    """
    if need > most:
        return f"{byte_size(need)} are needed, {byte_size(most)} are allowed"
    found = [(status.st_mtime, path, status.st_size) for path in folder.iterdir() if (status := _file(path))]
    held = sum(size for _, _, size in found)
    for _, path, size in sorted(found):
        unfinished = path.name.startswith(".tmp-")  # left behind by a kill, unless it is in use
        if (unfinished or held + need > most or _free(folder) < need + SPARE) and _remove_unused(path):
            held -= size
    if held + need > most:
        return f"{byte_size(need)} are needed, {byte_size(held)} of the {byte_size(most)} allowed are in use"
    if (free := _free(folder)) < need + SPARE:
        return f"{byte_size(need)} are needed, {byte_size(free)} are free and {byte_size(SPARE)} stay so"
    return ""


def byte_size(count: float) -> str:
    """Bytes for people: ``2.3 GiB``, ``40 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _file(path: Path) -> os.stat_result | None:
    try:
        status = path.lstat()
    except OSError:  # another process removed it
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _remove_unused(path: Path) -> bool:
    try:
        import fcntl

        handle = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(handle)
    except ImportError:
        return False
    except OSError:
        return False
    return True


__all__ = ["SPARE", "byte_size", "cache_directory", "keep", "make_room", "use"]
