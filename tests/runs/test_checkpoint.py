"""A checkpoint is whole or not there, and what was written comes back."""

from __future__ import annotations

import contextlib
import errno
import json
import os

import pytest
import torch
from checkpoint_helpers import content, state
from torch import nn

from gankit.errors import GankitError
from gankit.runs import checkpoint, tensor_folder
from gankit.runs.checkpoint import Checkpoint, DamagedCheckpoint
from gankit.runs.directory import RunDir
from gankit.training.networks import Weights, by_network, load_weights


@pytest.fixture
def run(tmp_path):
    run = RunDir.create(tmp_path, "v", "d")
    (run.path / "config.toml").write_text("")
    return run


AWKWARD = {
    "scalar": torch.tensor(3.5),
    "empty": torch.empty(0, 4),
    "int": torch.tensor([1, 2**40]),
    "bool": torch.tensor([True, False]),
    "bf16": torch.randn(3).bfloat16(),
    "half": torch.randn(3).half(),
    "double": torch.randn(3, dtype=torch.float64),
    "transposed": torch.randn(3, 4).t(),
    "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "slice": torch.randn(10)[3:5],
    "expanded": torch.randn(1).expand(4),
    "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
}


def raw(tensor: torch.Tensor) -> list[int]:
    """The bytes: NaN and -0 count."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def test_every_kind_of_tensor_comes_back(tmp_path):
    checkpoint.write(tmp_path / "c", Checkpoint(step=1, tensors={"weights": AWKWARD}, state=state()))
    back = checkpoint.read(tmp_path / "c").tensors["weights"]
    assert set(back) == set(AWKWARD)
    for name, value in AWKWARD.items():
        assert back[name].dtype is value.dtype, name
        assert back[name].shape == value.shape, name
        assert raw(back[name]) == raw(value), name


def test_tied_and_aliased_weights_come_back_and_stay_tied(tmp_path):
    a = nn.Linear(3, 3)
    b = nn.Linear(3, 3)
    b.weight = a.weight
    flat = nn.Module()
    flat.register_buffer("all", torch.randn(6))
    flat.register_buffer("part", flat.all[2:4])
    networks = {"a": a, "b": b, "flat": flat}
    checkpoint.write(
        tmp_path / "c", Checkpoint(step=1, tensors={"weights": Weights(networks).state_dict()}, state=state())
    )
    expected = {name: {k: v.clone() for k, v in net.state_dict().items()} for name, net in networks.items()}
    with torch.no_grad():
        a.weight.zero_()
        flat.all.zero_()
    for name, tensors in by_network(checkpoint.read(tmp_path / "c").tensors["weights"]).items():
        load_weights(networks[name], tensors, name)
    assert a.weight is b.weight
    for name, tensors in expected.items():
        for key, value in tensors.items():
            assert torch.equal(networks[name].state_dict()[key], value)


def test_nothing_is_pickled(run):
    run.save(content(), keep=2)
    for path in (run.store / "step-000005").iterdir():
        assert path.suffix in (".safetensors", ".json")
    json.loads((run.store / "step-000005" / "state.json").read_text())
    assert (run.store / "latest").read_text() == "step-000005\n"


@pytest.mark.parametrize("name", ["weights.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "empty"])
def test_damage_is_found_and_named_with_the_newest_intact(run, name, damage):
    run.save(content(5), keep=2)
    run.save(content(10), keep=2)
    path = run.store / "step-000010" / name
    data = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes({"truncate": data[: len(data) // 2], "flip": data, "empty": b""}[damage])
    with pytest.raises(DamagedCheckpoint) as caught:
        run.load("latest")
    assert str(path) in str(caught.value)
    assert "newest intact checkpoint is step-000005" in str(caught.value)
    told = []
    assert run.newest_intact(told.append) == "step-000005"
    assert len(told) == 1
    assert str(path) in told[0]


def test_a_later_format_is_refused_not_called_damaged(run):
    run.save(content(), keep=1)
    path = run.store / "step-000005" / "state.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 99'))
    with pytest.raises(GankitError, match="checkpoint format 99; this gankit reads 2"):
        run.load("latest")


@pytest.mark.parametrize("call", range(1, 7))
def test_a_full_disk_leaves_the_last_checkpoint(run, monkeypatch, call):
    """The n-th sync fails, whichever that is: weights, state, folder, parent, pointer."""
    run.save(content(5), keep=2)
    calls = 0
    real = os.fsync

    def full(handle):
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GankitError, match=r"saving step 10 failed: .*No space left on device(.|\n)*gankit resume"):
        run.save(content(10), keep=2)
    monkeypatch.undo()
    assert run.newest_intact() in ("step-000005", "step-000010")
    assert run.load("step-000005").step == 5
    run.clean()
    assert not [p for p in run.store.iterdir() if p.name.startswith(".tmp")]


def test_a_checkpoint_is_not_there_until_it_is_whole(run, monkeypatch):
    def seen(path):
        assert not (run.store / "step-000005").exists()

    monkeypatch.setattr(tensor_folder, "sync", lambda path: None if path == run.store else seen(path))
    checkpoint.write(run.store / "step-000005", content())
    assert (run.store / "step-000005").exists()


def test_a_damaged_checkpoint_of_the_same_step_is_replaced(run):
    run.save(content(), keep=2)
    (run.store / "step-000005" / "weights.safetensors").write_bytes(b"x")
    run.save(content(), keep=2)
    assert run.load("latest").step == 5


CALLS = ("rename", "replace", "mkdir", "rmdir", "unlink", "fsync")
"""What changes a directory, or waits for the disk."""


def count_calls(monkeypatch, stop_at: int, error: BaseException | None) -> list[str]:
    """Has the `stop_at`-th of `CALLS` raise `error` instead of doing anything; the names of those that were made."""
    made: list[str] = []

    def counted(name, real):
        def call(*args, **kwargs):
            made.append(name)
            if len(made) == stop_at and error is not None:
                raise error
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    return made


class Killed(BaseException):
    """As nothing catches a kill."""


@pytest.mark.parametrize("error", [Killed(), OSError(errno.EIO, os.strerror(errno.EIO))], ids=["killed", "failing"])
def test_one_that_is_replaced_is_there_at_every_moment(run, monkeypatch, error):
    """Whichever system call is the last: the old checkpoint or the new one, whole, before and after tidying up."""

    def replacement() -> Checkpoint:
        return Checkpoint(step=5, tensors={"weights": {"g.w": torch.full((6,), 7.0)}}, state=state())

    def found() -> str:
        (name,) = run.checkpoints()
        assert (name, run.newest_intact(), run.latest) == ("step-000005",) * 3
        value = run.load("latest").tensors["weights"]["g.w"][0].item()
        return {5.0: "old", 7.0: "new"}[value]

    run.save(content(), keep=2)
    with monkeypatch.context() as patch:
        made = count_calls(patch, 0, None)
        run.save(content(), keep=2)
        total = len(made)
    assert {"rename", "replace", "rmdir", "fsync"} <= set(made)
    ends = []
    for number in range(1, total + 1):
        run.save(content(), keep=2)
        with monkeypatch.context() as patch:
            count_calls(patch, number, error)
            with contextlib.suppress(Killed, GankitError):
                run.save(replacement(), keep=2)
        ends.append(found())
        run.clean()
        assert found() == ends[-1]
        assert not [p for p in run.store.iterdir() if p.name.startswith(".")]
    assert ends == sorted(ends, reverse=True)  # old until some moment, new from then on
    assert set(ends) == {"old", "new"}


def test_the_newest_and_the_best_are_kept(run):
    for step in (0, 5, 10, 15, 20):
        run.save(content(step), keep=2, best=step == 5)
    assert run.checkpoints() == ["step-000005", "step-000015", "step-000020"]
    assert (run.best, run.latest) == ("step-000005", "step-000020")
    assert run.resolve("best") == "step-000005"
    assert run.resolve("15") == run.resolve("step-000015") == "step-000015"


def test_pruning_leaves_everything_else_alone(run):
    for name in ("step-mine", "notes.txt", "step-000003-copy"):
        (run.store / name).mkdir()
    run.save(content(0), keep=1)
    run.save(content(5), keep=1)
    assert {p.name for p in run.store.iterdir()} == {
        *("step-mine", "notes.txt", "step-000003-copy"),
        *("step-000005", "latest"),
    }


def test_a_million_steps_sort_by_number(run):
    for step in (999_999, 1_000_000, 20):
        checkpoint.write(run.store / f"step-{step:06d}", content(step))
    assert run.checkpoints()[-1] == "step-1000000"


def test_best_without_a_metric_is_the_latest(run):
    run.save(content(5), keep=2)
    assert run.best is None
    assert run.resolve("best") == "step-000005"
    with pytest.raises(GankitError, match=r"no checkpoint '7'. It has best, latest, step-000005"):
        run.resolve("7")
