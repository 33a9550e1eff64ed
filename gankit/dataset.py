"""What a dataset delivers: the part of the contract of `gankit.plugin` that is about data. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel

from gankit.config import Config
from gankit.errors import PluginError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.events import OnEvent

    Batch = dict[str, Tensor]

ConfigT = TypeVar("ConfigT", bound=BaseModel)

Kind = Literal["image", "mask", "box", "points", "class", "text", "vector"]


@dataclass(frozen=True, kw_only=True)
class Key:
    """What stands under one key of a batch; `gankit.data.kinds` has the table of kinds.

    ``image``: uint8 (N, C, H, W) from a dataset; float in [-1, 1] inside a step. ``mask``: uint8 (N, 1, H, W), 255
    where it holds; float in [0, 1] inside a step. ``box``: float32 (N, ..., 4), left, top, right, bottom as fractions
    of the image. ``points``: float32 (N, K, 2 or 3), x and y as such fractions, and 1 or 0 for visible or not.
    ``class``: int64 (N,), an index into `names`. ``text``: uint8 (N, bytes), UTF-8 padded with zeros. ``vector``:
    float32 (N, ...). `shape` is that without the N.
    """

    kind: Kind
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    """Of a class: its classes, at least one."""
    of: str | None = None
    """The image that this one describes and moves with, when images are flipped and cropped; for an image, the one
    that it is aligned with. None: of an image, it moves by itself; of anything else, ``image`` or the only image."""
    mirror: tuple[int, ...] = ()
    """Of points: which one stands in the place of each under a left-right flip."""
    like: str | None = None
    """Of a class or a mask: the key that has the same of what is drawn. What is drawn of this one's image is held to
    it. It may be the key itself, where result and source are the same image: ``label`` is like ``label`` in
    inpainting."""
    target: bool = False
    """Of a class that `sample` is asked with: one to be changed to, whatever the sample's own is now."""


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What a dataset provides, by key."""

    keys: Mapping[str, Key]

    def __getitem__(self, key: str) -> Key:
        return self.keys[key]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the key ``image``; :class:`UsageError` if there is none."""
        return self.shape_of("image")

    def shape_of(self, image: str) -> tuple[int, int, int]:
        """(channels, height, width) of the key `image`; :class:`UsageError` if there is no such image."""
        if image not in self.keys or self.keys[image].kind != "image":
            images = ", ".join(self.images) or "none"
            raise UsageError(f"the data has no image under the key {image!r}; its images: {images}")
        channels, height, width = self.keys[image].shape
        return channels, height, width

    def class_key(self, named: str = "") -> str:
        """The ``class`` key that is `named`; of none, ``label``, or the only one there is. :class:`UsageError` if that
        says none: it names those of the data."""
        found = [name for name, key in self.keys.items() if key.kind == "class"]
        for key in (named,) if named else ("label", *(found if len(found) == 1 else ())):
            if key in found:
                return key
        if not found:
            raise UsageError(f"the data has no classes, only {', '.join(self.keys)}")
        what = f"no classes under the key {named!r}" if named else "several kinds of classes"
        raise UsageError(f"the data has {what}; give class_key one of {', '.join(found)}")

    def classes(self, key: str = "label") -> int:
        """Number of classes of a ``class`` key."""
        return len(self.keys[key].names)

    @property
    def images(self) -> tuple[str, ...]:
        """The keys that are images."""
        return tuple(name for name, key in self.keys.items() if key.kind == "image")

    def image_of(self, name: str) -> str | None:
        """The image that the key `name` describes; of an image itself; None if it describes none."""
        key = self.keys[name]
        if key.kind == "image":
            return name
        if key.of is not None:
            return key.of
        return "image" if "image" in self.images else self.images[0] if len(self.images) == 1 else None

    def masks_held(self, images: Collection[str]) -> list[str]:
        """The masks of `images`, or of what is aligned with them, that say what a result is to show (``like``)."""
        places = {self.moves_with(name) for name in images}
        masks = [name for name, key in self.keys.items() if key.kind == "mask" and key.like is not None]
        return [name for name in masks if self.moves_with(name) in places]

    def moves_with(self, name: str) -> str | None:
        """The image whose flips and shifts the key `name` shares: that of the last `of`; None if it stays."""
        image = self.image_of(name)
        for _ in self.keys:  # no more often: a circle of `of` is a fault that the check names
            if image is None or image not in self.keys or (further := self.keys[image].of) is None:
                break
            image = further
        return image


class Dataset(ABC, Generic[ConfigT]):
    """A named source of samples. Its options appear as ``--data.<field>``."""

    Config: ClassVar[type[BaseModel]] = Config
    in_memory: bool = False
    """True if `batch` only copies out of tensors that are held: then it is not worth handing to a worker."""
    reading: ClassVar[frozenset[str]] = frozenset()
    """Options that say how the data is read (a cache, its size), not what it is: two runs may differ in them."""

    def __init__(self, config: ConfigT, split: Literal["train", "test"] = "train") -> None:
        self.config = config
        self.split = split

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """What a batch holds. Known after ``__init__``; the same for both splits."""

    def __len__(self) -> int:
        """Number of samples; of several streams, of the longest."""
        return max(self.streams().values(), default=0)

    def streams(self) -> Mapping[str, int]:
        """Number of samples of each independent order in which samples are drawn. One, named "", if not overridden.

        Several are named after their keys: unpaired images, ``{"a": 1072, "b": 6287}``, or images and masks that any
        image may get, ``{"image": 5000, "mask": 130}``. Each is gone through once an epoch of its own, so that partners
        change. A key belongs to the stream of its name, or of the image it is of. A mask of a stream of its own still
        moves with its image when that is flipped and cropped.
        """
        if type(self).__len__ is Dataset.__len__:
            raise PluginError(f"{type(self).__name__} says nowhere how many samples it has: define __len__ or streams")
        return {"": len(self)}

    @abstractmethod
    def batch(self, indices: Any) -> Batch:
        """The samples at `indices` (int64, (N,)), as CPU tensors of the kinds that `spec` says.

        Must be a pure function of the indices: workers call it ahead of time and from several threads, and a resumed
        run asks for the same indices again. Random crops and flips are the trainer's (``--augment.*``). With several
        :meth:`streams`, `indices` is a mapping from some or all of them to their indices, and the batch holds the keys
        of those streams.
        """

    def seen(self, images: Tensor, key: str) -> Batch:
        """For judging: which masks would be those of `images`, uint8 (N, C, H, W) as under the image `key`, by name.

        bool (N, 1, H, W), told of the images alone. What is drawn of an image whose mask is ``like`` one of these is
        held to that mask (the metric `mask_agreement`).
        """
        return {}

    def load(self, tell: OnEvent) -> None:
        """Does now what would make the first batches slow (decode images, fill a cache), telling `Progress`.

        Called before a training or an evaluation; `batch` works without it.
        """

    def notes(self) -> list[str]:
        """Lines the user should read: files that could not be read, classes that are empty, ..."""
        return []

    def source(self, index: int, stream: str = "") -> str | None:
        """Where the sample at `index` comes from, for records of what was drawn: a file's name; None: its index."""
        return None

    def fingerprint(self) -> str:
        """Says in few bytes what the samples are, so that a resumed run notices that they changed; "" says nothing."""
        return ""


def stream_of(dataset: Dataset[Any], name: str) -> str:
    """The stream of `dataset` that the key `name` belongs to."""
    streams, spec = dataset.streams(), dataset.spec
    if len(streams) == 1:
        return next(iter(streams))
    for candidate in (name, spec.image_of(name), spec.moves_with(name)):
        if candidate in streams:
            return str(candidate)
    raise UsageError(f"the key {name!r} belongs to none of the streams {', '.join(streams)}: name its image with `of`")


def keys_of(dataset: Dataset[Any], stream: str) -> dict[str, Key]:
    """The keys that belong to a stream of `dataset`."""
    return {name: key for name, key in dataset.spec.keys.items() if stream_of(dataset, name) == stream}


def read(dataset: Dataset[Any], indices: Mapping[str, Tensor]) -> Batch:
    """A batch of `dataset` at the indices of some or all of its streams, by stream, however many it has."""
    return dataset.batch(indices if len(dataset.streams()) > 1 else next(iter(indices.values())))


__all__ = ["DataSpec", "Dataset", "Key", "Kind", "keys_of", "read", "stream_of"]
