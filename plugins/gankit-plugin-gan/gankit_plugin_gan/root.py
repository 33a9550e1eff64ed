"""What is said when a directory that the user named does not hold the files of a dataset."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from gankit.data.files import named
from gankit.errors import UsageError
from gankit.options.spelling import give

DEEP = 3
"""Directories below the one that was named that are looked through for the files."""

_PICKLES = re.compile(
    r".*\.(pkl|pickle|pt|pth|npz|npy|joblib)(\.gz)?"
    r"|(data|test)_batch(_\d)?|(batches\.)?meta|cifar-100?-(batches-py|python)(\.tar\.gz)?",
    re.IGNORECASE,
)
"""Files that are pickles or may hold some: of torch, of numpy, and the Python version of CIFAR."""


def names_in(root: Path) -> list[str]:
    """The names in a directory, sorted; :class:`UsageError` if it cannot be read."""
    try:
        return sorted(os.listdir(root))
    except OSError as error:
        raise UsageError(f"data.root: {root} cannot be read: {error.strerror or error}") from None


def not_found(root: Path, wanted: Callable[[str], bool], get: str) -> UsageError:
    """The error if no file of `root` is `wanted`: it names a directory below that has some, or what is there instead.

    `get` is the sentence that says which files are to be got.
    """
    if below := _below(root, wanted):
        return UsageError(f"data.root: the files are not in {root} but in {below}: give {give('data.root', below)}")
    names = names_in(root)
    if pickles := [name for name in names if _PICKLES.fullmatch(name)]:
        is_one = f"{pickles[0]} in {root} is a pickle or may hold one, and is not read: that could run any program"
        return UsageError(f"data.root: {is_one}. {get}")
    return UsageError(f"data.root: {root} holds {named(names) or 'nothing'}. {get}")


def _below(root: Path, wanted: Callable[[str], bool]) -> Path | None:
    """The first directory below `root` with a file that is wanted."""
    for path, directories, files in os.walk(root):
        directories.sort()
        if len(Path(path).relative_to(root).parts) >= DEEP:
            directories.clear()
        if path != str(root) and any(map(wanted, files)):
            return Path(path)
    return None
