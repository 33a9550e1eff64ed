"""The part of ``gankit plugins check`` that is about data: does a dataset deliver what its spec says?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch

from gankit.check.checker import Checker, Failed
from gankit.data.faults import fault, spec_fault
from gankit.data.kinds import KINDS
from gankit.data.made_up import MadeUp
from gankit.dataset import keys_of, read, stream_of
from gankit.discovery.entry_points import place
from gankit.plugin import Dataset, DataSpec, Key, Variant

if TYPE_CHECKING:
    from gankit.plugin import Batch


def check_data(checker: Checker, open_split: Callable[[Literal["train", "test"]], Dataset[Any]]) -> bool:
    """Check both splits; whether the rest of the checks can use the data."""
    splits: dict[str, Dataset[Any]] = {}

    def opened() -> str:
        splits["train"], splits["test"] = open_split("train"), open_split("test")
        if splits["train"].spec != splits["test"].spec:
            raise Failed("the two splits have different specs")
        if empty := [stream for stream, length in splits["train"].streams().items() if length < 1]:
            raise Failed(f"the training split is empty{f' under {empty[0]!r}' if empty[0] else ''}")
        _check_spec(splits["train"].spec)
        if len(splits["train"].streams()) != len(splits["test"].streams()):
            raise Failed("the two splits have different streams")
        for name in splits["train"].spec.keys:
            stream_of(splits["train"], name)
        return f"{len(splits['train'])} training and {len(splits['test'])} test samples"

    if not checker.run("dataset", opened):
        return False
    return all(
        checker.run(f"batches, {name}", partial(_check_batches, dataset))
        for name, dataset in splits.items()
        if len(dataset)
    )


def _check_spec(spec: DataSpec) -> None:
    if not isinstance(spec, DataSpec):
        raise Failed(f"spec is a {type(spec).__name__}, not a gankit.plugin.DataSpec")
    if not spec.keys:
        raise Failed("the spec has no keys")
    if text := spec_fault(spec):
        raise Failed(text)


def _check_batches(dataset: Dataset[Any]) -> str:
    streams = dataset.streams()
    parts = {stream: _check_stream(dataset, stream, length) for stream, length in streams.items() if length}
    if len(streams) > 1:
        together = dataset.batch({stream: _some(length) for stream, length in streams.items() if length})
        for stream, batch in parts.items():
            _same(batch, together, f"a call for {stream!r} alone and one for all streams")
        if idle := set(streams) - {stream_of(dataset, name) for name in dataset.spec.keys}:
            raise Failed(f"no key belongs to the stream {min(idle)!r}")
    _check_seen(dataset, {name: rows for batch in parts.values() for name, rows in batch.items()})
    sizes = ", ".join(f"{length} of {stream}" for stream, length in streams.items() if stream)
    return ", ".join(dataset.spec.keys) + (f"; {sizes}" if sizes else "")


def _check_seen(dataset: Dataset[Any], batch: Batch) -> None:
    """Masks that samples are to be held to are masks that the dataset sees in images."""
    spec, found = dataset.spec, set()
    for image in spec.images:
        if image not in batch:
            continue
        for name, seen in dataset.seen(batch[image], image).items():
            wanted = (len(batch[image]), *spec[name].shape) if name in spec.keys and spec[name].kind == "mask" else None
            if wanted is None:
                raise Failed(f"seen() returns {name!r} of {image!r}, which is no mask of the data")
            if seen.dtype != torch.bool or tuple(seen.shape) != wanted:
                raise Failed(f"seen() returns {seen.dtype} {tuple(seen.shape)} for {name!r}; it must be bool {wanted}")
            found.add(name)
    for name, key in spec.keys.items():
        if key.kind == "mask" and key.like is not None and key.like not in found:
            raise Failed(f"{name!r} is like {key.like!r}, which seen() returns of no image")


def _some(length: int) -> torch.Tensor:
    return torch.arange(0, length, max(1, length // 16))


def _check_stream(dataset: Dataset[Any], stream: str, length: int) -> Batch:
    """Reads a stream by itself in several ways; one of the batches."""
    keys = keys_of(dataset, stream)

    several = len(dataset.streams()) > 1

    def at(indices: torch.Tensor) -> Batch:
        try:
            return read(dataset, {stream: indices})
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'} ({place(error)})"
            if several:
                rule = "return the keys of those streams that `indices` has, and no others"
                asked = f"for the stream {stream!r} alone, {{{stream!r}: indices}}"
                raise Failed(f"batch() was asked {asked}: {rule}. {text}") from error
            rule = "a mapping of streams comes only with several `streams`"
            raise Failed(f"batch() was asked with a tensor of indices ({rule}). {text}") from error

    some = _some(length)
    for indices in (torch.tensor([0]), torch.tensor([length - 1, 0, length - 1]), some):
        _check_batch(keys, at(indices), len(indices), f" of the stream {stream!r}" if several else "")
    first = at(some)
    _same(first, at(some), "two calls with the same indices")
    backwards = at(some.flip(0))
    _same(first, {key: value.flip(0) for key, value in backwards.items()}, "the same samples in another order")
    with ThreadPoolExecutor(4) as pool:
        for batch in pool.map(at, [some] * 8):
            _same(first, batch, "several threads")
    if not torch.equal(some, _some(length)):
        raise Failed("batch() changes the indices it is given")
    return first


def _check_batch(keys: Mapping[str, Key], batch: Batch, size: int, of: str) -> None:
    if not isinstance(batch, dict):
        raise Failed(f"batch() returned a {type(batch).__name__}, not a dict of tensors")
    if set(batch) != set(keys):
        raise Failed(
            f"batch(){of} has the keys {', '.join(sorted(batch))}; its spec says {', '.join(sorted(keys))}{of}"
        )
    for name, key in keys.items():
        if text := fault(key, batch[name], size):
            raise Failed(f"key {name!r} {text}")


def _same(one: Batch, other: Batch, when: str) -> None:
    for name, value in one.items():
        if not torch.equal(value, other[name]):
            raise Failed(f"batch() is not a function of the indices alone: {name!r} differs between {when}")


def stand_in(variant: type[Variant[Any]]) -> MadeUp:
    """40 made-up samples with the keys that `variant` names; what kind each is of follows from its name.

    ``image``, ``image_b``, the sides ``a`` and ``b`` of a translation and what is produced are images, ``mask``,
    ``box``, ``points``, ``text`` and ``vector`` those kinds, also with something behind them; all else is a class.
    Images of pairs are aligned.
    """
    names = sorted(variant.requires | variant.conditions)
    images_too = {"a", "b", *variant.produces, *variant.paired}

    def key(name: str) -> Key:
        kind = name.partition("_")[0]
        usual = KINDS[kind if kind in KINDS else "image" if name in images_too else "class"].usual
        return replace(usual, of=variant.paired[0]) if name in variant.paired[1:] else usual

    keys = {name: key(name) for name in names}
    images = [name for name, made in keys.items() if made.kind == "image"]
    if len(images) > 1:  # then what describes one has to say which; any does here
        keys = {name: made if made.kind == "image" else replace(made, of=images[0]) for name, made in keys.items()}
    return MadeUp(DataSpec(keys=keys), 40)


__all__ = ["check_data", "stand_in"]
