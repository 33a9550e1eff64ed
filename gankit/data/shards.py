"""Dataset ``shards``: samples in tar files, as WebDataset writes them, here or anywhere that fsspec reaches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from gankit.data.files import absolute
from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit.plugin import Config, Dataset, DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.data.shard_files import ShardFiles
    from gankit.events import OnEvent
    from gankit.plugin import Batch

__all__ = ["Shards", "ShardsConfig"]


def _place(root: str) -> str:
    return root if "://" in root else absolute(root)


class ShardsConfig(Config):
    """Options of the dataset ``shards``."""

    root: Annotated[str, AfterValidator(_place)] = ""
    """Directory of .tar files, its URL (s3://, gs://, https://, ...), or the files: https://host/train-{0000..0123}.tar."""
    size: int | None = Field(None, ge=4, le=4096)
    """Height and width that images are brought to; none: as they were packed, 64 for shards of others."""
    width: int | None = Field(None, ge=4, le=4096)
    """Width, where it is another than the height."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How an image gets these proportions: centred crop, pad with white, or stretch."""
    channels: Literal[1, 3, 4] = 3
    """Of images in shards that gankit did not pack."""
    text_length: int = Field(256, ge=8, le=4096)
    """Bytes of a caption that are kept, of shards that gankit did not pack."""
    test_fraction: float = Field(0.1, ge=0, le=0.5)
    """Part held out, by the names of samples, of shards that gankit did not pack and of which none is named test."""
    cache_gib: float = Field(20.0, ge=0)
    """Most disk for copies of remote shards, in GiB; what does not fit is read from afar each time."""


class Shards(Dataset[ShardsConfig]):
    """Samples in tar files, on this machine or in a store (s3, gcs, http), any number of them, in any order.

    ``gankit data pack`` makes them of any dataset, whose keys, splits and streams they keep. Of those that others made,
    as WebDataset does, the images are used (png, jpg, webp, ...), a class (cls) and a caption (txt), if all samples
    have one. What is read of a sample is its own bytes alone.
    """

    Config: ClassVar[type[ShardsConfig]] = ShardsConfig
    reading = frozenset({"cache_gib"})

    def __init__(self, config: ShardsConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        from gankit.data.shard_catalogue import catalogue

        if not config.root:
            raise UsageError(f"data.root is not set; give a directory of shards: {give('data.root', 'DIR')}")
        if not any(sign in config.root for sign in ("://", "{")) and not os.path.isdir(config.root):
            wrong = "a file" if os.path.exists(config.root) else "not there"
            raise UsageError(f"data.root: {config.root} is {wrong}; give a directory: {give('data.root', 'DIR')}")
        side = 64 if config.size is None else config.size
        shape = (config.channels, side, side if config.width is None else config.width)
        self._catalogue = catalogue(config.root, config.test_fraction, config.text_length, shape)
        self._parts = self._catalogue.parts.get(split, {})
        self._spec = self._sized()
        self._indices = {stream: part.index() for stream, part in self._parts.items()}
        self._broken: dict[tuple[str, int], str] = {}

    def _sized(self) -> DataSpec:
        """The spec, with the size that is asked for of packed images."""
        c, spec = self.config, self._catalogue.spec
        if not self._catalogue.packed or (c.size is None and c.width is None):
            return spec
        pictures = {name: key for name, key in spec.keys.items() if key.kind in ("image", "mask")}
        sides = {key.shape[1:] for key in pictures.values()}
        if len(sides) != 1:
            raise UsageError("data.size: these shards hold images of several sizes; pack them anew with others")
        ((height, width),) = sides
        asked = (c.size or height, c.width or c.size or width)
        places = [name for name, key in spec.keys.items() if key.kind in ("box", "points")]
        if places and c.fit != "stretch" and asked[0] * width != asked[1] * height:
            what = f"{width}x{height} cut to {asked[1]}x{asked[0]}"
            raise UsageError(f"data.size: {places[0]!r} does not hold of {what}: {give('data.fit', 'stretch')}")
        resized = {name: replace(key, shape=(key.shape[0], *asked)) for name, key in pictures.items()}
        return DataSpec(keys={**spec.keys, **resized})

    @cached_property
    def _files(self) -> Mapping[str, ShardFiles]:
        """The shards of each stream. What may be kept of remote ones goes to the held-out ones first: they are few."""
        from gankit.data.shard_catalogue import listed
        from gankit.data.shard_files import ShardFiles, is_remote

        disk = left = int(self.config.cache_gib * (1 << 30))
        chosen = set()
        for place, size in listed(self._catalogue):
            if is_remote(place) and size <= left:
                chosen.add(place)
                left -= size
        version = self._catalogue.version
        return {
            stream: ShardFiles(part.shards, part.sizes, version, frozenset(chosen), disk)
            for stream, part in self._parts.items()
        }

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def streams(self) -> Mapping[str, int]:
        known = self._parts or dict.fromkeys(self._catalogue.parts["train"])
        return {stream: part.number if part else 0 for stream, part in known.items()}

    def load(self, tell: OnEvent) -> None:
        for files in self._files.values():
            files.load(tell)

    def batch(self, indices: Tensor | Mapping[str, Tensor]) -> Batch:
        given = indices if isinstance(indices, Mapping) else {next(iter(self.streams())): indices}
        batch: Batch = {}
        for stream, chosen in given.items():
            batch |= self._of_stream(stream, chosen)
        return batch

    def _of_stream(self, stream: str, indices: Tensor) -> Batch:
        import torch

        from gankit.data.kinds import kind_of
        from gankit.dataset import keys_of

        keys = keys_of(self, stream)
        rows = [self._nearest(stream, index, keys) for index in indices.tolist()]
        if rows:
            return {name: torch.stack([row[name] for row in rows]) for name in keys}
        return {name: torch.empty((0, *key.shape), dtype=kind_of(key).dtype) for name, key in keys.items()}

    def _nearest(self, stream: str, index: int, keys: Mapping[str, Key]) -> dict[str, Tensor]:
        """The sample at `index`, or the next after it that can be decoded. A shard that cannot be read is an error."""
        length = self._parts[stream].number
        for offset in range(length):
            here = (index + offset) % length
            if (stream, here) in self._broken:
                continue
            entry = self._indices[stream][here]
            data = self._files[stream].read(int(entry["shard"]), int(entry["offset"]), int(entry["length"]))
            try:
                return self._sample(data, keys)
            except Exception as error:  # decoders raise a dozen kinds on broken files
                self._broken[stream, here] = " ".join(str(error).split())[:200] or type(error).__name__
        reason = next(iter(self._broken.values()))
        raise UsageError(f"none of the {length} samples in {self.config.root} can be read; {reason}")

    def _sample(self, data: bytes, keys: Mapping[str, Key]) -> dict[str, Tensor]:
        """The values of a sample, from its bytes. Whatever a decoder raises."""
        from gankit.data.shard_index import members

        extensions, packed = self._catalogue.extensions, self._catalogue.packed
        found = members(data, {one for name in keys for one in extensions[name]}, lower=not packed)
        made = {}
        for name, key in keys.items():
            if (extension := next((one for one in extensions[name] if one in found), None)) is None:
                raise ValueError(f"it holds no {name!r}")
            made[name] = self._value(name, key, found[extension])
        return made

    def _value(self, name: str, key: Key, data: bytes) -> Tensor:
        """What a file of a sample says of a key."""
        import torch

        from gankit.data.images import Content
        from gankit.data.planes import decode_channels
        from gankit.data.shard_index import class_said
        from gankit.data.shard_values import unpacked
        from gankit.data.text import encode_text

        if self._catalogue.packed and key.shape == self._catalogue.spec[name].shape:
            return unpacked(key, data)
        if key.kind in ("image", "mask"):
            image = decode_channels(Content(name, data), (key.shape[1], key.shape[2]), key.shape[0], self.config.fit)
            return (image > 127) * image.new_tensor(255) if key.kind == "mask" else image
        if key.kind == "class":
            return torch.tensor(self._numbers[class_said(data)])
        return encode_text([data.decode("utf-8", "replace").strip()], key.shape[0])[0]

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        """Of the classes in shards of others, by name."""
        return {name: number for number, name in enumerate(self.spec["label"].names)}

    def notes(self) -> list[str]:
        files = self._files.values() if "_files" in self.__dict__ else ()
        notes = [*self._catalogue.notes, *(note for one in files for note in one.notes())]
        if self._broken:
            number, first = len(self._broken), next(iter(self._broken.values()))
            be = "is 1 sample" if number == 1 else f"are {number} samples"
            notes.append(f"{self.split} split: there {be} that cannot be read; others stand in ({first})")
        return notes

    def source(self, index: int, stream: str = "") -> str | None:
        stream = stream if stream in self._parts else next(iter(self._parts))
        entry = self._indices[stream][index]
        shard = self._parts[stream].shards[int(entry["shard"])]
        return f"{shard.rpartition('/')[2]}:{int(entry['offset'])}"

    def fingerprint(self) -> str:
        return " ".join(["shards", *(part.digest for part in self._parts.values())])
