"""Which image files become which."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gankit.data.files import SUFFIXES, list_images
from gankit.errors import UsageError

__all__ = ["Existing", "FilePair", "file_pairs"]

Existing = Literal["refuse", "replace", "keep"]
"""What is done about files that are there already: nothing at all, they are written again, or left as they are."""


@dataclass(frozen=True)
class FilePair:
    """An image file, and the one that it becomes; `error` says why it was not written, if it was not."""

    source: Path
    target: Path
    error: str = ""
    name: str = ""
    """Of the source, relative to the directory that was given."""
    there: bool = False
    """The target was there before, and is left as it is."""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    """What the model was asked with beside the image, by key: the file or the row that it came from, or its value."""


def file_pairs(source: Path, out: Path, *, existing: Existing = "refuse") -> tuple[list[FilePair], tuple[str, ...]]:
    """The image files that `source` is, or holds in itself and its sub-directories, and what they become in `out`.

    Names are kept, those of sub-directories too. Also what a user should know of files that are passed over. Files that
    are there already are written anew, or kept: then their pairs say so. What lies below `out` is no input.
    :class:`UsageError`, before anything is written, if there are no images, if `out` has another kind of name, or,
    where `existing` says to refuse, of a file that is there.
    """
    problems: tuple[str, ...] = ()
    if source.is_dir():
        listing = list_images(source)
        if not listing.files:
            raise UsageError(f"no images in {source}: found {listing.describe_others()}")
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is a file, and {source} is a directory. Give another OUT.")
        pairs = [FilePair(source / file, out / file, name=file) for file in listing.files]
        problems = listing.problems
        below = [pair for pair in pairs if pair.source.resolve().is_relative_to(out.resolve())]
        if below and out.resolve() != source.resolve():
            pairs = [pair for pair in pairs if pair not in below]
            problems += (f"{len(below)} images are in OUT, which is inside of IN, and not translated themselves",)
    elif not os.path.lexists(source):
        raise UsageError(f"there is no file or directory {source}")
    else:
        pairs = [FilePair(source, out / source.name if out.is_dir() or not out.suffix else out, name=source.name)]
    checked = []
    for pair in pairs:
        if pair.target.suffix.lower() not in SUFFIXES:
            endings = " ".join(sorted(SUFFIXES))
            raise UsageError(f"{pair.target}: not the name of an image; let it end in one of {endings}")
        there = pair.target.exists()
        if there and pair.target.samefile(pair.source):
            raise UsageError(f"{pair.target} would replace the image that it is made of. Give another OUT.")
        if there and existing == "refuse":
            raise UsageError(
                f"{pair.target} exists already. Give another OUT, --resume to do the rest, or --overwrite."
            )
        checked.append(replace(pair, there=there and existing == "keep"))
    if kept := sum(pair.there for pair in checked):
        problems += (f"{kept} of {len(pairs)} are there already, and left as they are",)
    return checked, problems
