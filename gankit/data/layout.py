"""What the directories of an image folder mean: training and test split, classes, and what is neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gankit.data.files import held_out, named

__all__ = ["Layout", "Splits", "by_directories", "hold_out", "lay_out"]

_TEST_NAMES = ("test", "val", "valid", "validation")


@dataclass(frozen=True)
class Splits:
    """Which files are for training and which for testing."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    named: bool
    """Whether directories say so; there may still be none for testing."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Which files are for training, which for testing, and their classes (none if they have no labels)."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    depth: int
    """Number of leading directories that are not the class."""
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def class_of(self, file: str) -> str | None:
        """The class directory that `file` is in; None for one beside the class directories."""
        return _directory(file, self.depth)


def lay_out(files: Sequence[str], fraction: float) -> Layout:
    """The splits and classes of `files`, relative to their root; `fraction` of them held out where nothing else says.

    Class directories are those of the training files, if there are two or more. A few images beside directories, fewer
    than these have on average, are strays: left out and told of. So are test images without a class, where those for
    training have one. With more images beside the directories there are no labels.
    """
    splits = by_directories(files)
    train, test, notes, depth = splits.train, splits.test, list(splits.notes), 1 if splits.named else 0

    inside = tuple(file for file in train if _directory(file, depth) is not None)
    strays = [file for file in train if _directory(file, depth) is None]
    groups = len({_directory(file, depth) for file in inside})
    classes = sorted({name for file in (*inside, *test) if (name := _directory(file, depth)) is not None})
    if len(classes) < 2 or not inside or (strays and (groups < 2 or not _few(strays, inside, groups))):
        if strays and groups > 1:
            notes.append(f"{len(strays)} images lie beside the {groups} class directories, so there are no labels")
        layout = Layout(*((train, test) if test else hold_out(train, fraction)), depth)
        return replace(layout, notes=tuple(notes))

    strays += [file for file in test if _directory(file, depth) is None]
    if strays:
        notes.append(_left_out(strays, f"the {len(classes)} class directories"))
        test = tuple(file for file in test if _directory(file, depth) is not None)
    layout = Layout(*((inside, test) if test else hold_out(inside, fraction)), depth)
    count = Counter(layout.class_of(file) for file in layout.train)
    notes += [f"class {name!r} has no training images" for name in classes if not count[name]]
    return replace(layout, classes=tuple(classes), notes=tuple(notes))


def by_directories(files: Sequence[str]) -> Splits:
    """The splits that the first directories of `files` name, whatever classes there are; else all are for training."""
    names = _split_directories(files)
    if not names:
        return Splits(tuple(files), (), named=False)
    of = {name: tuple(file for file in files if file.startswith(f"{name}/")) for name in names}
    first, *others = names
    notes = [f"{name}/ is left out: {others[0]}/ is the test split" for name in others[1:]]
    if strays := [file for file in files if "/" not in file]:
        notes.append(_left_out(strays, "the directories of the splits"))
    return Splits(of[first], of[others[0]] if others else (), named=True, notes=tuple(notes))


def _few(strays: Sequence[str], inside: Sequence[str], groups: int) -> bool:
    return len(strays) * groups < len(inside)


def _left_out(strays: Sequence[str], where: str) -> str:
    return f"{len(strays)} images beside {where} are left out: {named(strays)}"


def _directory(file: str, depth: int) -> str | None:
    directories = file.split("/")[:-1]
    return directories[depth] if len(directories) > depth else None


def _split_directories(files: Sequence[str]) -> list[str]:
    """The directory of training images and then those of test images, best first; empty if it is not laid out so.

    But for a few strays all images must be in such directories: with others beside it, ``train`` is a class like them.
    """
    inside = [file for file in files if "/" in file]
    known = {name: rank for rank, name in enumerate(("train", *_TEST_NAMES))}
    tops = {file.split("/", 1)[0] for file in inside}
    if not all(name.lower() in known for name in tops) or not any(name.lower() == "train" for name in tops):
        return []
    if len(inside) < len(files) and not _few([file for file in files if "/" not in file], inside, len(tops)):
        return []
    return sorted(tops, key=lambda name: (known[name.lower()], name))


def hold_out(files: Sequence[str], fraction: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and test files: `fraction` of `files` held out. With nothing held out both are all of them."""
    test = held_out(files, fraction)
    if not test:
        return tuple(files), tuple(files)
    return tuple(file for file in files if file not in test), tuple(file for file in files if file in test)
