"""Finding image files below a directory, and telling training from test files by their names."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePosixPath

from gankit.errors import UsageError
from gankit.options.spelling import give

__all__ = ["SUFFIXES", "Listing", "directory", "held_out", "list_images"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp"})
"""File name endings, in lower case, of the kinds of image that are read."""


@dataclass(frozen=True)
class Listing:
    """What :func:`list_images` found below `root`."""

    root: Path
    files: tuple[str, ...]
    """Image files, relative to `root`, with forward slashes, sorted."""
    others: Counter[str]
    """How many other files there are of each suffix."""
    problems: tuple[str, ...]
    """Directories that could not be read, each with its reason."""

    def describe_others(self) -> str:
        """``12 .txt, 3 .pdf``, or ``no files at all``."""
        found = [f"{count} {suffix or 'without a suffix'}" for suffix, count in self.others.most_common(4)]
        return ", ".join(found) or "no files at all"


def directory(path: str | Path, option: str) -> Path:
    """`path` as an existing directory; else a :class:`UsageError` that names `option`."""
    if not str(path):
        raise UsageError(f"{option} is not set; give a directory of images: {give(option, 'DIR')}")
    root = Path(path).expanduser()
    if root.is_dir():
        return root
    wrong = "a file" if root.exists() else "not there"
    raise UsageError(f"{option}: {root} is {wrong}; give a directory of images: {give(option, 'DIR')}")


def list_images(root: Path) -> Listing:
    """All image files (by suffix, in upper or lower case) below `root`, through symbolic links, each directory once.

    Files and directories whose names begin with a dot, and macOS's ``__MACOSX``, are passed over.
    """
    files: list[str] = []
    others: Counter[str] = Counter()
    problems: list[str] = []
    for directory_path, names in _walk(root, problems):
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in SUFFIXES:
                files.append((directory_path / name).relative_to(root).as_posix())
            else:
                others[suffix] += 1
    return Listing(root, tuple(sorted(files)), others, tuple(problems))


def _walk(root: Path, problems: list[str]) -> Iterator[tuple[Path, list[str]]]:
    """Directories and the names of their files, sorted; a directory reached twice by links is visited once."""
    seen: set[tuple[int, int]] = set()

    def failed(error: OSError) -> None:
        problems.append(f"{error.filename}: {error.strerror}")

    for path, directories, names in os.walk(root, followlinks=True, onerror=failed):
        status = os.stat(path)
        if (identity := (status.st_dev, status.st_ino)) in seen:
            directories.clear()
            continue
        seen.add(identity)
        directories[:] = sorted(name for name in directories if not name.startswith(".") and name != "__MACOSX")
        yield Path(path), sorted(name for name in names if not name.startswith("."))


def held_out(files: Sequence[str], fraction: float) -> frozenset[str]:
    """The `fraction` of `files` kept for testing: at least one and not all, if there are two and `fraction` > 0.

    Those whose names have the least digests: the choice does not depend on the machine or on a seed, and changes little
    when files are added.
    """
    if fraction <= 0 or len(files) < 2:
        return frozenset()
    count = min(max(1, round(len(files) * fraction)), len(files) - 1)
    return frozenset(sorted(files, key=_digest)[:count])


def _digest(file: str) -> bytes:
    name = unicodedata.normalize("NFC", PurePosixPath(file).as_posix())  # macOS and Linux spell accents differently
    return blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
