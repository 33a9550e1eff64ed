"""Dataset ``paired-folder``: pairs of images, side by side in a file or of equal names in two directories."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gankit.data.files import SUFFIXES, Root, directory, list_images, named
from gankit.data.folder import READING, store_options
from gankit.data.layout import by_directories, hold_out
from gankit.data.sides import SIDES, Side, Sides, find_sides, relative_to_both, sides_below
from gankit.data.unpaired import SidesConfig
from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit.plugin import Dataset, DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.data.pair_store import PairStore
    from gankit.events import OnEvent
    from gankit.plugin import Batch

__all__ = ["PairedFolder", "PairedFolderConfig"]


class PairedFolderConfig(SidesConfig):
    """Options of the dataset ``paired-folder``."""

    root: Root = ""
    """Directory of images that hold a pair side by side; or with trainA, trainB, ... (A and B) of equal names."""
    a: Root = ""
    """Directory of the left images of pairs, in place of root."""
    b: Root = ""
    """Directory of the right images, of the same names, in place of root."""
    direction: Literal["ab", "ba"] = "ab"
    """Which of a pair is which: ab, the left image (or that of the directory A) is a; ba, it is b."""


class PairedFolder(Dataset[PairedFolderConfig]):
    """Pairs of images: side by side in one file, or of equal names in two directories.

    ``a``: uint8 (N, channels, height, width), and ``b``, aligned with it. Directories train and test (or val) are the
    splits; without them ``test_fraction`` of the pairs are held out. Images without a partner are left out and named.
    """

    Config = PairedFolderConfig
    reading = READING

    def __init__(self, config: PairedFolderConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._pairs = _in_directories(config) if config.a or config.b else _below(config)
        if not self._pairs.test:
            train, test = hold_out(sorted(self._pairs.train), config.test_fraction)
            every = self._pairs.train
            self._pairs.train = {name: every[name] for name in train}
            self._pairs.test = {name: every[name] for name in test}

    @property
    def spec(self) -> DataSpec:
        a, b = (self.config.shape_of(side) for side in SIDES)
        return DataSpec(keys={"a": Key(kind="image", shape=a), "b": Key(kind="image", shape=b, of="a")})

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        return self._store.in_memory

    def __len__(self) -> int:
        return len(self._store)

    def load(self, tell: OnEvent) -> None:
        self._store.load(tell)

    def batch(self, indices: Tensor) -> Batch:
        a, b = self._store.read_pairs(indices)
        return {"a": a, "b": b}

    def notes(self) -> list[str]:
        return [*self._pairs.notes, *(f"{self.split} split: {note}" for note in self._store.notes())]

    def files(self) -> tuple[str, ...]:
        """The split's files of a, in the order of their indices, relative to their directory."""
        return self._store.files

    def source(self, index: int, stream: str = "") -> str | None:
        return self._store.source(index)

    def fingerprint(self) -> str:
        from gankit.data.fingerprint import fingerprint

        pairs, chosen = self._pairs, self._store.files
        if pairs.in_one:
            return fingerprint(pairs.roots[0], chosen, [None] * len(chosen))
        partner = dict(self._chosen.values())
        above, (a, b) = relative_to_both(pairs.roots, [chosen, [partner[file] for file in chosen]])
        return fingerprint(above, [*a, *b], [*["a"] * len(a), *["b"] * len(b)], "side")

    @property
    def _chosen(self) -> dict[str, tuple[str, str]]:
        return self._pairs.test if self.split == "test" else self._pairs.train

    @cached_property
    def _store(self) -> PairStore:
        from gankit.data.pair_store import PairStore

        a, b = (self.config.shape_of(side)[0] for side in SIDES)
        swapped = self._pairs.in_one and self.config.direction == "ba"
        options = store_options(self.config, self.split)
        return PairStore(self._pairs.roots, dict(self._chosen.values()), channels=(a, b), swapped=swapped, **options)


@dataclass
class _Pairs:
    """File of a and file of b by the name of the pair, each relative to its root."""

    roots: tuple[Path, Path]
    train: dict[str, tuple[str, str]]
    test: dict[str, tuple[str, str]]
    notes: list[str]
    in_one: bool = False
    """Whether a pair is one file."""


def _below(config: PairedFolderConfig) -> _Pairs:
    """The pairs of ``data.root``."""
    root = directory(config.root, "data.root", "pairs of images")
    listing = list_images(root)
    if not listing.files:
        found = "; ".join((listing.describe_others(), *listing.problems))
        raise UsageError(f"data.root: no images in {root}: found {found}; looked for {' '.join(sorted(SUFFIXES))}")
    if (sides := sides_below(listing)) is not None:
        return _matched(sides, config.direction)
    splits = by_directories(listing.files)
    train, test = ({file: (file, file) for file in part} for part in (splits.train, splits.test))
    return _Pairs(
        (root, root), train, test, [*listing.problems, *splits.notes, *_narrow(root, splits.train)], in_one=True
    )


def _in_directories(config: PairedFolderConfig) -> _Pairs:
    """The pairs of ``data.a`` and ``data.b``."""
    return _matched(find_sides(config.root, config.a, config.b), config.direction)


def _narrow(root: Path, files: Sequence[str]) -> list[str]:
    """A note if the first picture does not look like two of them side by side."""
    from gankit.data.images import ImageError, load

    try:
        width, height = load(root / files[0]).size
    except ImageError:
        return []
    if width > height:
        return []
    return [
        f"{files[0]} is {width}x{height}: it is taken as two pictures side by side, of {width // 2}x{height} each. "
        f"If it is one, its partner goes into another directory: {give('data.a', 'DIR')} {give('data.b', 'DIR')}"
    ]


def _matched(sides: Sides, direction: str) -> _Pairs:
    """The pairs of equal names, whatever their endings; :class:`UsageError` if there are none to train with."""
    a, b = sides.a, sides.b
    notes = list(sides.notes)
    if bool(a.test) == bool(b.test):
        train, test = _by_name(a, a.train, b, b.train, notes), _by_name(a, a.test, b, b.test, notes)
    else:  # one side alone says which are for testing
        # names that both sides have to train with are pairs of that; files for testing find theirs among what is left
        train = _by_name(a, a.train, b, b.train, [])
        used = [{pair[side] for pair in train.values()} for side in (0, 1)]
        spare = [[file for file in side.train if file not in own] for side, own in zip((a, b), used, strict=True)]
        test = _by_name(a, (*spare[0], *a.test), b, (*spare[1], *b.test), notes)
    if not train:
        examples = "; ".join(f"{name} has {named(side.train, 3)}" for name, side in (("a", a), ("b", b)))
        raise UsageError(f"no image of a is named like one of b, but for the ending: {examples}")
    pairs = _Pairs((a.root, b.root), train, test, notes)
    if direction == "ba":
        pairs.roots = b.root, a.root
        pairs.train, pairs.test = ({name: (y, x) for name, (x, y) in part.items()} for part in (train, test))
    return pairs


def _by_name(
    a: Side, of_a: Sequence[str], b: Side, of_b: Sequence[str], notes: list[str]
) -> dict[str, tuple[str, str]]:
    """Pairs of equal names; `notes` gets the files that have no partner, or several."""
    found: list[dict[str, list[str]]] = [{}, {}]
    for names, side, files in zip(found, (a, b), (of_a, of_b), strict=True):
        for file in files:
            names.setdefault(unicodedata.normalize("NFC", side.name(file)), []).append(file)
    first, second = found
    both = sorted(first.keys() & second.keys())
    doubled = [name for name in both if len(first[name]) > 1 or len(second[name]) > 1]
    for name, mine, theirs, other in (("a", first, second, "b"), ("b", second, first, "a")):
        if lonely := sorted(file for key in mine.keys() - theirs.keys() for file in mine[key]):
            notes.append(f"{len(lonely)} images of {name} have no partner of their name in {other}: {named(lonely)}")
    if doubled:
        notes.append(f"{len(doubled)} names belong to several images of a side, and are left out: {named(doubled)}")
    return {name: (first[name][0], second[name][0]) for name in both if name not in set(doubled)}
