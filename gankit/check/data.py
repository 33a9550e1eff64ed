"""The part of ``gankit plugins check`` that is about data: does a dataset deliver what its spec says?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch

from gankit.check.checker import Checker, Failed
from gankit.data.kinds import fault, spec_fault
from gankit.data.made_up import MadeUp
from gankit.plugin import Dataset, DataSpec, Key

if TYPE_CHECKING:
    from gankit.plugin import Batch


def check_data(checker: Checker, open_split: Callable[[Literal["train", "test"]], Dataset[Any]]) -> bool:
    """Check both splits; whether the rest of the checks can use the data."""
    splits: dict[str, Dataset[Any]] = {}

    def opened() -> str:
        splits["train"], splits["test"] = open_split("train"), open_split("test")
        if splits["train"].spec != splits["test"].spec:
            raise Failed("the two splits have different specs")
        if len(splits["train"]) < 1:
            raise Failed("the training split is empty")
        _check_spec(splits["train"].spec)
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
    count = len(dataset)
    some = torch.arange(0, count, max(1, count // 16))
    repeated = torch.tensor([count - 1, 0, count - 1])
    for indices in (torch.tensor([0]), repeated, some):
        _check_batch(dataset.spec, dataset.batch(indices), len(indices))
    first = dataset.batch(some)
    _same(first, dataset.batch(some), "two calls with the same indices")
    backwards = dataset.batch(some.flip(0))
    _same(first, {key: value.flip(0) for key, value in backwards.items()}, "the same samples in another order")
    with ThreadPoolExecutor(4) as pool:
        for batch in pool.map(dataset.batch, [some] * 8):
            _same(first, batch, "several threads")
    if not torch.equal(some, torch.arange(0, count, max(1, count // 16))):
        raise Failed("batch() changes the indices it is given")
    return ", ".join(dataset.spec.keys)


def _check_batch(spec: DataSpec, batch: Batch, size: int) -> None:
    if not isinstance(batch, dict):
        raise Failed(f"batch() returned a {type(batch).__name__}, not a dict of tensors")
    if set(batch) != set(spec.keys):
        raise Failed(f"batch() has the keys {', '.join(sorted(batch))}; its spec says {', '.join(sorted(spec.keys))}")
    for name, key in spec.keys.items():
        if text := fault(key, batch[name], size):
            raise Failed(f"key {name!r} {text}")


def _same(one: Batch, other: Batch, when: str) -> None:
    for name, value in one.items():
        if not torch.equal(value, other[name]):
            raise Failed(f"batch() is not a function of the indices alone: {name!r} differs between {when}")


def stand_in(names: Iterable[str]) -> MadeUp:
    """40 made-up samples: images of 3x64x64, text of 64 bytes, everything else one of ten classes."""
    kinds = {"image": Key(kind="image", shape=(3, 64, 64)), "text": Key(kind="text", shape=(64,))}
    classes = Key(kind="class", names=tuple("0123456789"))
    return MadeUp(DataSpec(keys={name: kinds.get(name, classes) for name in sorted(names)}), 40)


__all__ = ["check_data", "stand_in"]
