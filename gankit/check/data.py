"""The part of ``gankit plugins check`` that is about data: does a dataset deliver what its spec says?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch

from gankit.check.checker import Checker, Failed
from gankit.plugin import Config, Dataset, DataSpec, Key

if TYPE_CHECKING:
    from gankit.plugin import Batch

DTYPES = {"image": torch.uint8, "class": torch.int64, "text": torch.uint8, "vector": torch.float32}
RANKS = {"image": 3, "class": 0, "text": 1, "vector": None}


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
    for name, key in spec.keys.items():
        if key.kind not in RANKS:
            raise Failed(f"key {name!r}: unknown kind {key.kind!r}; there are {', '.join(RANKS)}")
        rank = RANKS[key.kind]
        if rank is not None and len(key.shape) != rank:
            raise Failed(f"key {name!r}: a {key.kind} has {rank} dimensions, its shape says {key.shape}")
        if any(size < 1 for size in key.shape):
            raise Failed(f"key {name!r}: shape {key.shape} has an empty dimension")
        if key.kind == "class" and not key.names:
            raise Failed(f"key {name!r}: a class key needs the names of its classes")


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
        _check_value(name, key, batch[name], size)


def _check_value(name: str, key: Key, value: Any, size: int) -> None:
    wanted = (size, *key.shape)
    if not isinstance(value, torch.Tensor):
        raise Failed(f"key {name!r}: a {type(value).__name__}, not a tensor")
    if value.dtype != DTYPES[key.kind]:
        raise Failed(f"key {name!r}: dtype {_dtype(value.dtype)}; a {key.kind} is {_dtype(DTYPES[key.kind])}")
    if tuple(value.shape) != wanted:
        raise Failed(f"key {name!r}: shape {tuple(value.shape)}, not {wanted} as the spec says")
    if value.device.type != "cpu":
        raise Failed(f"key {name!r}: on {value.device}; batch() returns CPU tensors")
    if key.kind == "class" and value.numel() and not (int(value.min()) >= 0 and int(value.max()) < len(key.names)):
        raise Failed(f"key {name!r}: class {int(value.min())} to {int(value.max())}, but there are {len(key.names)}")
    if key.kind == "vector" and not value.isfinite().all():
        raise Failed(f"key {name!r}: not finite")
    if key.kind == "text":
        for row in value:
            try:
                bytes(row.tolist()).rstrip(b"\0").decode("utf-8")
            except UnicodeDecodeError as error:
                raise Failed(f"key {name!r}: not UTF-8 ({error.reason})") from error


def _same(one: Batch, other: Batch, when: str) -> None:
    for name, value in one.items():
        if not torch.equal(value, other[name]):
            raise Failed(f"batch() is not a function of the indices alone: {name!r} differs between {when}")


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class StandIn(Dataset[Config]):
    """Made-up data with given keys, for variants whose own data set reads files of the user's."""

    in_memory = True

    def __init__(self, keys: Iterable[str]) -> None:
        super().__init__(Config())
        kinds = {"image": Key(kind="image", shape=(3, 64, 64)), "text": Key(kind="text", shape=(64,))}
        classes = Key(kind="class", names=tuple("0123456789"))
        self._spec = DataSpec(keys={name: kinds.get(name, classes) for name in sorted(keys)})
        generator = torch.Generator().manual_seed(0)
        self.rows = {name: self._made_up(key, generator) for name, key in self._spec.keys.items()}

    @staticmethod
    def _made_up(key: Key, generator: torch.Generator) -> torch.Tensor:
        if key.kind == "class":
            return torch.arange(40) % len(key.names)
        if key.kind == "text":
            return torch.randint(97, 123, (40, *key.shape), generator=generator, dtype=torch.uint8)
        return torch.randint(0, 256, (40, *key.shape), generator=generator, dtype=torch.uint8)

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return 40

    def batch(self, indices: torch.Tensor) -> Batch:
        return {name: rows[indices] for name, rows in self.rows.items()}


def stand_in(keys: Iterable[str]) -> StandIn:
    """40 made-up samples: images of 3x64x64, text of 64 bytes, everything else one of ten classes."""
    return StandIn(keys)


__all__ = ["StandIn", "check_data", "stand_in"]
