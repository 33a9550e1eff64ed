"""Bytes that took long to make, kept for all runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b

from gankit.cache import cache_directory, keep

DIGEST = 16


def composed(name: str, length: int, make: Callable[[], bytes]) -> bytes:
    """The `length` bytes kept under `name` in gankit's cache directory; what `make` returns where they are not there,
    or are not what was kept. They are then kept, if the directory can be written."""
    try:
        path = cache_directory() / "composed" / name
        content = path.read_bytes()
        body, digest = content[:-DIGEST], content[-DIGEST:]
        if len(body) == length and blake2b(body, digest_size=DIGEST).digest() == digest:
            return body
    except OSError:
        pass
    made = make()
    with suppress(OSError):
        keep(cache_directory() / "composed" / name, made + blake2b(made, digest_size=DIGEST).digest())
    return made
