"""Writing files so that a reader, or a kill, finds the old content or the new one; opening what a user named."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

_NAMES = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def not_regular(mode: int) -> str:
    """What a file of this ``st_mode`` is called, if it is none that can be read to an end: ``a pipe``; else ""."""
    return "" if stat.S_ISREG(mode) else _NAMES.get(stat.S_IFMT(mode), "a directory")


def open_regular(path: str | Path) -> BufferedReader:
    """A file that a user named, open for reading. OSError if there is none or it is a pipe, a socket, a device.

    Opening those may wait for ever for somebody to write, and no Ctrl-C ends that.
    """
    if what := not_regular(os.stat(path).st_mode):  # first: a device may act on being opened
        raise OSError(errno.EINVAL, f"it is {what}, not a file", str(path))
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if what := not_regular(os.fstat(handle).st_mode):  # it was replaced in between
        os.close(handle)
        raise OSError(errno.EINVAL, f"it is {what}, not a file", str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: str | Path) -> bytes:
    """The content of a file that a user named. OSError as of :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read()


def write_whole(path: Path, content: bytes | memoryview, *, overwrite: bool = True, durable: bool = False) -> None:
    """Write `content` beside `path` and rename it into place; several processes may write the same file.

    With ``overwrite=False`` a file that exists is a FileExistsError. `durable` waits until the disk has it. OSError
    that names `path` if writing fails: then nothing has changed.
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
            _put_new(beside, path)
        if durable:
            sync(path.parent)
    except OSError as error:
        error.filename = str(path)  # a full disk names none, others the file beside it
        del error.filename2
        raise
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def placed(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A name beside `path` to write a file under, which gets the name `path` at the end of the block.

    FileExistsError if that is taken and not to be replaced. If the block fails, nothing is left.
    """
    beside = path.with_name(f".tmp-{secrets.token_hex(6)}")
    try:
        yield beside
        if overwrite:
            os.replace(beside, path)
        else:
            _put_new(beside, path)
    except OSError as error:
        if error.filename == str(beside):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _put_new(beside: Path, path: Path) -> None:
    """Gives the file `beside` the name `path`; FileExistsError if that is taken."""
    try:
        os.link(beside, path)  # unlike rename, refuses to replace
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links (exFAT, SMB): the name is claimed by an empty file first
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.replace(beside, path)
        except OSError:
            path.unlink(missing_ok=True)
            raise


def remove(path: Path) -> None:
    """Removes a folder with all that is in it, or whatever else stands there; what cannot be removed stays.

    ``shutil.rmtree`` opens what it is given, and of a pipe waits for the other end.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        with suppress(OSError):
            path.unlink()


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


__all__ = ["not_regular", "open_regular", "placed", "read_regular", "remove", "replace_text", "sync", "write_whole"]
