"""Dataset ``unpaired-folder``: two directories of images, of which no pairs are known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from gankit.data.files import Root
from gankit.data.folder import READING, Channels, PicturesConfig, image_store
from gankit.data.layout import hold_out
from gankit.data.sides import SIDES, Side, find_sides, relative_to_both
from gankit.plugin import Dataset, DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.data.store import ImageStore
    from gankit.events import OnEvent
    from gankit.plugin import Batch

__all__ = ["SidesConfig", "UnpairedFolder", "UnpairedFolderConfig"]


class SidesConfig(PicturesConfig):
    """Options of two sides of images."""

    root: Root = ""
    """Directory with trainA, trainB and, if there are any, testA, testB (or train/A, ..., or A and B)."""
    a: Root = ""
    """Directory of the images of a, in place of root."""
    b: Root = ""
    """Directory of the images of b, in place of root."""
    channels: Channels = 3
    """1 for grey, 3 for colour, 4 for colour with opacity, others for TIFF files of so many; of both sides."""
    channels_a: Channels | None = None
    """Channels of a alone; none: as of both."""
    channels_b: Channels | None = None
    """Channels of b alone; none: as of both."""

    def shape_of(self, side: str) -> tuple[int, int, int]:
        """(channels, height, width) of the images of a side."""
        channels = self.channels_a if side == "a" else self.channels_b
        return self.channels if channels is None else channels, *self.sides


class UnpairedFolderConfig(SidesConfig):
    """Options of the dataset ``unpaired-folder``."""


class UnpairedFolder(Dataset[UnpairedFolderConfig]):
    """Two directories of images without pairs: trainA, trainB, testA, testB below one, or two of any name.

    ``a``, ``b``: uint8 (N, channels, height, width), two streams. Directories named train and test (or val) below
    either of two directories are its splits. Where a side has none for testing, ``test_fraction`` of it is held out.
    """

    Config = UnpairedFolderConfig
    reading = READING

    def __init__(self, config: UnpairedFolderConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._sides = find_sides(config.root, config.a, config.b)

    @property
    def spec(self) -> DataSpec:
        return DataSpec(keys={side: Key(kind="image", shape=self.config.shape_of(side)) for side in SIDES})

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        return all(store.in_memory for store in self._stores.values())

    def streams(self) -> Mapping[str, int]:
        return {side: len(store) for side, store in self._stores.items()}

    def load(self, tell: OnEvent) -> None:
        for store in self._stores.values():
            store.load(tell)

    def batch(self, indices: Mapping[str, Tensor]) -> Batch:
        return {side: self._stores[side].read(index)[0] for side, index in indices.items()}

    def notes(self) -> list[str]:
        read = [
            f"{self.split} split of {side}: {note}" for side, store in self._stores.items() for note in store.notes()
        ]
        return [*self._sides.notes, *read]

    def files(self, side: str) -> tuple[str, ...]:
        """The split's files of a side, in the order of their indices, relative to its directory."""
        return self._stores[side].files

    def source(self, index: int, stream: str = "") -> str | None:
        return self._stores[stream].source(index)

    def fingerprint(self) -> str:
        from gankit.data.fingerprint import fingerprint

        stores = self._stores.values()
        above, files = relative_to_both([store.root for store in stores], [store.files for store in stores])
        return fingerprint(above, [*files[0], *files[1]], [*["a"] * len(files[0]), *["b"] * len(files[1])], "side")

    @cached_property
    def _stores(self) -> dict[str, ImageStore]:
        return {side: self._store(side, self._sides[side]) for side in SIDES}

    def _store(self, name: str, side: Side) -> ImageStore:
        config = self.config
        train, test = (side.train, side.test) if side.test else hold_out(side.train, config.test_fraction)
        files = test if self.split == "test" else train
        return image_store(config, side.root, files, self.split, config.shape_of(name)[0])
