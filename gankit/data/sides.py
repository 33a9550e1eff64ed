"""Finding the two sides of a dataset of translation: in one directory, as is usual, or in two of any name."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gankit.data.files import SUFFIXES, Listing, directory, list_images, named
from gankit.data.layout import by_directories
from gankit.errors import UsageError
from gankit.options.spelling import give

__all__ = ["SIDES", "Side", "Sides", "find_sides", "relative_to_both", "sides_below"]

SIDES = ("a", "b")
_SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
_BOTH = re.compile(r"(train|test|val|valid|validation)[ _.-]?([ab])", re.IGNORECASE)
_USUAL = "trainA and trainB (with testA and testB, if there are any), train/A and train/B, or A and B"


@dataclass
class Side:
    """The images of one side, relative to `root`."""

    root: Path
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    """Those that directories name so; there may be none."""
    prefixes: dict[str, str] = field(default_factory=dict)
    """Of each image the directories that say where it belongs: what is behind them names it."""

    def name(self, file: str) -> str:
        """What `file` is called within its side and split: the same for both of a pair, but for the ending."""
        return os.path.splitext(file[len(self.prefixes.get(file, "")) :])[0]


@dataclass
class Sides:
    """Both of them."""

    a: Side
    b: Side
    notes: list[str]

    def __getitem__(self, name: str) -> Side:
        return self.a if name == "a" else self.b


def find_sides(root: str, a: str, b: str) -> Sides:
    """The sides in the directories `a` and `b`, or below `root`.

    Raises:
        UsageError: nothing is given, or too much, or a side is not there or has no images.
    """
    if a or b:
        if root:
            raise UsageError("data.root and data.a or data.b are given; give one directory, or two, one for each side")
        return _in_two_directories(a, b)
    listing = list_images(directory(root, "data.root", "two sides of images"))
    if (found := sides_below(listing)) is None:
        raise _missing(listing, SIDES)
    return found


def sides_below(listing: Listing) -> Sides | None:
    """The sides below one directory, in which directories are named after them; None if none is.

    ``trainA/``, ``train/A/``, ``A/`` or ``A/train/``, in upper or lower case; the same with test, or with val.
    :class:`UsageError` if one has images to train with and the other has not.
    """
    root = listing.root
    found: dict[str, dict[str, list[str]]] = {side: {} for side in SIDES}
    prefixes: dict[str, str] = {}
    strays: list[str] = []
    for file in listing.files:
        place = _place(file)
        if place is None:
            strays.append(file)
            continue
        side, split, depth = place
        found[side].setdefault(split, []).append(file)
        prefixes[file] = "/".join(file.split("/")[:depth]) + "/"
    notes = list(listing.problems)
    if not prefixes:
        return None
    if missing := [side for side in SIDES if not found[side].keys() & {"", "train"}]:
        raise _missing(listing, missing)
    if strays:
        notes.append(f"{len(strays)} images beside the directories of the sides are left out: {named(strays)}")
    a, b = (_side(root, side, found[side], notes) for side in SIDES)
    a.prefixes = b.prefixes = prefixes
    return Sides(a, b, notes)


def _side(root: Path, side: str, by_split: dict[str, list[str]], notes: list[str]) -> Side:
    train = by_split.get("train") or by_split.get("", [])
    if "train" in by_split and "" in by_split:
        notes.append(f"{len(by_split[''])} images of {side} are in no split and left out: {named(by_split[''])}")
    test = by_split.get("test") or by_split.get("val", [])
    if "test" in by_split and "val" in by_split:
        notes.append(f"the {len(by_split['val'])} images of {side} in val are left out: there is a test split")
    return Side(root, tuple(train), tuple(test))


def _place(file: str) -> tuple[str, str, int] | None:
    """Side, split ("" if none is named), and how many leading directories say so; None for what belongs to no side."""
    first, *rest = file.split("/")[:-1] or [""]
    if both := _BOTH.fullmatch(first):
        return both[2].lower(), _SPLITS[both[1].lower()], 1
    second = rest[0] if rest else ""
    for side, split in ((first, second), (second, first)):
        if side.lower() in SIDES and split.lower() in _SPLITS:
            return side.lower(), _SPLITS[split.lower()], 2
    return (first.lower(), "", 1) if first.lower() in SIDES else None


def _missing(listing: Listing, missing: Sequence[str]) -> UsageError:
    places = Counter(file.partition("/")[0] if "/" in file else "." for file in listing.files)
    there = ", ".join(f"{count} images in {place}" for place, count in places.most_common(4))
    if not listing.files:
        there = f"no images, {listing.describe_others()}"
    return UsageError(
        f"data.root: no training images of {' and '.join(missing)} in {listing.root}: found {there}. Directories "
        f"{_USUAL} say which side is which; or give two directories: {give('data.a', 'DIR')} {give('data.b', 'DIR')}"
    )


def _in_two_directories(a: str, b: str) -> Sides:
    given = {"a": a, "b": b}
    for side, path in given.items():
        if not path:
            raise UsageError(f"data.{side} is not set; give both sides: {give(f'data.{side}', 'DIR')}")
    roots = {side: directory(path, f"data.{side}") for side, path in given.items()}
    real = {side: os.path.realpath(root) for side, root in roots.items()}
    for side, other in (("a", "b"), ("b", "a")):
        if real[side] == real[other]:
            raise UsageError(f"data.a and data.b are the same directory, {roots['a']}; give one for each side")
        if real[side].startswith(real[other].rstrip(os.sep) + os.sep):
            raise UsageError(
                f"data.{side}: {roots[side]} is inside data.{other}, whose images it would be, too; move it"
            )
    notes: list[str] = []
    sides = {}
    for side, root in roots.items():
        listing = list_images(root)
        if not listing.files:
            found = "; ".join((listing.describe_others(), *listing.problems))
            raise UsageError(
                f"data.{side}: no images in {root}: found {found}; looked for {' '.join(sorted(SUFFIXES))}"
            )
        splits = by_directories(listing.files)
        notes += [f"{side}: {note}" for note in (*listing.problems, *splits.notes)]
        sides[side] = Side(root, splits.train, splits.test)
        if splits.named:
            sides[side].prefixes = {file: file.partition("/")[0] + "/" for file in (*splits.train, *splits.test)}
    return Sides(sides["a"], sides["b"], notes)


def relative_to_both(roots: Iterable[Path], files: Iterable[Sequence[str]]) -> tuple[Path, list[list[str]]]:
    """A directory above all `roots`, and the `files` of each relative to it."""
    roots = list(roots)
    above = Path(os.path.commonpath(roots))
    inside = ["" if root == above else root.relative_to(above).as_posix() + "/" for root in roots]
    return above, [[prefix + file for file in part] for prefix, part in zip(inside, files, strict=True)]
