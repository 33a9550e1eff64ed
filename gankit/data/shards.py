"""Dataset ``shards``: samples in tar files, as WebDataset writes them, here or anywhere that fsspec reaches."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from gankit.data.files import absolute
from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit.plugin import Config, Dataset, DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.data.shard_catalogue import Part
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
        from gankit.data.shard_files import ShardFiles, is_remote

        if not config.root:
            raise UsageError(f"data.root is not set; give a directory of shards: {give('data.root', 'DIR')}")
        if not is_remote(config.root) and "{" not in config.root and not os.path.isdir(config.root):
            wrong = "a file" if os.path.exists(config.root) else "not there"
            raise UsageError(
                f"data.root: {config.root} is {wrong}; give a directory of shards: {give('data.root', 'DIR')}"
            )
        side = 64 if config.size is None else config.size
        shape = (config.channels, side, side if config.width is None else config.width)
        self._catalogue = catalogue(config.root, config.test_fraction, config.text_length, shape)
        self._parts: Mapping[str, Part] = self._catalogue.parts.get(split) or {}
        self._own = self._catalogue.parts.get("train") or {}
        streams = self._parts or self._own
        disk = int(config.cache_gib * (1 << 30)) // max(1, len(streams))
        self._files = {stream: ShardFiles(part.shards, part.sizes, disk) for stream, part in streams.items()}
        self._spec = self._sized()
        self._broken: dict[tuple[str, int], str] = {}
        self._lock = Lock()

    def _sized(self) -> DataSpec:
        """The spec, with the size that is asked for."""
        c, spec = self.config, self._catalogue.spec
        if c.size is None and c.width is None:
            return spec
        keys = dict(spec.keys)
        for name, key in spec.keys.items():
            if key.kind in ("image", "mask"):
                height = key.shape[1] if c.size is None else c.size
                keys[name] = replace(key, shape=(key.shape[0], height, height if c.width is None else c.width))
        return DataSpec(keys=keys)

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def streams(self) -> Mapping[str, int]:
        return {stream: len(part.index) for stream, part in self._parts.items()} or dict.fromkeys(self._own or [""], 0)

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

        names = self._keys_of(stream)
        rows = [self._nearest(stream, index, names) for index in indices.tolist()]
        if rows:
            return {name: torch.stack([row[name] for row in rows]) for name in names}
        from gankit.data.kinds import kind_of

        return {name: torch.empty((0, *self.spec[name].shape), dtype=kind_of(self.spec[name]).dtype) for name in names}

    def _keys_of(self, stream: str) -> list[str]:
        from gankit.dataset import stream_of

        return [name for name in self.spec.keys if len(self._own) < 2 or stream_of(self, name) == stream]

    def _nearest(self, stream: str, index: int, names: list[str]) -> dict[str, Tensor]:
        """The sample at `index`, or the next after it that can be read. Errors of reaching a shard are errors."""
        from gankit.data.images import ImageError

        length = len(self._parts[stream].index)
        for offset in range(length):
            here = (index + offset) % length
            if (stream, here) in self._broken:
                continue
            try:
                return self._sample(stream, here, names)
            except (ImageError, ValueError, KeyError, tarfile.TarError) as error:
                with self._lock:
                    self._broken[stream, here] = " ".join(str(error).split())[:200]
        reason = next(iter(self._broken.values()))
        raise UsageError(f"none of the {length} samples in {self.config.root} can be read; {reason}")

    def _sample(self, stream: str, index: int, names: list[str]) -> dict[str, Tensor]:
        from gankit.data.shard_index import members

        entry = self._parts[stream].index[index]
        shard, offset, length = int(entry["shard"]), int(entry["offset"]), int(entry["length"])
        found = {member.extension: member.data for member in members(self._files[stream].read(shard, offset, length))}
        made = {}
        for name in names:
            extension = next((one for one in self._catalogue.extensions[name] if one in found), None)
            if extension is None:
                raise ValueError(f"sample {index} holds no {name!r}")
            made[name] = self._value(
                name, self.spec[name], found[extension], f"{self._files[stream].places[shard]}: {name}"
            )
        return made

    def _value(self, name: str, key: Key, data: bytes, where: str) -> Tensor:
        """What a member says of a key."""
        import numpy as np
        import torch

        from gankit.data.images import Content
        from gankit.data.planes import decode_channels
        from gankit.data.text import encode_text

        if key.kind in ("image", "mask"):
            channels, height, width = key.shape
            image = decode_channels(Content(where, data), (height, width), channels, self.config.fit)
            return (image > 127) * image.new_tensor(255) if key.kind == "mask" else image
        if key.kind == "text":
            return encode_text([data.decode("utf-8", "replace")], key.shape[0])[0]
        if key.kind == "class":
            said = data.decode("utf-8", "replace").strip()
            named = not self._catalogue.packed and said in key.names
            number = key.names.index(said) if named else int(said)
            if not 0 <= number < len(key.names):
                raise ValueError(f"{where} is {number}; there are {len(key.names)} classes")
            return torch.tensor(number)
        value = np.load(io.BytesIO(data), allow_pickle=False)
        if value.shape != key.shape:
            raise ValueError(f"{where} has the shape {value.shape}, not {key.shape}")
        return torch.from_numpy(value.astype(np.float32))

    def notes(self) -> list[str]:
        notes = [*self._catalogue.notes, *(note for files in self._files.values() for note in files.notes())]
        if self._broken:
            first = next(iter(self._broken.values()))
            notes.append(f"{self.split} split: {len(self._broken)} samples cannot be read, others stand in: {first}")
        return notes

    def source(self, index: int, stream: str = "") -> str | None:
        part = self._parts[stream if stream in self._parts else next(iter(self._parts))]
        entry = part.index[index]
        return f"{os.path.basename(part.shards[int(entry['shard'])])}:{int(entry['offset'])}"

    def fingerprint(self) -> str:
        made = blake2b(digest_size=16)
        for stream, part in self._parts.items():
            names = [os.path.basename(place) for place in part.shards]
            made.update(repr((stream, names, part.sizes, len(part.index))).encode("utf-8", "surrogatepass"))
            made.update(part.index.tobytes())
        return f"shards {made.hexdigest()}"
