"""Shards written: tar files of the samples of any dataset, as WebDataset reads them, with an index of each split."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gankit.data.shard_catalogue import MANIFEST, manifest
from gankit.data.shard_index import ENTRY
from gankit.data.shard_values import member_of, packed
from gankit.dataset import keys_of, read
from gankit.errors import GankitError, UsageError
from gankit.events import OnEvent, Progress, ignore
from gankit.files import write_whole
from gankit.plugin import Dataset

__all__ = ["pack"]

_AT_ONCE = 64


def pack(
    splits: Mapping[str, Dataset[Any]], out: Path, *, shard_mib: int = 256, tell: OnEvent = ignore
) -> dict[str, dict[str, int]]:
    """Writes the samples of `splits` (train and test) to the new directory `out`.

    Returns how many there are, by split and stream. A shard is closed once it has `shard_mib` MiB. Values are kept as
    they are, images as PNG or, of 2 or more than 4 channels, TIFF. `out` is there once all is written, and not before.
    :class:`UsageError` if it is there already, if there is nothing to train on, or if a key cannot name a file.
    """
    out = out.absolute()
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} exists already: give another directory, or remove it")
    train = splits["train"]
    if not all(train.streams().values()):
        raise UsageError("the training split is empty: there is nothing to pack")
    if odd := next((name for name in train.spec.keys if "/" in name or "\0" in name or not name), None):
        raise UsageError(f"the key {odd!r} cannot be part of a file's name")
    unfinished = out.with_name(f".tmp-{out.name}")
    with _written(out):
        shutil.rmtree(unfinished, ignore_errors=True)  # of a kill
        unfinished.mkdir(parents=True)
    try:
        parts: dict[str, dict[str, dict[str, Any]]] = {}
        for split, dataset in splits.items():
            for stream, number in dataset.streams().items():
                stem = f"{split}-{stream}" if stream else split
                writer = _Writer(unfinished, out, stem, shard_mib << 20)
                _write(writer, dataset, stream, number, f"packing {stem}", tell)
                parts.setdefault(split, {})[stream] = writer.finish()
        with _written(out):
            write_whole(unfinished / MANIFEST, manifest(train.spec, parts))
            os.rename(unfinished, out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return {split: {stream: part["samples"] for stream, part in streams.items()} for split, streams in parts.items()}


def _write(writer: _Writer, dataset: Dataset[Any], stream: str, number: int, what: str, tell: OnEvent) -> None:
    keys = keys_of(dataset, stream)
    for start in range(0, number, _AT_ONCE):
        tell(Progress(what=what, done=start, total=number))
        indices = torch.arange(start, min(start + _AT_ONCE, number))
        batch = read(dataset, {stream: indices})
        for row, index in enumerate(indices.tolist()):
            writer.add(f"{index:09d}", {member_of(n, key): packed(key, batch[n][row]) for n, key in keys.items()})
    if number:
        tell(Progress(what=what, done=number, total=number))


@contextmanager
def _written(out: Path) -> Iterator[None]:
    """While entered, an OSError is one of writing `out`."""
    try:
        yield
    except OSError as error:
        raise GankitError(f"{out} cannot be written: {error.strerror or error}. Nothing is left of it") from error


class _Writer:
    """Shards ``STEM-00000.tar``, ... in a `folder` that becomes `out`, and where each sample stands in them."""

    def __init__(self, folder: Path, out: Path, stem: str, most: int) -> None:
        self.folder, self.out, self.stem, self.most = folder, out, stem, most
        self.names: list[str] = []
        self.sizes: list[int] = []
        self._entries: list[np.ndarray] = []
        self._rows: list[tuple[int, int, int]] = []
        self._digest = blake2b(digest_size=16)
        self._tar: tarfile.TarFile | None = None

    def add(self, name: str, members: Mapping[str, bytes]) -> None:
        with _written(self.out):
            if self._tar is None:
                self.names.append(f"{self.stem}-{len(self.names):05d}.tar")
                self._tar = tarfile.open(self.folder / self.names[-1], "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
            start = self._tar.offset
            for extension, data in members.items():
                about = tarfile.TarInfo(f"{name}.{extension}")
                about.size, about.mode = len(data), 0o644
                self._tar.addfile(about, io.BytesIO(data))
                self._digest.update(f"{extension} {len(data)} ".encode() + data)
            self._rows.append((start, self._tar.offset - start, len(self.names) - 1))
            if self._tar.offset >= self.most:
                self._close()

    def _close(self) -> None:
        """Ends a shard."""
        if self._tar is not None:
            self._tar.close()
            self._tar = None
            self.sizes.append((self.folder / self.names[-1]).stat().st_size)
            self._entries.append(np.array(self._rows, dtype=ENTRY))
            self._rows = []

    def finish(self) -> dict[str, Any]:
        """Closes the last shard and writes the index; what the manifest says of them."""
        with _written(self.out):
            self._close()
            index = np.concatenate([np.empty(0, dtype=ENTRY), *self._entries])
            np.save(self.folder / f"{self.stem}.npy", index, allow_pickle=False)
        about = {"shards": self.names, "sizes": self.sizes, "index": f"{self.stem}.npy"}
        return about | {"samples": len(index), "digest": self._digest.hexdigest()}
