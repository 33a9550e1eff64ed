"""Looking through shards that others packed: which samples there are, and which keys all of them have."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from gankit.data.files import SUFFIXES
from gankit.data.shard_files import is_remote, reached
from gankit.data.shard_index import ENTRY, Sample, samples
from gankit.errors import UsageError
from gankit.files import open_regular
from gankit.plugin import Key

__all__ = ["Scanned", "scan"]

_HELD_OUT = ("test", "val", "valid", "validation")
_IMAGES = tuple(sorted(suffix[1:] for suffix in SUFFIXES))
_TEXTS = ("txt", "caption", "text")
_MOST_CLASSES = 10_000


@dataclass(frozen=True)
class Scanned:
    """What was found in `places`, shards of `sizes` bytes."""

    places: list[str]
    sizes: list[int]
    indices: dict[str, np.ndarray]
    """:data:`~gankit.data.shard_index.ENTRY` of the samples of each split."""
    keys: dict[str, Key]
    extensions: dict[str, list[str]]
    """By key, where its values may stand in a sample."""
    notes: list[str]


@dataclass
class _Seen:
    """Counts of samples that have an image."""

    entries: dict[str, array[int]] = field(default_factory=lambda: {"train": array("Q"), "test": array("Q")})
    """Of each split offset, length and shard, one after the other."""
    classes: Counter[str] = field(default_factory=Counter)
    extensions: Counter[str] = field(default_factory=Counter)
    number: int = 0
    without: int = 0


def scan(places: Sequence[str], sizes: Sequence[int], test_fraction: float) -> Scanned:
    """Reads the headers of all members, and of each class. :class:`UsageError` names a shard that is none.

    Shards whose names begin with test or val are held out; without such, samples are, by their names.
    """
    starts = {place: re.split(r"[^a-z]", place.rpartition("/")[2].lower())[0] for place in places}
    apart = any(start in _HELD_OUT for start in starts.values())
    seen = _Seen()
    for number, place in enumerate(places):
        for sample in _samples(place):
            if not sample.extensions.intersection(_IMAGES):
                seen.without += 1
                continue
            seen.number += 1
            seen.extensions.update(sample.extensions)
            if sample.said and (len(seen.classes) <= _MOST_CLASSES or sample.said in seen.classes):
                seen.classes[sample.said] += 1
            held = starts[place] in _HELD_OUT if apart else _share(sample.name) < test_fraction
            entry = (sample.offset, sample.end - sample.offset, number)
            seen.entries["test" if held else "train"].extend(entry)
    if not seen.entries["train"]:
        whole = f"no images to train on in {len(places)} shards, {places[0]} and others"
        raise UsageError(f"data.root: {whole}; looked for {' '.join(_IMAGES)}")
    indices = {}
    for split, entries in seen.entries.items():
        indices[split] = np.empty(len(entries) // 3, dtype=ENTRY)
        for column, name in enumerate(("offset", "length", "shard")):
            indices[split][name] = np.frombuffer(entries, dtype=np.uint64)[column::3]
    return Scanned(list(places), list(sizes), indices, *_keys(seen))


def _keys(seen: _Seen) -> tuple[dict[str, Key], dict[str, list[str]], list[str]]:
    keys, extensions = {"image": Key(kind="image", shape=(3, 64, 64))}, {"image": list(_IMAGES)}
    notes = []
    if seen.without:
        notes.append(f"{seen.without} of {seen.without + seen.number} samples hold no image and are left out")
    if seen.classes:
        names = _names(seen.classes)
        if len(names) > _MOST_CLASSES:
            notes.append(f"no labels: there are more than {_MOST_CLASSES} classes (cls)")
        elif (lacking := seen.number - seen.classes.total()) > 0:
            notes.append(f"no labels: {lacking} of {seen.number} samples have no class (cls), or an empty one")
        else:
            keys["label"], extensions["label"] = Key(kind="class", names=tuple(names)), ["cls"]
    texts = [extension for extension in _TEXTS if seen.extensions[extension] == seen.number]
    if texts:
        keys["text"], extensions["text"] = Key(kind="text", shape=(256,)), texts[:1]
    used = {"cls", *(extension for those in extensions.values() for extension in those)}
    if others := sorted(set(seen.extensions) - used):
        notes.append(f"not used, of what the shards hold: {', '.join(others[:8])}")
    return keys, extensions, notes


def _names(classes: Counter[str]) -> list[str]:
    """The names of classes: all numbers up to the greatest, if that is small, or what is said, sorted."""
    if all(re.fullmatch(r"0|[1-9][0-9]{0,6}", name) for name in classes):
        number = max(map(int, classes)) + 1
        return [str(n) for n in range(number)] if number <= _MOST_CLASSES else sorted(classes, key=int)
    return sorted(classes)


def _samples(place: str) -> Iterator[Sample]:
    try:
        if is_remote(place):
            system, path = reached(place)
            with system.open(path, "rb") as file:
                yield from samples(file)
        else:
            with open_regular(place) as file:
                yield from samples(file)
    except UsageError:
        raise
    except Exception as error:  # tarfile raises many kinds on damaged files, libraries that reach one their own
        said = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())[:200]
        raise UsageError(
            f"{place} is no uncompressed tar file, is damaged or cut off, or cannot be read ({said}): "
            "pack it again, or move it away"
        ) from error


def _share(name: str) -> float:
    """A number in [0, 1) that follows from a sample's name alone."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=7).digest(), "big") / (1 << 56)
