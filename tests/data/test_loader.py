from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from torch import Tensor

from gankit.data.loader import Loader, check_batch, permutation
from gankit.errors import GankitError, UsageError
from gankit.plugin import Config, Dataset, DataSpec, Key

if TYPE_CHECKING:
    from gankit.plugin import Batch

CLASSES = tuple(map(str, range(1000)))
SPEC = DataSpec(keys={"image": Key(kind="image", shape=(1, 2, 2)), "label": Key(kind="class", names=CLASSES)})


class Numbers(Dataset[Any]):
    """Sample i has the label i."""

    spec = SPEC

    def __init__(self, length: int, pause: float = 0.0) -> None:
        super().__init__(Config())
        self.length, self.pause = length, pause
        self.fails: set[int] = set()

    def __len__(self) -> int:
        return self.length

    def batch(self, indices: Tensor) -> Batch:
        time.sleep(self.pause * torch.rand(1).item())
        if bad := self.fails & set(indices.tolist()):
            raise OSError(f"file{min(bad)}.png is broken")
        return {"image": torch.zeros(len(indices), 1, 2, 2, dtype=torch.uint8), "label": indices.clone()}


def labels(loader: Loader, batches: int) -> list[list[int]]:
    return [loader.next()["label"].tolist() for _ in range(batches)]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize(("length", "size"), [(10, 4), (10, 5), (10, 10), (3, 8), (1, 4), (7, 1), (5, 15)])
def test_full_batches_through_epoch_after_epoch(length: int, size: int, workers: int) -> None:
    with Loader(Numbers(length, 0.002), size, seed=3, workers=workers) as loader:
        seen = labels(loader, 3 * length)
    assert {len(batch) for batch in seen} == {size}
    stream = [label for batch in seen for label in batch]
    assert len(stream) == 3 * length * size
    for epoch in range(3 * size):
        assert stream[epoch * length : (epoch + 1) * length] == permutation(length, 3, epoch).tolist()


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {tuple(permutation(20, seed, epoch).tolist()) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16
    assert all(sorted(order) == list(range(20)) for order in orders)


def test_the_order_of_an_epoch_is_the_same_for_good() -> None:
    """Else a run that is resumed after an update of gankit would see its samples in another order."""
    assert permutation(6, 3, 0).tolist() == [2, 5, 1, 4, 0, 3]
    assert permutation(9, 0, 5).tolist() == [6, 0, 7, 8, 2, 5, 4, 1, 3]
    assert permutation(6, 3, 0, "").tolist() != permutation(6, 3, 0, "a").tolist()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("length", "size"), [(10, 4), (3, 8), (8, 4)])
def test_a_resumed_stream_is_the_same(length: int, size: int, workers: int) -> None:
    for stop in range(7):
        whole = Loader(Numbers(length), size, seed=1, workers=workers)
        labels(whole, stop)
        state = json.loads(json.dumps(whole.state_dict()))
        expected = labels(whole, 6)
        resumed = Loader(Numbers(length), size, seed=1, workers=2 - workers)
        labels(resumed, 2)
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        assert labels(resumed, 6) == expected
        whole.close()
        resumed.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_out_of_next_and_nothing_is_skipped(workers: int) -> None:
    dataset = Numbers(12)
    expected = labels(Loader(Numbers(12), 4), 6)
    dataset.fails = {expected[1][0]}
    with Loader(dataset, 4, workers=workers) as loader:
        assert labels(loader, 1) == expected[:1]
        for _ in range(2):
            with pytest.raises(GankitError, match=rf"OSError: file{expected[1][0]}\.png is broken"):
                loader.next()
        dataset.fails = set()
        assert labels(loader, 5) == expected[1:]


def test_a_changed_dataset_or_seed_is_refused() -> None:
    state = Loader(Numbers(10), 4, seed=1).state_dict()
    with pytest.raises(UsageError, match="10 samples in the training split and there are now 11"):
        Loader(Numbers(11), 4, seed=1).load_state_dict(state)
    with pytest.raises(UsageError, match="began with 1 as the loader's seed"):
        Loader(Numbers(10), 4, seed=2).load_state_dict(state)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "damaged: its seed is None"),
        ({}, "damaged: its seed is None"),
        ({"seed": True}, "damaged: its seed is True"),
        ({"seed": 1}, "damaged: its streams are None"),
        ({"seed": 1, "streams": [0]}, r"damaged: its streams are \[0\]"),
        ({"seed": 1, "streams": {}}, "began with the streams  and there are now ''"),
        ({"seed": 1, "streams": {"": 3}}, "damaged: its length is None"),
        ({"seed": 1, "streams": {"": {"length": "10"}}}, "damaged: its length is '10'"),
        ({"seed": 1, "streams": {"": {"length": 10, "epoch": 1.0}}}, "damaged: its epoch is 1.0"),
        ({"seed": 1, "streams": {"": {"length": 10, "epoch": 1, "position": -1}}}, "damaged: its position is -1"),
        ({"seed": 1, "streams": {"": {"length": 10, "epoch": 1, "position": 11}}}, "damaged: its position is 11 of 10"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(state: Any, message: str) -> None:
    loader = Loader(Numbers(10), 4, seed=1)
    before = loader.state_dict()
    with pytest.raises(UsageError, match=message):
        loader.load_state_dict(state)
    assert loader.state_dict() == before


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="train split is empty"):
        Loader(Numbers(0), 4)
    with pytest.raises(UsageError, match="batch_size must be at least 1, got 0"):
        Loader(Numbers(3), 0)
    with pytest.raises(UsageError, match="workers must be at least 0, got -1"):
        Loader(Numbers(3), 4, workers=-1)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("label", None, "lacks the key 'label'"),
        ("label", torch.zeros(2, dtype=torch.int32), "'label' is int32"),
        ("label", torch.tensor([0, 1000]), "'label' has classes 0 to 1000; there are 1000"),
        ("label", [0, 1], "'label' is a list, not a tensor"),
        ("image", torch.zeros(2, 1, 2, 3, dtype=torch.uint8), r"\(2, 1, 2, 3\); its spec says uint8 \(2, 1, 2"),
        ("image", torch.zeros(2, 1, 2, 2), "'image' is float32"),
    ],
)
def test_a_batch_unlike_its_spec_is_refused(key: str, value: Any, message: str) -> None:
    batch = Numbers(2).batch(torch.arange(2))
    check_batch(batch, SPEC, 2)
    batch.pop(key)
    if value is not None:
        batch[key] = value
    with pytest.raises(GankitError, match=message):
        check_batch(batch, SPEC, 2)
    check_batch(batch, SPEC, 2, SPEC.keys.keys() - {key})
    with pytest.raises(GankitError, match="is a NoneType, not a dict"):
        check_batch(None, SPEC, 2)  # type: ignore[arg-type]


def test_no_threads_for_what_is_in_memory_and_none_left_over() -> None:
    held = Numbers(8)
    held.in_memory = True
    before = threading.active_count()
    loader = Loader(held, 4, workers=2)
    loader.next()
    assert threading.active_count() == before
    loader = Loader(Numbers(8), 4, workers=2)
    loader.next()
    assert threading.active_count() > before
    loader.close()
    assert threading.active_count() == before
    loader.next()  # it may go on after all
    del loader
    gc.collect()
    for _ in range(100):
        if threading.active_count() == before:
            break
        time.sleep(0.02)
    assert threading.active_count() == before


def test_the_program_ends_with_a_loader_left_open() -> None:
    code = """
import sys; sys.path[:0] = {path!r}
from test_loader import Numbers
from gankit.data.loader import Loader
loader = Loader(Numbers(100, 0.01), 4, workers=3)
loader.next()
"""
    program = code.format(path=[__file__.rsplit("/", 1)[0], *sys.path])
    done = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


class Lean(Numbers):
    """Nothing but a dictionary of what is held."""

    held: ClassVar[Batch] = {
        "image": torch.zeros(128, 1, 2, 2, dtype=torch.uint8),
        "label": torch.zeros(128, dtype=torch.int64),
    }

    def batch(self, indices: Tensor) -> Batch:
        return self.held


def test_handing_over_a_batch_takes_few_calls() -> None:
    """The step of a small network takes a millisecond: the loader may not take a noticeable part of it. Calls are
    counted, of Python and of C, since times are those of the machine: a batch takes some microseconds."""
    loader = Loader(Lean(1000), 128)
    loader.next()
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for _ in range(20):
            loader.next()
    finally:
        sys.setprofile(before)
    assert calls <= 20 * 12


def test_the_example_of_the_documentation_loads() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.split("```python")[1].split("```")[0], names)
    for split in ("train", "test"):
        dataset = names["Squares"](Config(), split)
        assert 16 / 255 <= Loader(dataset, 200).next()["image"].float().mean() < 255
