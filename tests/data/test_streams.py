"""Data whose sides have nothing to do with one another: each in an order of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from gankit.data.loader import Loader
from gankit.errors import GankitError, PluginError, UsageError
from gankit.plugin import Config, Dataset, DataSpec, Key


class Sides(Dataset[Any]):
    """Sample i of every stream has the number i."""

    def __init__(self, **lengths: int) -> None:
        super().__init__(Config())
        self.lengths = lengths
        self.asked: list[Mapping[str, Tensor]] = []

    @property
    def spec(self) -> DataSpec:
        return DataSpec(keys={name: Key(kind="vector") for name in self.lengths})

    def streams(self) -> Mapping[str, int]:
        return self.lengths

    def batch(self, indices: Any) -> dict[str, Tensor]:
        self.asked.append(indices)
        return {name: rows.float() for name, rows in indices.items()}


def read(loader: Loader, batches: int) -> list[dict[str, list[float]]]:
    return [{name: rows.tolist() for name, rows in loader.next().items()} for _ in range(batches)]


def stream(batches: list[dict[str, list[float]]], name: str) -> list[int]:
    return [int(number) for batch in batches for number in batch[name]]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("lengths", [{"a": 4, "b": 8}, {"a": 1, "b": 7}, {"a": 5, "b": 5}, {"a": 3, "b": 7, "c": 11}])
@pytest.mark.parametrize("size", [1, 4, 9])
def test_each_stream_is_gone_through_once_an_epoch_of_its_own(lengths: dict[str, int], size: int, workers: int) -> None:
    with Loader(Sides(**lengths), size, seed=2, workers=workers) as loader:
        batches = read(loader, 5 * max(lengths.values()))
    assert all(len(rows) == size for batch in batches for rows in batch.values())
    orders = set()
    for name, length in lengths.items():
        numbers = stream(batches, name)
        for start in range(0, len(numbers) - length + 1, length):
            epoch = numbers[start : start + length]
            assert sorted(epoch) == list(range(length))
            orders.add(tuple(epoch))
    assert len(orders) > len(lengths)


@pytest.mark.parametrize("lengths", [(4, 8), (8, 8), (8, 4), (5, 7)])
@pytest.mark.parametrize("size", [1, 4, 8])
def test_partners_change_until_all_have_met(lengths: tuple[int, int], size: int) -> None:
    loader = Loader(Sides(a=lengths[0], b=lengths[1]), size)
    batches = read(loader, 60 * 8 // size)
    met = set(zip(stream(batches, "a"), stream(batches, "b"), strict=True))
    assert len(met) == math.prod(lengths)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("lengths", [{"a": 1, "b": 7}, {"a": 4, "b": 8}])
def test_a_resumed_loader_gives_the_same_batches(lengths: dict[str, int], workers: int) -> None:
    expected = read(Loader(Sides(**lengths), 3, seed=1), 16)
    with Loader(Sides(**lengths), 3, seed=1, workers=workers) as whole:
        for stop in range(10):
            state = json.loads(json.dumps(whole.state_dict()))
            with Loader(Sides(**lengths), 3, seed=1, workers=2 - workers) as resumed:
                read(resumed, 2)
                resumed.load_state_dict(state)
                assert resumed.state_dict() == state
                assert read(resumed, 4) == expected[stop : stop + 4]
            read(whole, 1)


def test_one_stream_is_asked_for_by_indices_alone() -> None:
    class One(Sides):
        def batch(self, indices: Any) -> dict[str, Tensor]:
            return {"a": indices.float()}

    named = stream(read(Loader(One(a=6), 3), 4), "a")
    assert sorted(named[:6]) == sorted(named[6:]) == list(range(6))


def test_the_order_of_a_stream_is_its_own_and_not_that_of_its_neighbours() -> None:
    both, alone = read(Loader(Sides(a=9, b=4), 3, seed=5), 9), read(Loader(Sides(a=9, c=2, d=30), 3, seed=5), 9)
    assert stream(both, "a") == stream(alone, "a")
    assert stream(both, "a") != stream(read(Loader(Sides(a=9, b=4), 3, seed=6), 9), "a")
    same = read(Loader(Sides(a=9, b=9), 9), 1)[0]
    assert same["a"] != same["b"]


def test_an_error_skips_nothing_on_any_side() -> None:
    expected = read(Loader(Sides(a=3, b=5), 2), 6)
    dataset = Sides(a=3, b=5)
    good = dataset.batch

    def bad(indices: Any) -> dict[str, Tensor]:
        raise OSError("gone")

    for workers in (0, 2):
        with Loader(dataset, 2, workers=workers) as loader:
            assert read(loader, 2) == expected[:2]
            loader.close()
            dataset.batch = bad  # type: ignore[method-assign]
            with pytest.raises(GankitError, match="OSError: gone"):
                loader.next()
            loader.close()
            dataset.batch = good  # type: ignore[method-assign]
            assert read(loader, 4) == expected[2:]


def test_the_number_of_pairs_is_no_burden() -> None:
    loader = Loader(Sides(a=300_000, b=200_003), 16)  # 6e10 pairs
    assert len(set(stream(read(loader, 20), "a"))) == 320


def test_other_streams_are_refused() -> None:
    state = Loader(Sides(a=3, b=5), 2).state_dict()
    with pytest.raises(UsageError, match="began with 5 samples of 'b' in the training split and there are now 6"):
        Loader(Sides(a=3, b=6), 2).load_state_dict(state)
    with pytest.raises(UsageError, match="began with the streams 'a', 'b' and there are now 'a', 'c'"):
        Loader(Sides(a=3, c=5), 2).load_state_dict(state)
    with pytest.raises(UsageError, match="the stream 'b' of the dataset's train split is empty"):
        Loader(Sides(a=3, b=0), 2)
    with pytest.raises(UsageError, match="train split is empty"):
        Loader(Sides(), 2)


def test_a_side_that_is_missing_from_the_batch_is_named() -> None:
    class Half(Sides):
        def batch(self, indices: Any) -> dict[str, Tensor]:
            return {"a": indices["a"].float()}

    with pytest.raises(GankitError, match="lacks the key 'b'"):
        Loader(Half(a=3, b=5), 2).next()


def test_a_dataset_without_a_length_is_told_so() -> None:
    class Endless(Sides):
        streams = Dataset.streams

    with pytest.raises(PluginError, match="Endless says nowhere how many samples it has: define __len__ or streams"):
        Loader(Endless(a=3), 2)
    assert len(Sides(a=3, b=5)) == 5
    assert torch.equal(Sides(a=3).batch({"a": torch.arange(2)})["a"], torch.arange(2.0))
