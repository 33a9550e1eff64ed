"""A dataset of labelled images that are held in memory as they were read."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

from gankit.data.files import Root
from gankit.plugin import Config, Dataset, DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.plugin import Batch


class RootConfig(Config):
    """Options of a dataset that is read from files of its own format."""

    root: Root = ""
    """Directory of the files."""


class Held(Dataset[RootConfig]):
    """Images 32x32 in colour and their classes. What reads them sets, in ``__init__``, all that stands below."""

    Config = RootConfig
    in_memory = True

    images: Tensor
    """uint8 (N, 3, 32, 32)."""
    classes: Mapping[str, Tensor]
    """int64 (N,), by key."""
    names: Mapping[str, tuple[str, ...]]
    """Of the classes, by key."""
    rows: list[tuple[str, int]]
    """The files in the order of their images, and how many each has."""

    def __init__(self, config: RootConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)

    @property
    def spec(self) -> DataSpec:
        keys: dict[str, Key] = {"image": Key(kind="image", shape=tuple(self.images.shape[1:]))}
        return DataSpec(keys=keys | {key: Key(kind="class", names=names) for key, names in self.names.items()})

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> Batch:
        tensors: dict[str, Any] = {"image": self.images, **self.classes}
        return {key: values.index_select(0, indices) for key, values in tensors.items()}

    def source(self, index: int, stream: str = "") -> str | None:
        for file, count in self.rows:
            if index < count:
                return f"{file}#{index}"
            index -= count
        return None

    def fingerprint(self) -> str:
        held = blake2b(digest_size=16)
        for part in (self.images, *self.classes.values()):
            held.update(part.numpy().data)
        return f"{type(self).__name__.lower()} {len(self)} {held.hexdigest()}"


__all__ = ["Held", "RootConfig"]
