"""Rows of bytes by number, kept once they are known: in memory, or in a file that processes share."""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import struct
import weakref
from pathlib import Path
from typing import Protocol

import numpy as np

from gankit.cache import make_room, use

__all__ = ["HeldRows", "MappedRows", "Rows"]

_PAGE = 4096
_MAGIC = b"gankit rows, 1\0\0"


class Rows(Protocol):
    """`count` rows of `length` bytes, each known or not. Its methods may be called from several threads."""

    def known(self) -> np.ndarray:
        """Which rows are there, bool (count,): of those few may turn out to be damaged."""

    def take(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows, uint8 (N, length), and which of them are right, bool (N,)."""

    def put(self, number: int, row: np.ndarray) -> None:
        """Keep a row, uint8 (length,)."""

    def keep_only(self, chosen: np.ndarray) -> None:
        """Number the rows anew: those `chosen`, int64, in this order."""


class HeldRows:
    """:class:`Rows` in memory."""

    def __init__(self, count: int, length: int) -> None:
        self._rows = np.empty((count, length), dtype=np.uint8)
        self._known = np.zeros(count, dtype=bool)

    def known(self) -> np.ndarray:
        return self._known

    def take(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        known = self._known[numbers]  # before the rows: another thread may be putting one
        return self._rows.take(numbers, axis=0), known

    def put(self, number: int, row: np.ndarray) -> None:
        self._rows[number] = row
        self._known[number] = True

    def keep_only(self, chosen: np.ndarray) -> None:
        self._rows, self._known = self._rows[chosen], self._known[chosen]


class MappedRows:
    """:class:`Rows` in a file of the cache, mapped into memory, for whoever names the same `key`.

    The file is a header (which must be what it should be, byte by byte), a checksum for each row, 0 where there is
    none yet, and the rows. A row is looked at when it is first taken: what does not have its checksum, after a kill, a
    power cut or a flipped bit, counts as not there. So several processes may fill one file at once, and what a killed
    one had done is kept.
    """

    def __init__(self, path: Path, key: bytes, count: int, length: int, most: int) -> None:
        """Opens or makes the file; OSError if that fails, or if there is no room: `most` bytes in its directory."""
        self.path = path
        self._length = length
        self._stride = -(-length // 8) * 8
        self._header = _MAGIC + struct.pack("<QQ", count, length) + key.ljust(64, b"\0")
        self._sums_at, self._rows_at = _PAGE, _PAGE + -(-count * 8 // _PAGE) * _PAGE
        self.size = self._rows_at + count * self._stride
        self.failed = ""
        """Why rows could not be written."""
        self._handle, self._may_write = self._open(most)
        weakref.finalize(self, os.close, self._handle)
        mapped = mmap.mmap(self._handle, self.size, access=mmap.ACCESS_READ)
        self._rows = np.frombuffer(mapped, dtype=np.uint8, offset=self._rows_at).reshape(count, self._stride)
        self._sums = np.frombuffer(os.pread(self._handle, count * 8, self._sums_at), dtype=np.uint64).copy()
        self._checked = np.zeros(count, dtype=bool)
        self._weights = np.random.PCG64(20).random_raw(self._stride // 8) | np.uint64(1)
        self._numbers = np.arange(count)

    def known(self) -> np.ndarray:
        return self._sums[self._numbers] != 0

    def take(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        numbers = self._numbers[numbers]
        rows = self._rows.take(numbers, axis=0)
        right = self._checked[numbers]
        if not right.all():
            unseen = np.flatnonzero(~right)
            right[unseen] = self._fit(numbers[unseen], rows[unseen])
        return rows[:, : self._length], right

    def _fit(self, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Which of the rows have their checksums."""
        sums = self._checksums(rows)
        for at in np.flatnonzero(sums != self._sums[numbers]):  # another process may have put it since
            number = int(numbers[at])
            self._sums[number] = int.from_bytes(os.pread(self._handle, 8, self._sums_at + 8 * number), "little")
        fit = sums == self._sums[numbers]
        self._checked[numbers[fit]] = True
        return fit

    def _checksums(self, rows: np.ndarray) -> np.ndarray:
        """A checksum of each row, uint64, never 0: a sum of words with odd weights, in which any one flip shows.

        Some 4 us for an image of 128x128, a third of what CRC-32 takes.
        """
        return np.maximum(rows.view(np.uint64) @ self._weights, np.uint64(1))

    def put(self, number: int, row: np.ndarray) -> None:
        """Keep a row. What cannot be written is decoded again another time; `failed` says why."""
        if not self._may_write or self.failed:
            return
        number = int(self._numbers[number])
        padded = np.zeros((1, self._stride), dtype=np.uint8)
        padded[0, : self._length] = row
        sums = self._checksums(padded)
        try:  # by a call and not through memory: a full disk is then an error, and not the end of the process
            _write(self._handle, padded.data.cast("B"), self._rows_at + number * self._stride)
            _write(self._handle, sums.data.cast("B"), self._sums_at + 8 * number)  # last: with it the row counts
        except OSError as error:
            self.failed = error.strerror or str(error)
            return
        self._sums[number] = sums[0]

    def keep_only(self, chosen: np.ndarray) -> None:
        self._numbers = self._numbers[chosen]

    def _open(self, most: int) -> tuple[int, bool]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = getattr(os, "O_NONBLOCK", 0)  # should somebody have put a pipe there
        for _ in range(4):
            try:
                handle, may_write = os.open(self.path, os.O_RDWR | flags), True
            except FileNotFoundError:
                self._make(most)
                continue
            except PermissionError:  # another user's
                handle, may_write = os.open(self.path, os.O_RDONLY | flags), False
            use(handle)
            try:
                if not os.path.samestat(os.fstat(handle), os.stat(self.path)):
                    raise FileNotFoundError
            except FileNotFoundError:  # removed to make room while it was being opened
                os.close(handle)
                continue
            if self._is_whole(handle):
                if may_write:
                    os.utime(self.path)
                return handle, may_write
            os.close(handle)
            self.path.unlink(missing_ok=True)
        raise OSError(errno.EAGAIN, "others keep removing it", str(self.path))

    def _is_whole(self, handle: int) -> bool:
        try:
            return os.fstat(handle).st_size == self.size and os.pread(handle, _PAGE, 0) == self._header.ljust(
                _PAGE, b"\0"
            )
        except OSError:
            return False

    def _make(self, most: int) -> None:
        """The file without rows, in its place at once."""
        if why := make_room(self.path.parent, self.size, most):
            raise OSError(errno.ENOSPC, why, str(self.path))
        beside = self.path.with_name(f".tmp-{secrets.token_hex(6)}")
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            use(handle)
            _reserve(handle, self.size)
            _write(handle, memoryview(self._header), 0)
            try:
                os.link(beside, self.path)
            except FileExistsError:  # another process was faster
                return
            except OSError:  # a disk without hard links: of two that do this at once, one fills a file that is gone
                os.replace(beside, self.path)
        finally:
            os.close(handle)
            beside.unlink(missing_ok=True)


def _reserve(handle: int, size: int) -> None:
    """Makes a file of `size` zeros. OSError if the disk has no room, where it can tell."""
    try:
        os.posix_fallocate(handle, 0, size)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        os.ftruncate(handle, size)


def _write(handle: int, content: memoryview, at: int) -> None:
    while content:
        done = os.pwrite(handle, content, at)
        content, at = content[done:], at + done
