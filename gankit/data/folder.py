"""Any directory of images as a dataset: class directories become labels, a held-out part becomes the test split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from gankit.data.files import SUFFIXES, directory, held_out, list_images
from gankit.errors import UsageError
from gankit.plugin import Config, Dataset, DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.data.store import ImageStore
    from gankit.plugin import Batch

__all__ = ["FolderConfig", "ImageFolder", "image_store"]

_TEST_NAMES = ("test", "val", "valid", "validation")


class FolderConfig(Config):
    """Options of a directory of images. Datasets that find other things beside the images add theirs to these."""

    root: str = ""
    """Directory of images. Its sub-directories become classes, or the splits if named train and test."""
    size: int = Field(64, ge=4, le=4096)
    """Height and width that images are brought to."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for colour."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How an image is made square: centred crop, pad with white, or stretch."""
    test_fraction: float = Field(0.1, ge=0, le=0.5)
    """Part kept for testing, chosen by file name, where there is no directory named test."""
    cache: bool = True
    """Keep the decoded images in memory if all of them fit."""
    cache_mib: int = Field(2048, ge=1)
    """Most memory for them, in MiB."""

    @field_validator("root")
    @classmethod
    def _absolute(cls, root: str) -> str:
        """A run may be resumed from another directory."""
        return os.path.abspath(os.path.expanduser(root)) if root else ""


def image_store(config: FolderConfig, root: Path, files: Sequence[str], split: str) -> ImageStore:
    """The images of the `files` of a split, below `root`, as `config` says. Only a test split may have none."""
    from gankit.data.store import ImageStore  # here, so that the options can be listed without torch

    return ImageStore(
        root,
        files,
        size=(config.size, config.size),
        channels=config.channels,
        fit=config.fit,
        budget=config.cache_mib << 20 if config.cache else 0,
        may_be_empty=split == "test",
    )


class ImageFolder(Dataset[FolderConfig]):
    """A directory of images (jpg, png, webp, tiff, bmp), searched with all its sub-directories.

    A batch holds ``image`` and, where two or more class directories hold all images, ``label``. Directories ``train``
    and ``test`` (or ``val``) directly below the root are the splits; without them ``test_fraction`` of the files are
    held out. With nothing held out both splits are all files. Images are decoded when the first is asked for.
    """

    Config = FolderConfig

    def __init__(self, config: FolderConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._root = directory(config.root, "data.root")
        listing = list_images(self._root)
        if not listing.files:
            found = "; ".join((listing.describe_others(), *listing.problems))
            endings = " ".join(sorted(SUFFIXES))
            raise UsageError(f"data.root: no images in {self._root}: found {found}; looked for {endings}")
        self._layout = _lay_out(listing.files, config.test_fraction)
        self._notes = [*listing.problems, *self._layout.notes]
        keys = {"image": Key(kind="image", shape=(config.channels, config.size, config.size))}
        if self._layout.classes:
            keys["label"] = Key(kind="class", names=self._layout.classes)
        self._spec = DataSpec(keys=keys)

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return len(self._store)

    def batch(self, indices: Tensor) -> Batch:
        images, found = self._store.read(indices)
        if not self._layout.classes:
            return {"image": images}
        return {"image": images, "label": self._labels[found]}

    def notes(self) -> list[str]:
        return [*self._notes, *(f"{self.split} split: {note}" for note in self._store.notes())]

    def files(self) -> tuple[str, ...]:
        """The split's files, in the order of their indices, relative to ``data.root``."""
        return self._store.files

    @cached_property
    def _store(self) -> ImageStore:
        files = self._layout.test if self.split == "test" else self._layout.train
        store = image_store(self.config, self._root, files, self.split)
        self.in_memory = store.in_memory
        return store

    @cached_property
    def _labels(self) -> Tensor:
        import torch

        number = {name: index for index, name in enumerate(self._layout.classes)}
        names = (self._layout.class_of(file) for file in self._store.files)
        return torch.tensor([number[name] for name in names if name is not None])


@dataclass(frozen=True)
class _Layout:
    """Which files are for training, which for testing, and their classes (none if they have no labels)."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    depth: int
    """Number of leading directories that are not the class."""
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def class_of(self, file: str) -> str | None:
        """The class directory that `file` is in; None for one beside the class directories."""
        directories = file.split("/")[:-1]
        return directories[self.depth] if len(directories) > self.depth else None


def _lay_out(files: Sequence[str], fraction: float) -> _Layout:
    splits = _split_directories(files)
    notes: list[str] = []
    if not splits:
        layout = _hold_out(files, fraction, depth=0)
    else:
        of = {name: tuple(file for file in files if file.split("/", 1)[0] == name) for name in splits}
        train, *others = splits
        layout = _Layout(of[train], of[others[0]], 1) if others else _hold_out(files, fraction, depth=1)
        notes += [f"{name}/ is left out: {others[0]}/ is the test split" for name in others[1:]]

    used = sorted({*layout.train, *layout.test})
    classes = sorted({name for file in used if (name := layout.class_of(file)) is not None})
    loose = sum(layout.class_of(file) is None for file in used)
    if len(classes) < 2:
        classes = []
    elif loose:
        notes.append(f"{loose} images lie beside the {len(classes)} class directories, so there are no labels")
        classes = []
    else:
        count = Counter(layout.class_of(file) for file in layout.train)
        notes += [f"class {name!r} has no training images" for name in classes if not count[name]]
    return _Layout(layout.train, layout.test, layout.depth, tuple(classes), tuple(notes))


def _split_directories(files: Sequence[str]) -> list[str]:
    """The directory of training images and then those of test images, best first; empty if it is not laid out so.

    All images must be in such directories: with others beside it, ``train`` is a class like them.
    """
    if not all("/" in file for file in files):
        return []
    known = {name: rank for rank, name in enumerate(("train", *_TEST_NAMES))}
    tops = {file.split("/", 1)[0] for file in files}
    if not all(name.lower() in known for name in tops) or not any(name.lower() == "train" for name in tops):
        return []
    return sorted(tops, key=lambda name: (known[name.lower()], name))


def _hold_out(files: Sequence[str], fraction: float, depth: int) -> _Layout:
    test = held_out(files, fraction)
    if not test:
        return _Layout(tuple(files), tuple(files), depth)
    return _Layout(
        tuple(file for file in files if file not in test), tuple(file for file in files if file in test), depth
    )
