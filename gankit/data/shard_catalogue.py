"""What a directory of shards holds: its ``shards.json`` and an index of each split, read, or made where they lack."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from gankit.cache import cache_directory, keep
from gankit.data.files import SUFFIXES, state_of
from gankit.data.shard_files import content, is_remote, join, reached
from gankit.data.shard_index import ENTRY, Sample, samples
from gankit.data.spec_json import spec_from_json, spec_to_json
from gankit.errors import UsageError
from gankit.files import open_regular
from gankit.json_file import parse_object
from gankit.plugin import DataSpec, Key

__all__ = ["MANIFEST", "Catalogue", "Part", "catalogue", "member_of", "write_manifest"]

MANIFEST = "shards.json"
_SPLITS = {"train": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}
_BARE = {"image": "image", "label": "cls", "text": "txt"}
_IMAGES = tuple(sorted(suffix[1:] for suffix in SUFFIXES))
_TEXTS = ("txt", "caption", "text")


@dataclass(frozen=True)
class Part:
    """The samples of one stream of a split."""

    shards: tuple[str, ...]
    """Paths or URLs."""
    sizes: tuple[int, ...]
    """Bytes of each shard."""
    index: np.ndarray
    """:data:`~gankit.data.shard_index.ENTRY` of each sample, mapped."""


@dataclass(frozen=True)
class Catalogue:
    """All that is known of shards before a sample of them is read."""

    packed: bool
    """Whether `gankit data pack` made them: then the spec is that of what was packed."""
    spec: DataSpec
    extensions: Mapping[str, tuple[str, ...]]
    """By key, the extensions under which its values stand in a sample."""
    parts: Mapping[str, Mapping[str, Part]]
    """By split and stream."""
    notes: tuple[str, ...] = ()


def member_of(name: str, key: Key) -> str:
    """The extension under which `gankit data pack` writes the key `name`: ``png``, ``a.png``, ``cls``, ``box.npy``."""
    if key.kind in ("image", "mask"):
        own = "png" if key.shape[0] in (1, 3, 4) else "tif"
    else:
        own = {"class": "cls", "text": "txt"}.get(key.kind, "npy")
    return own if _BARE.get(name) in (own, "image") and (own in ("cls", "txt") or name == "image") else f"{name}.{own}"


def write_manifest(
    root: Path, spec: DataSpec, parts: Mapping[str, Mapping[str, Mapping[str, Any]]], **more: Any
) -> None:
    """Writes ``shards.json``, at last, beside shards and indices that are whole."""
    about = {"shards": 1, "keys": spec_to_json(spec), "parts": parts, **more}
    keep(root / MANIFEST, (json.dumps(about, indent=1) + "\n").encode())


def catalogue(root: str, test_fraction: float, text_length: int, shape: tuple[int, int, int]) -> Catalogue:
    """What the directory, URL or pattern of shards `root` holds. :class:`UsageError` if that is none, or is damaged.

    `shape`, of images, `text_length`, of texts, and `test_fraction`, what of them is held out, are for shards that
    gankit did not pack. Their index is kept in the cache.
    """
    if (found := content(join(root, MANIFEST))) is not None:
        return _read(found, root, root)
    places = _places(root)
    states = [state_of(Path(place)) if not is_remote(place) else _size(place) for place in places]
    known = repr((os.path.realpath(root) if not is_remote(root) else root, places, states, test_fraction))
    folder = _kept() / blake2b(known.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    if (kept := content(str(folder / MANIFEST))) is None:
        try:
            _make(folder, root, places, test_fraction)
        except OSError as error:
            text = f"no index of the shards in {root} can be kept in {folder} ({error.strerror or error})"
            raise UsageError(f"{text}: GANKIT_CACHE names another place") from error
        kept = content(str(folder / MANIFEST)) or b""
    made = _read(kept, root if is_remote(root) else os.path.dirname(places[0]), str(folder))
    keys = dict(made.spec.keys)
    for name, key in made.spec.keys.items():
        if key.kind in ("image", "text"):
            keys[name] = Key(kind=key.kind, shape=shape if key.kind == "image" else (text_length,))
    return Catalogue(False, DataSpec(keys=keys), made.extensions, made.parts, made.notes)


def _read(text: bytes, root: str, indices: str) -> Catalogue:
    """The manifest `text` of the shards of `root`, whose indices stand in `indices`."""
    where = join(indices, MANIFEST)
    try:
        about = parse_object(text)
        if about.get("shards") != 1:
            raise ValueError("it is of another version of gankit")
        spec = spec_from_json(about.get("keys"))
        parts = {
            split: {stream: _part(one, root, indices) for stream, one in streams.items()}
            for split, streams in about["parts"].items()
        }
        extensions = about.get("extensions") or {name: [member_of(name, key)] for name, key in spec.keys.items()}
        if set(extensions) != set(spec.keys):
            raise ValueError("its extensions are not those of its keys")
        made = {name: tuple(map(str, extensions[name])) for name in extensions}
        return Catalogue("extensions" not in about, spec, made, parts, tuple(map(str, about.get("notes", ()))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"{where} is damaged ({type(error).__name__}: {said}). Remove it, or pack again") from error


def _part(about: Mapping[str, Any], root: str, indices: str) -> Part:
    names, sizes = [str(name) for name in about["shards"]], [int(size) for size in about["sizes"]]
    own = indices != root  # made here, of shards wherever they are
    if any(Path(name).name != name for name in [*([] if own else names), str(about["index"])]):
        raise ValueError("it names files outside of its directory")
    index = _mapped(join(indices, str(about["index"])))
    if index.dtype != ENTRY or index.ndim != 1 or len(names) != len(sizes):
        raise ValueError("its index is none")
    if len(index) and int(index["shard"].max()) >= len(names):
        raise ValueError("its index names shards that there are not")
    return Part(tuple(name if is_remote(name) else join(root, name) for name in names), tuple(sizes), index)


def _mapped(place: str) -> np.ndarray:
    """The array in a .npy file, mapped from the disk; of a URL, from a copy in the cache."""
    if is_remote(place):
        if (data := content(place)) is None:
            raise ValueError(f"{place} is not there")
        path = _kept() / f"{blake2b(data, digest_size=16).hexdigest()}.npy"
        if not path.is_file():
            keep(path, data)
        place = str(path)
    try:
        return np.load(place, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError) as error:
        raise ValueError(f"{place} cannot be read ({error})") from error


def _kept() -> Path:
    """Where indices are kept."""
    try:
        return cache_directory() / "shard-index"
    except OSError as error:
        raise UsageError(f"there is no cache to keep an index of shards in ({error}): set GANKIT_CACHE") from error


def _places(root: str) -> list[str]:
    """The shards that a directory, a URL of one, or a pattern like ``s3://b/train-{0000..0123}.tar`` names."""
    if found := re.search(r"\{(\d+)\.\.(\d+)\}", root):
        first, last = found[1], found[2]
        return [
            f"{root[: found.start()]}{n:0{len(first)}d}{root[found.end() :]}" for n in range(int(first), int(last) + 1)
        ]
    if is_remote(root):
        system, path = reached(root)
        try:
            names = sorted(str(name) for name in system.glob(f"{path.rstrip('/')}/*.tar"))
        except Exception as error:  # of whatever library reaches it
            raise UsageError(
                f"{root} cannot be listed ({type(error).__name__}): give the shards as {{0000..0123}}"
            ) from error
        places = [system.unstrip_protocol(name) for name in names]
    else:
        places = sorted(str(path) for path in Path(root).glob("*.tar"))
    if not places:
        raise UsageError(f"data.root: no .tar files in {root}; `gankit data pack` makes them")
    return places


def _size(url: str) -> int:
    system, path = reached(url)
    try:
        return int(system.size(path))
    except Exception as error:  # of whatever library reaches it
        raise UsageError(f"{url} cannot be read ({type(error).__name__})") from error


@dataclass
class _Found:
    """What scanning shards has found so far."""

    entries: dict[str, array[int]] = field(default_factory=lambda: {"train": array("Q"), "test": array("Q")})
    """Of each split offset, length and shard, one after the other."""
    classes: set[str] = field(default_factory=set)
    extensions: Counter[str] = field(default_factory=Counter)
    number: int = 0
    without: int = 0


def _make(folder: Path, root: str, places: Sequence[str], test_fraction: float) -> None:
    """Looks through shards that others packed, and keeps what they hold in `folder`."""
    named = {place: _SPLITS.get(re.split(r"[^a-z]", Path(place).name.lower())[0]) for place in places}
    apart = "test" in named.values()
    sizes = [_size(place) if is_remote(place) else os.path.getsize(place) for place in places]
    found = _Found()
    for number, place in enumerate(places):
        for sample in _samples(place):
            if not any(extension in _IMAGES for extension in sample.extensions):
                found.without += 1
                continue
            found.number += 1
            found.extensions.update(set(sample.extensions))
            found.classes.update(sample.classes.get("cls", "").split("\n")[:1])
            held = named[place] == "test" if apart else _share(sample.name) < test_fraction
            found.entries["test" if held else "train"].extend((sample.offset, sample.end - sample.offset, number))
    if not found.entries["train"]:
        raise UsageError(f"data.root: no images in the {len(places)} shards of {root}; looked for {' '.join(_IMAGES)}")
    keys, extensions, notes = _keys(found)
    shards = [place if is_remote(place) else Path(place).name for place in places]
    parts = {}
    for split, entries in found.entries.items():
        data = io.BytesIO()
        rows = np.empty(len(entries) // 3, dtype=ENTRY)
        for column, name in enumerate(("offset", "length", "shard")):
            rows[name] = np.frombuffer(entries, dtype=np.uint64)[column::3]
        np.save(data, rows, allow_pickle=False)
        keep(folder / f"{split}.npy", data.getvalue())
        parts[split] = {"": {"shards": shards, "sizes": sizes, "index": f"{split}.npy"}}
    write_manifest(folder, DataSpec(keys=keys), parts, extensions=extensions, notes=notes)


def _keys(found: _Found) -> tuple[dict[str, Key], dict[str, list[str]], list[str]]:
    """Keys that all samples have, where they stand, and what the user should know of the rest."""
    keys, extensions = {"image": Key(kind="image", shape=(3, 64, 64))}, {"image": list(_IMAGES)}
    notes = []
    if found.without:
        notes.append(f"{found.without} of {found.without + found.number} samples hold no image and are left out")
    if found.extensions["cls"] == found.number:
        numbers = all(name.isdecimal() and len(name) < 7 for name in found.classes)
        names = [str(n) for n in range(max(map(int, found.classes)) + 1)] if numbers else sorted(found.classes)
        keys["label"], extensions["label"] = Key(kind="class", names=tuple(names)), ["cls"]
    texts = [extension for extension in _TEXTS if found.extensions[extension] == found.number]
    if texts:
        keys["text"], extensions["text"] = Key(kind="text", shape=(256,)), texts
    used = {extension for those in extensions.values() for extension in those}
    if others := sorted(set(found.extensions) - used):
        notes.append(f"not used, of what the shards hold: {', '.join(others[:8])}")
    return keys, extensions, notes


def _samples(place: str) -> Iterator[Sample]:
    try:
        if is_remote(place):
            system, path = reached(place)
            with system.open(path, "rb") as file:
                yield from samples(file)
        else:
            with open_regular(place) as file:
                yield from samples(file)
    except tarfile.TarError as error:
        raise UsageError(f"{place} is no shard, or cut off ({error}): pack it again, or move it away") from error
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error.strerror or error}") from error


def _share(name: str) -> float:
    """A number in [0, 1) that follows from a sample's name alone."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=7).digest(), "big") / (1 << 56)
