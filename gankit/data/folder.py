"""Any directory of images as a dataset: class directories become labels, a held-out part becomes the test split."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from gankit.data.files import SUFFIXES, Listing, Root, directory, list_images
from gankit.data.layout import Layout, lay_out
from gankit.errors import UsageError
from gankit.plugin import Config, Dataset, DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.data.store import ImageStore
    from gankit.events import OnEvent
    from gankit.plugin import Batch

__all__ = ["READING", "Channels", "FolderConfig", "ImageFolder", "PicturesConfig", "image_store", "store_options"]

Channels = Annotated[int, Field(ge=1, le=64)]
"""Of image files: grey, colour, colour with opacity, or just as many as TIFF files have."""
READING = frozenset({"cache", "cache_gib"})
"""Options of :class:`PicturesConfig` that say how images are read, not which."""


class PicturesConfig(Config):
    """Options of all datasets of image files: which size they are brought to, which are held out, what is kept."""

    root: Root = ""
    """Directory of images."""
    size: int = Field(64, ge=4, le=4096)
    """Height and width that images are brought to."""
    width: int | None = Field(None, ge=4, le=4096)
    """Width, where it is another than the height; none: they are square."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How an image gets these proportions: centred crop, pad with white, or stretch."""
    test_fraction: float = Field(0.1, ge=0, le=0.5)
    """Part kept for testing, chosen by file name, where there is no directory named test."""
    cache: bool = True
    """Keep the decoded images: few in memory, more than 64 MiB on disk, for all runs (GANKIT_CACHE says where)."""
    cache_gib: float = Field(20.0, gt=0)
    """Most disk for such images of all data together, in GiB; those not used for longest make room."""

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.size, self.size if self.width is None else self.width


class FolderConfig(PicturesConfig):
    """Options of a directory of images. Datasets that find other things beside the images add theirs to these."""

    root: Root = ""
    """Directory of images. Its sub-directories become classes, or the splits if named train and test."""
    channels: Channels = 3
    """1 for grey, 3 for colour, 4 for colour with opacity, others for TIFF files of so many."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return self.channels, *self.sides


def store_options(config: PicturesConfig, split: str) -> dict[str, Any]:
    """What `config` says of how the images of a split are read, as keywords. Only a test split may have none."""
    return {
        "size": config.sides,
        "fit": config.fit,
        "disk": int(config.cache_gib * (1 << 30)) if config.cache else 0,
        "may_be_empty": split == "test",
    }


def image_store(
    config: PicturesConfig, root: Path, files: Sequence[str], split: str, channels: int | None = None
) -> ImageStore:
    """The images of the `files` of a split, below `root`, as `config` says, which has `channels` if none are given."""
    from gankit.data.store import ImageStore  # here, so that the options can be listed without torch

    if channels is None:
        channels = config.channels if isinstance(config, FolderConfig) else 3
    return ImageStore(root, files, channels=channels, **store_options(config, split))


class ImageFolder(Dataset[FolderConfig]):
    """A directory of images (jpg, png, webp, tiff, bmp), searched with all its sub-directories.

    A batch holds ``image`` and, where two or more class directories hold the images, ``label``. Directories ``train``
    and ``test`` (or ``val``) directly below the root are the splits; without them ``test_fraction`` of the files are
    held out. With nothing held out both splits are all files. Images are decoded by :meth:`load`, or when the first is
    asked for.
    """

    Config: ClassVar[type[PicturesConfig]] = FolderConfig
    reading = READING

    def __init__(self, config: FolderConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._root = directory(config.root, "data.root")
        listing = list_images(self._root)
        if not listing.files:
            found = "; ".join((listing.describe_others(), *listing.problems))
            endings = " ".join(sorted(SUFFIXES))
            raise UsageError(f"data.root: no images in {self._root}: found {found}; looked for {endings}")
        self._layout = self._lay_out(listing)
        self._notes = [*listing.problems, *self._layout.notes]
        classes = {name: Key(kind="class", names=names) for name, names in self._classes().items()}
        self._spec = DataSpec(keys={"image": Key(kind="image", shape=config.shape), **classes})

    def _lay_out(self, listing: Listing) -> Layout:
        """Which of the files found are used, and for which split."""
        return lay_out(listing.files, self.config.test_fraction)

    def _classes(self) -> dict[str, tuple[str, ...]]:
        """The names of the classes of each key that says what an image is."""
        return {"label": self._layout.classes} if self._layout.classes else {}

    def _class_of(self, file: str) -> tuple[str, ...]:
        """The class of `file` under each of those keys."""
        name = self._layout.class_of(file)
        return (name,) if name is not None and self._layout.classes else ()

    @property
    def spec(self) -> DataSpec:
        return self._spec

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        return self._store.in_memory

    def __len__(self) -> int:
        return len(self._store)

    def load(self, tell: OnEvent) -> None:
        self._store.load(tell)

    def batch(self, indices: Tensor) -> Batch:
        images, found = self._store.read(indices)
        return {"image": images, **{name: labels[found] for name, labels in self._labels.items()}}

    def notes(self) -> list[str]:
        return [*self._notes, *(f"{self.split} split: {note}" for note in self._store.notes())]

    def files(self) -> tuple[str, ...]:
        """The split's files, in the order of their indices, relative to ``data.root``."""
        return self._store.files

    def source(self, index: int, stream: str = "") -> str | None:
        return self._store.source(index)

    def fingerprint(self) -> str:
        from gankit.data.fingerprint import fingerprint

        files = self._store.files
        return fingerprint(self._root, files, [", ".join(self._class_of(file)) or None for file in files])

    @cached_property
    def _store(self) -> ImageStore:
        files = self._layout.test if self.split == "test" else self._layout.train
        return image_store(self.config, self._root, files, self.split)

    @cached_property
    def _labels(self) -> dict[str, Tensor]:
        """Of each key that says what an image is, the class of each, int64 (N,)."""
        import torch

        classes = self._classes()
        numbers = [{name: index for index, name in enumerate(names)} for names in classes.values()]
        files = self._store.files
        rows = [[number[name] for number, name in zip(numbers, self._class_of(f), strict=True)] for f in files]
        labels = torch.tensor(rows, dtype=torch.int64).view(len(files), len(classes))
        return {name: labels[:, column].contiguous() for column, name in enumerate(classes)}
