"""Image files as rows of uint8 tensors: decoded once, kept in memory or on disk, broken ones set aside."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from threading import RLock

import numpy as np
import torch
from torch import Tensor

from gankit.cache import byte_size, cache_directory
from gankit.data.files import named, state_of
from gankit.data.images import Fit, ImageError
from gankit.data.planes import decode_channels
from gankit.data.rows import HeldRows, MappedRows, Rows
from gankit.errors import UsageError
from gankit.events import OnEvent, Progress, ignore

__all__ = ["ImageStore"]

_EDITION = 2
"""Of how files become pixels: raise it with every change of those, or older ones are taken from the cache."""
_AT_ONCE = 256
"""Images that are decoded between two words about how far it is."""


class ImageStore:
    """The images of `files` (below `root`), each uint8 (`channels`, height, width), by their number.

    Up to `check` files are decoded before anything is answered, on all cores: the broken ones are known and left out
    (of :attr:`files` too) before training begins. Of a longer list each is decoded when first asked for, or by
    :meth:`load`, and in place of a broken one stands the next that can be read; which one that is depends on the files
    alone, so that a resumed run sees the same.

    Decoded images are kept in memory if they take up to `memory` bytes, else in a file below
    :func:`gankit.cache.cache_directory` that all runs with the same files, unchanged, and the same options share, if it
    and others like it take up to `disk` bytes. Where there is no room for it, up to `without_disk` bytes are kept in
    memory, and of more than that none. `disk` 0 keeps nothing anywhere.

    If none of `files` can be read, that is a :class:`UsageError`, unless it `may_be_empty`.
    """

    what = "image files"

    def __init__(
        self,
        root: Path,
        files: Sequence[str],
        *,
        size: tuple[int, int],
        channels: int = 3,
        fit: Fit = "crop",
        memory: int = 64 << 20,
        disk: int = 20 << 30,
        without_disk: int = 2 << 30,
        check: int = 5000,
        may_be_empty: bool = False,
    ) -> None:
        self.root, self.size, self.channels, self.fit = root, size, channels, fit
        self.unreadable: dict[str, str] = {}
        """Why, by file, of those found unreadable so far."""
        self._files = tuple(files)
        self._total = len(self._files)
        self._memory, self._disk, self._without_disk = memory, disk, without_disk
        self._unsettled = 0 < self._total <= check
        self._may_be_empty = may_be_empty
        self._lock = RLock()
        self._no_disk = ""

    def __len__(self) -> int:
        return len(self.files)

    @property
    def files(self) -> tuple[str, ...]:
        """The files by number, without those known to be broken if all were looked at."""
        if self._unsettled:
            self.load()
        return self._files

    @property
    def in_memory(self) -> bool:
        """Whether reading is only copying, and never waits for a disk."""
        self.files  # noqa: B018
        return isinstance(self._kept, HeldRows) and bool(self._kept.known().all())

    def load(self, tell: OnEvent = ignore) -> None:
        """Decode, on all cores, whatever is kept and not there yet; `tell` gets :class:`~gankit.events.Progress`."""
        with self._lock:
            if self._unsettled or self._kept is not None:
                self._decode_missing(tell)
            if self._unsettled:
                self._leave_out_unreadable()
                self._unsettled = False

    def read(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The images at `indices` (int64, (N,)): uint8 (N, channels, height, width), and which images they are.

        The second is `indices`, except where an unreadable image was replaced by another: take labels by it. May be
        called from several threads. Raises :class:`UsageError` when no image at all can be read.
        """
        self.files  # noqa: B018  # looks at them, if that is still to be done
        if self._kept is None:
            found = [self._nearest(index) for index in indices.tolist()]
            rows = np.stack([row for row, _ in found]) if found else np.empty((0, self._length), np.uint8)
            return self._as_images(rows), torch.tensor([index for _, index in found], dtype=torch.int64)
        rows, right = self._kept.take(indices.numpy())
        if not right.all():
            indices = indices.clone()
            for at in np.flatnonzero(~right):
                rows[at], indices[at] = self._nearest(int(indices[at]))
        return self._as_images(rows), indices

    def source(self, index: int) -> str:
        """The file that the image at `index` comes from."""
        files = self.files
        if self._total == len(files) and (self._kept is None or not self._kept.known()[index]):
            index = self._nearest(index)[1]  # it may be broken, and another stand in its place
        return files[index]

    def notes(self, most: int = 5) -> list[str]:
        """What the user should know: files that could not be read, where decoded images are kept, if on a disk."""
        self.files  # noqa: B018
        notes = []
        if self.unreadable:
            reasons = named([reason for _, reason in sorted(self.unreadable.items())], most)
            notes.append(
                f"{len(self.unreadable)} of {self._total} {self.what} cannot be read and are left out: {reasons}"
            )
        if isinstance(self._kept, MappedRows):
            taken, allowed = byte_size(self._kept.size), byte_size(self._disk)
            where = f"{taken} in {self._kept.path.parent}, of at most {allowed} there"
            notes.append(f"decoded images: {where} (--data.cache-gib); GANKIT_CACHE moves it")
            if self._kept.failed:
                notes.append(f"decoded images could not all be written ({self._kept.failed}): the rest is decoded anew")
        if self._no_disk:
            kept = "in memory" if self._kept is not None else "nowhere, and decoded each time"
            notes.append(f"decoded images are kept {kept}: {self._no_disk}")
        return notes

    @property
    def _length(self) -> int:
        return self.channels * self.size[0] * self.size[1]

    def _as_images(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(rows)).view(-1, self.channels, *self.size)

    @cached_property
    def _kept(self) -> Rows | None:
        total = self._total * self._length
        if not total or not self._disk:
            return None
        if total <= self._memory:
            return HeldRows(self._total, self._length)
        try:
            folder = cache_directory() / "images"
            key = self._key()
            return MappedRows(folder / f"{key.hex()[:32]}.rows", key, self._total, self._length, self._disk)
        except OSError as error:
            self._no_disk = f"no cache on disk ({error.strerror or error})"
        return HeldRows(self._total, self._length) if total <= self._without_disk else None

    def _key(self) -> bytes:
        """Digest of the files' names, sizes and times, and of how they are decoded."""
        made = blake2b(repr(self._how()).encode("utf-8", "surrogateescape"), digest_size=32)
        for known in self._states.items():
            made.update(repr(known).encode("utf-8", "surrogateescape"))
        return made.digest()

    def _how(self) -> tuple[object, ...]:
        """All that the rows follow from, but for the files."""
        return _EDITION, os.path.realpath(self.root), self.size, self.channels, self.fit

    @cached_property
    def _states(self) -> dict[str, tuple[int, ...]]:
        return {file: self._state(file) for file in self._files}

    def _state(self, file: str) -> tuple[int, ...]:
        """What changes whenever the image `file` does."""
        return state_of(self.root / file)

    def _decode(self, file: str) -> np.ndarray:
        """The image `file` as a row, uint8 (:attr:`_length`,). Raises :class:`ImageError`."""
        return decode_channels(self.root / file, self.size, self.channels, self.fit).numpy().reshape(-1)

    def _decode_missing(self, tell: OnEvent) -> None:
        known = self._kept.known() if self._kept is not None else np.zeros(len(self._files), dtype=bool)
        missing = np.flatnonzero(~known)
        if not len(missing):
            return
        missing = np.roll(missing, secrets.randbelow(len(missing)))  # two processes at it begin at different places
        what = "decoding images"
        pool = ThreadPoolExecutor(_cores())
        try:
            for done in range(0, len(missing), _AT_ONCE):
                tell(Progress(what=what, done=done, total=len(missing)))
                list(pool.map(self._get, missing[done : done + _AT_ONCE].tolist()))
            tell(Progress(what=what, done=len(missing), total=len(missing)))
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for those that are queued

    def _leave_out_unreadable(self) -> None:
        """Forget the files that cannot be read."""
        chosen = np.array([number for number, file in enumerate(self._files) if file not in self.unreadable], dtype=int)
        if not len(chosen) and not self._may_be_empty:
            raise self._nothing()
        if len(chosen) < len(self._files):
            if self._kept is not None:
                self._kept.keep_only(chosen)
            self._files = tuple(self._files[number] for number in chosen)

    def _nearest(self, index: int) -> tuple[np.ndarray, int]:
        """The image at `index`, or the next after it that can be read, as a row; and its number."""
        for offset in range(len(self._files)):
            here = (index + offset) % len(self._files)
            if (row := self._get(here)) is not None:
                return row, here
        raise self._nothing()

    def _get(self, index: int) -> np.ndarray | None:
        """The image at `index` as a row, or None if it cannot be read."""
        file = self._files[index]
        if file in self.unreadable:
            return None
        if self._kept is not None:
            rows, right = self._kept.take(np.array([index]))
            if right[0]:
                return rows[0]
        try:
            row = self._decode(file)
        except ImageError as error:
            self.unreadable[file] = str(error)
            return None
        # what was replaced since the cache was named after it must not be found there by others
        if isinstance(self._kept, HeldRows) or (self._kept is not None and self._state(file) == self._states[file]):
            self._kept.put(index, row)
        return row

    def _nothing(self) -> UsageError:
        reason = self.unreadable[min(self.unreadable)]
        return UsageError(f"none of the {self._total} {self.what} in {self.root} can be read; {reason}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
