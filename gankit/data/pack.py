"""Shards written: tar files of the samples of any dataset, as WebDataset reads them, with an index of each split."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gankit.data.image_files import encoded
from gankit.data.shard_catalogue import member_of, write_manifest
from gankit.data.shard_index import ENTRY
from gankit.data.text import decode_text
from gankit.dataset import read, stream_of
from gankit.errors import GankitError, UsageError
from gankit.events import OnEvent, Progress, ignore
from gankit.plugin import Dataset, Key

__all__ = ["pack"]

_AT_ONCE = 64


def pack(
    splits: Mapping[str, Dataset[Any]], out: Path, *, shard_mib: int = 256, tell: OnEvent = ignore
) -> dict[str, dict[str, int]]:
    """Writes the samples of `splits` (train and, if it has any, test) to the new directory `out`.

    Returns how many there are, by split and stream. A shard is closed once it has `shard_mib` MiB. Images are kept
    without loss, PNG or, of 2 or more than 4 channels, TIFF. `out` is there once all is written, and not before.
    :class:`UsageError` if it is a directory with something in it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already and is not empty: give another directory, or remove it")
    spec = splits["train"].spec
    parts: dict[str, dict[str, dict[str, Any]]] = {}
    unfinished = out.with_name(f".tmp-{out.name}")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a kill
    try:
        unfinished.mkdir(parents=True)
        for split, dataset in splits.items():
            for stream, number in dataset.streams().items():
                if number:
                    stem = f"{split}-{stream}" if stream else split
                    writer = _Writer(unfinished, stem, shard_mib << 20)
                    _write(writer, dataset, stream, number, f"packing {stem}", tell)
                    parts.setdefault(split, {})[stream] = writer.finish()
        write_manifest(unfinished, spec, parts)
        os.replace(unfinished, out)
    except OSError as error:
        raise GankitError(f"{out} cannot be written: {error.strerror or error}. Nothing is left of it") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return {split: {stream: part["samples"] for stream, part in streams.items()} for split, streams in parts.items()}


def _write(writer: _Writer, dataset: Dataset[Any], stream: str, number: int, what: str, tell: OnEvent) -> None:
    spec = dataset.spec
    several = len(dataset.streams()) > 1
    keys = {name: key for name, key in spec.keys.items() if not several or stream_of(dataset, name) == stream}
    for start in range(0, number, _AT_ONCE):
        tell(Progress(what=what, done=start, total=number))
        indices = torch.arange(start, min(start + _AT_ONCE, number))
        batch = read(dataset, {stream: indices})
        for row, index in enumerate(indices.tolist()):
            writer.add(f"{index:09d}", {member_of(n, key): _content(key, batch[n][row]) for n, key in keys.items()})
    tell(Progress(what=what, done=number, total=number))


def _content(key: Key, value: Tensor) -> bytes:
    """What stands in the member of one value of a key."""
    if key.kind in ("image", "mask"):
        pixels = np.ascontiguousarray(value.permute(1, 2, 0).numpy())
        grey = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
        return bytes(encoded(grey, "PNG" if pixels.shape[2] in (1, 3, 4) else "TIFF", opacity=pixels.shape[2] == 4))
    if key.kind == "class":
        return str(int(value)).encode()
    if key.kind == "text":
        return decode_text(value[None])[0].encode()
    data = io.BytesIO()
    np.save(data, value.numpy(), allow_pickle=False)
    return data.getvalue()


class _Writer:
    """Shards ``STEM-00000.tar``, ... of a directory, and where each sample stands in them."""

    def __init__(self, folder: Path, stem: str, most: int) -> None:
        self.folder, self.stem, self.most = folder, stem, most
        self.names: list[str] = []
        self.sizes: list[int] = []
        self.entries: list[np.ndarray] = []
        self._rows: list[tuple[int, int, int]] = []
        self._tar: tarfile.TarFile | None = None

    def add(self, name: str, members: Mapping[str, bytes]) -> None:
        if self._tar is None:
            self.names.append(f"{self.stem}-{len(self.names):05d}.tar")
            self._tar = tarfile.open(self.folder / self.names[-1], "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        start = self._tar.offset
        for extension, data in members.items():
            about = tarfile.TarInfo(f"{name}.{extension}")
            about.size, about.mode = len(data), 0o644
            self._tar.addfile(about, io.BytesIO(data))
        self._rows.append((start, self._tar.offset - start, len(self.names) - 1))
        if self._tar.offset >= self.most:
            self._close()

    def _close(self) -> None:
        """Ends a shard."""
        if self._tar is not None:
            self._tar.close()
            self._tar = None
            self.sizes.append((self.folder / self.names[-1]).stat().st_size)
            self.entries.append(np.array(self._rows, dtype=ENTRY))
            self._rows = []

    def finish(self) -> dict[str, Any]:
        """Closes the last shard and writes the index; what the manifest says of them."""
        self._close()
        index = np.concatenate(self.entries)
        np.save(self.folder / f"{self.stem}.npy", index, allow_pickle=False)
        return {"samples": len(index), "shards": self.names, "sizes": self.sizes, "index": f"{self.stem}.npy"}
