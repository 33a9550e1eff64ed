"""What a place of shards holds: the manifest that `gankit data pack` wrote, or what looking through them found."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from gankit.cache import cache_directory, keep
from gankit.data.files import state_of
from gankit.data.shard_files import content, is_remote, join, reached, unread
from gankit.data.shard_index import ENTRY
from gankit.data.shard_scan import Scanned, scan
from gankit.data.shard_values import member_of
from gankit.data.spec_json import spec_from_json, spec_to_json
from gankit.errors import UsageError
from gankit.json_file import parse_object
from gankit.plugin import DataSpec, Key

__all__ = ["MANIFEST", "Catalogue", "Part", "catalogue", "listed", "manifest"]

MANIFEST = "shards.json"
_MOST_FILES = 1_000_000
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Part:
    """The samples of one stream of a split."""

    shards: tuple[str, ...]
    """Paths or URLs."""
    sizes: tuple[int, ...]
    """Bytes of each shard."""
    number: int
    """Of samples."""
    digest: str
    """Follows from the samples: another one, other samples."""
    place: str
    """The .npy file of the index."""

    def index(self) -> np.ndarray:
        """:data:`~gankit.data.shard_index.ENTRY` of each sample, mapped; of a URL from a copy in the cache.

        :class:`UsageError` if it is damaged.
        """
        place = self.place
        if is_remote(place):
            known = repr((place, self.sizes, self.digest)).encode("utf-8", "surrogatepass")
            copy = _kept_in() / f"{blake2b(known, digest_size=16).hexdigest()}.npy"
            if not copy.is_file():
                if (data := content(place)) is None:
                    raise UsageError(f"{place} is not there: pack the shards again")
                keep(copy, data)
            place = str(copy)
        try:
            index = np.load(place, mmap_mode="r", allow_pickle=False)
            if index.dtype != ENTRY or index.shape != (self.number,):
                raise ValueError(f"it holds {index.dtype} of {index.shape}")
        except Exception as error:  # what numpy makes of other files
            said = " ".join(str(error).split())[:200]
            raise UsageError(f"the index {place} is damaged ({said}): remove it, or pack the shards again") from error
        return index


@dataclass(frozen=True)
class Catalogue:
    """All that is known of shards before a sample of them is read."""

    packed: bool
    """Whether `gankit data pack` made them: then values are as it wrote them, of the spec of what was packed."""
    spec: DataSpec
    extensions: Mapping[str, tuple[str, ...]]
    """By key, the extensions under which its values may stand in a sample."""
    parts: Mapping[str, Mapping[str, Part]]
    """By split and stream."""
    version: str
    """Changes with what is in the shards, as far as that can be known without reading them."""
    notes: tuple[str, ...] = ()


def manifest(spec: DataSpec, parts: Mapping[str, Mapping[str, Mapping[str, Any]]], **more: Any) -> bytes:
    """The content of ``shards.json``. A part has ``shards``, ``sizes``, ``samples``, ``digest`` and ``index``."""
    return (json.dumps({"shards": 1, "keys": spec_to_json(spec), "parts": parts, **more}, indent=1) + "\n").encode()


def catalogue(root: str, test_fraction: float, text_length: int, shape: tuple[int, int, int]) -> Catalogue:
    """What the directory, URL or pattern of shards `root` holds. :class:`UsageError` if that is none, or is damaged.

    `shape`, of images, `text_length`, of texts, and `test_fraction`, what of them is held out, are for shards that
    gankit did not pack. What is found in those is kept in the cache.
    """
    if not _RANGE.search(root) and (found := content(join(root, MANIFEST))) is not None:
        return _read(found, join(root, MANIFEST), root)
    places = _places(root)
    known = repr((places, [_state(place) for place in places], test_fraction))
    version = blake2b(known.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    about = _kept_in() / f"{version}.json"
    if (kept := content(str(about))) is None:
        kept = _keep(about, scan(places, [_size_of(place) for place in places], test_fraction))
    made = _read(kept, str(about), "")
    keys = dict(made.spec.keys)
    for name, key in made.spec.keys.items():
        if key.kind in ("image", "text"):
            keys[name] = Key(kind=key.kind, shape=shape if key.kind == "image" else (text_length,))
    return Catalogue(False, DataSpec(keys=keys), made.extensions, made.parts, version, made.notes)


def _keep(about: Path, found: Scanned) -> bytes:
    """Keeps what was found in the cache; the manifest."""
    parts: dict[str, dict[str, dict[str, Any]]] = {}
    try:
        for split, index in found.indices.items():
            digest = blake2b(index.tobytes(), digest_size=16).hexdigest()
            file = about.with_name(f"{about.stem}-{split}.npy")
            about.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, index, allow_pickle=False)
            part = {"shards": found.places, "sizes": found.sizes, "samples": len(index), "digest": digest}
            parts[split] = {"": {**part, "index": str(file)}}
        made = manifest(DataSpec(keys=found.keys), parts, extensions=found.extensions, notes=found.notes)
        keep(about, made)
    except OSError as error:
        text = f"what is in the shards cannot be kept in {about.parent} ({error.strerror or error})"
        raise UsageError(f"{text}: GANKIT_CACHE names another place") from error
    return made


def _read(text: bytes, where: str, root: str) -> Catalogue:
    """The manifest `text`, which stands at `where`, of the shards of `root`; "" if it names full places."""
    try:
        about = parse_object(text)
        if about.get("shards") != 1:
            raise ValueError("it is none of this gankit's")
        spec = spec_from_json(about.get("keys"))
        parts = {
            str(split): {str(stream): _part(one, root) for stream, one in streams.items()}
            for split, streams in about["parts"].items()
        }
        if "train" not in parts or not parts["train"]:
            raise ValueError("it has no training split")
        extensions = about.get("extensions") or {name: [member_of(name, key)] for name, key in spec.keys.items()}
        made = {name: tuple(map(str, extensions[name])) for name in spec.keys}
        version = " ".join(part.digest for streams in parts.values() for part in streams.values())
        return Catalogue("extensions" not in about, spec, made, parts, version, tuple(map(str, about.get("notes", ()))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"{where} is damaged ({type(error).__name__}: {said}). Remove it, or pack again") from error


def _part(about: Mapping[str, Any], root: str) -> Part:
    names, sizes = [str(name) for name in about["shards"]], [int(size) for size in about["sizes"]]
    index, digest, number = str(about["index"]), str(about["digest"]), int(about["samples"])
    if len(names) != len(sizes) or number < 0 or not re.fullmatch(r"[0-9a-f]{32}", digest):
        raise ValueError("it contradicts itself")
    if root:
        if any(Path(name).name != name for name in [*names, index]):
            raise ValueError("it names files outside of its directory")
        names, index = [join(root, name) for name in names], join(root, index)
    return Part(tuple(names), tuple(sizes), number, digest, index)


def _kept_in() -> Path:
    """Where indices are kept."""
    try:
        return cache_directory() / "shard-index"
    except OSError as error:
        raise UsageError(f"there is no cache to keep an index of shards in ({error}): set GANKIT_CACHE") from error


def _places(root: str) -> list[str]:
    """The shards that a directory, a URL of one, or a pattern like ``s3://b/train-{0000..0123}.tar`` names."""
    if _RANGE.search(root):
        return _expanded(root)
    try:
        if is_remote(root):
            system, path = reached(root)
            places = [system.unstrip_protocol(str(name)) for name in system.glob(f"{path.rstrip('/')}/*.tar")]
        else:
            places = [str(path) for path in Path(root).glob("*.tar")]
    except UsageError:
        raise
    except Exception as error:  # of whatever library reaches it; a web server has no list
        remedy = "give the shards themselves, as .../train-{0000..0123}.tar"
        raise UsageError(f"{root} cannot be listed ({type(error).__name__}): {remedy}") from error
    if not (places := sorted(place for place in places if not place.rpartition("/")[2].startswith("."))):
        raise UsageError(
            f"data.root: no .tar files in {root} (compressed ones are not read); `gankit data pack` makes them"
        )
    return places


def _expanded(pattern: str) -> list[str]:
    """All names of a pattern, the last range fastest."""
    if (found := _RANGE.search(pattern)) is None:
        return [pattern]
    first, last = int(found[1]), int(found[2])
    rest = _expanded(pattern[found.end() :])
    if not 0 <= last - first < _MOST_FILES // len(rest):
        raise UsageError(f"data.root: {pattern} names no files, or more than {_MOST_FILES}")
    start, wide = pattern[: found.start()], len(found[1])
    return [f"{start}{n:0{wide}d}{end}" for n in range(first, last + 1) for end in rest]


def _state(place: str) -> object:
    """What changes whenever the shard does."""
    if not is_remote(place):
        return state_of(Path(place))
    system, path = reached(place)
    try:
        return system.ukey(path)
    except Exception as error:  # of whatever library reaches it
        raise unread(place, error) from error


def _size_of(place: str) -> int:
    """Bytes of a shard. :class:`UsageError` if it is not there."""
    try:
        if not is_remote(place):
            return os.path.getsize(place)
        system, path = reached(place)
        return int(system.size(path))
    except UsageError:
        raise
    except Exception as error:  # of whatever library reaches it
        raise unread(place, error) from error


def listed(catalogue: Catalogue) -> Sequence[tuple[str, int]]:
    """All shards with their sizes, those held out first."""
    found: dict[str, int] = {}
    for split in sorted(catalogue.parts):
        for part in catalogue.parts[split].values():
            found |= dict(zip(part.shards, part.sizes, strict=True))
    return list(found.items())
