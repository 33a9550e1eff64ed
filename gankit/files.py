"""Writing files so that a reader, or a kill, finds the old content or the new one, never half of it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, content: bytes | memoryview, *, overwrite: bool = True, durable: bool = False) -> None:
    """Write `content` beside `path` and rename it into place; several processes may write the same file.

    With ``overwrite=False`` a file that exists is a FileExistsError. `durable` waits until the disk has it. OSError if
    writing fails: then nothing has changed.
    """
    # short, so that a name that is as long as the file system allows still has a place to be written
    beside = path.with_name(f".tmp-{secrets.token_hex(6)}")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if overwrite:
            os.replace(beside, path)
        else:
            os.link(beside, path)  # unlike rename, refuses to replace
    finally:
        beside.unlink(missing_ok=True)
    if durable:
        sync(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Write a small file of a run, durably."""
    write_whole(path, text.encode("utf-8"), durable=True)


def sync(path: Path) -> None:
    """Asks the operating system to put a file or a folder on the disk now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


__all__ = ["replace_text", "sync", "write_whole"]
