"""Finding image files below a directory, and telling training from test files by their names."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

from gankit.errors import UsageError
from gankit.files import not_regular
from gankit.options.spelling import give

__all__ = [
    "SUFFIXES",
    "Listing",
    "Root",
    "absolute",
    "directory",
    "held_out",
    "lines",
    "list_images",
    "named",
    "state_of",
]

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp"})
"""File name endings, in lower case, of the kinds of image that are read."""

_OF_SYSTEMS = frozenset(
    {"__macosx", "lost+found", "system volume information", "recycler", "#recycle", "#snapshot", "@eadir", "@recycle"}
    | {"@recently-snapshot", "@tmp", "@synoresource", "$recycle.bin", "desktop.ini", "thumbs.db", "ehthumbs.db"}
)
"""Names, in lower case, of what systems put beside a user's files: thumbnails, bins, indices."""


_OF_A_RUN = frozenset({"config.toml", "environment.json"})
"""What a directory holds that a training made: its samples are no data of the next one, wherever runs are kept."""


@dataclass(frozen=True)
class Listing:
    """What :func:`list_images` found below `root`."""

    root: Path
    files: tuple[str, ...]
    """Image files, relative to `root`, with forward slashes, sorted."""
    others: Counter[str]
    """How many other files there are of each suffix."""
    problems: tuple[str, ...]
    """What is left out although it looks like images, or may hold some, each with its reason."""

    def describe_others(self) -> str:
        """``12 .txt, 3 .pdf``, or ``no files at all``."""
        found = [f"{count} {suffix or 'without a suffix'}" for suffix, count in self.others.most_common(4)]
        return ", ".join(found) or "no files at all"


def state_of(path: Path) -> tuple[int, ...]:
    """What changes whenever a file does, also if it was given back its old date; empty for a file that is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def named(names: Sequence[str], most: int = 5) -> str:
    """``a, b, c and 4 more``: the first of `names` for a line that a user reads."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def lines(text: str) -> list[str]:
    r"""The lines of a text: they end at ``\n``, ``\r\n`` or ``\r``, not at whatever else Unicode calls a line's end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def absolute(path: str) -> str:
    """`path` as :data:`Root` keeps it; ValueError if it is not UTF-8."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        reason = "the name is not UTF-8; rename it, or give a link to it"
        if sys.getfilesystemencoding() != "utf-8":
            reason += f". If it is only that names are {sys.getfilesystemencoding()} here: export LC_ALL=C.UTF-8"
        raise ValueError(reason) from None
    return os.path.abspath(os.path.expanduser(path)) if path else ""


Root = Annotated[str, AfterValidator(absolute)]
"""Type of an option that names a directory or a file, "" if it is not given. Kept absolute, since a run may be resumed
from another directory, and UTF-8, since config.toml is."""


def directory(path: str | Path, option: str, of: str = "images") -> Path:
    """`path` as an existing directory; else a :class:`UsageError` that names `option` and what it should hold."""
    if not str(path):
        raise UsageError(f"{option} is not set; give a directory of {of}: {give(option, 'DIR')}")
    root = Path(path).expanduser()
    if root.is_dir():
        return root
    wrong = "a file" if root.exists() else "not there"
    raise UsageError(f"{option}: {root} is {wrong}; give a directory of {of}: {give(option, 'DIR')}")


def list_images(root: Path) -> Listing:
    """All image files (by suffix, in upper or lower case) below `root`, through symbolic links, each directory once.

    What systems make is passed over: names that begin with a dot, an @ or a $, and a few more. So are directories of
    runs, and pipes, sockets and devices, whatever they are called.
    """
    files: list[str] = []
    others: Counter[str] = Counter()
    problems: list[str] = []
    passed: list[str] = []
    for path, entry in _walk(root, problems, passed):
        suffix = os.path.splitext(entry.name)[1].lower()
        if suffix not in SUFFIXES:
            others[suffix] += 1
        elif what := _not_a_file(entry):
            problems.append(f"{path} is {what}, not a file, and left out")
        else:
            files.append(path)
    if passed:
        problems.append(f"passed over, since systems make such names: {named(sorted(passed))}")
    return Listing(root, tuple(sorted(files)), others, tuple(problems))


def _walk(root: Path, problems: list[str], passed: list[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below `root` that is no directory: its path relative to `root`, and itself.

    A directory reached twice by links is visited once, by the first of its sorted paths. `passed` gets directories
    whose names look like a system's and are not known to be.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        place = waiting.pop()
        try:
            status = os.stat(root / place)
            if (status.st_dev, status.st_ino) in seen:
                continue
            with os.scandir(root / place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(f"{root / place}: {error.strerror}")
            continue
        seen.add((status.st_dev, status.st_ino))
        if place and {entry.name for entry in entries} >= _OF_A_RUN:
            continue
        inner: list[str] = []
        for entry in entries:
            path = f"{place}/{entry.name}" if place else entry.name
            if _is_directory(entry):
                if not _of_a_system(entry.name):
                    inner.append(path)
                elif entry.name[0] in "@$" and entry.name.lower() not in _OF_SYSTEMS:
                    passed.append(f"{path}/")
            elif not _of_a_system(entry.name):
                yield path, entry
        waiting += reversed(inner)


def _of_a_system(name: str) -> bool:
    return name[0] in ".@$" or name.lower() in _OF_SYSTEMS


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links: reading it says so
        return False


def _not_a_file(entry: os.DirEntry[str]) -> str:
    """``a pipe``, or what else cannot be read to an end; "" for files and for links that lead nowhere."""
    try:
        return "" if entry.is_file() else not_regular(entry.stat().st_mode)
    except OSError:  # reading it says why
        return ""


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
