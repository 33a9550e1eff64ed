"""The measurement: what it compares, and that it can tell a slow step from a fast one."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from gankit.bench.step import bench_step, compare, minimal_loop
from gankit.plugin import Config, Dataset, DataSpec, Key, Phase, Variant


class Dots(Dataset[Config]):
    """Random squares."""

    in_memory = True

    @property
    def spec(self) -> DataSpec:
        return DataSpec(keys={"image": Key(kind="image", shape=(1, 4, 4))})

    def __len__(self) -> int:
        return 32

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        return {"image": indices.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()}


class Line(Variant[Config]):
    """One layer."""

    dataset = "dots"

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        return {"net": nn.Sequential(nn.Flatten(), nn.Linear(16, 1))}

    def phases(self) -> Sequence[Phase]:
        def loss(step):
            return {"square": step.networks["net"](step.batch["image"]).square().mean()}

        return [Phase(name="only", updates=("net",), loss=loss, repeat=2)]

    def sample(self, networks, request):
        return torch.zeros(request.n, 1, 4, 4)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread: None) -> None:
    """For all tests here."""


@pytest.fixture
def session():
    from gankit.api import make_session

    session = make_session(Line, Dots(Config()), batch_size=4, device="cpu")
    session.begin()
    return session


def test_a_row_says_what_was_measured():
    row = bench_step(Line, Dots(Config()), rounds=2, batch_size=4, device="cpu")
    assert (row["variant"], row["dataset"], row["against"], row["batch_size"]) == ("line", "dots", "minimal_loop", 4)
    assert row["trainer_ms"] > 0
    assert row["ratio"] > 0
    assert row["torch"] == torch.__version__


def test_what_has_no_images_is_measured_too():
    row = bench_step("theory", rounds=2, batch_size=4, device="cpu")
    assert row["image"] is None
    assert row["ratio"] > 0


def test_the_minimal_loop_trains_as_the_trainer_does(session):
    loop = minimal_loop(session)
    other = next(c.cell_contents for c in loop.__closure__ if type(c.cell_contents) is type(session))
    for index in range(5):
        session.train_step(index)
        loop(index)
    for a, b in zip(session.networks["net"].parameters(), other.networks["net"].parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_slow_loop_shows(session):
    slow = compare(session, lambda index: time.sleep(0.02), rounds=3, seconds=0.05)
    fast = compare(session, lambda index: time.sleep(1e-5), rounds=3, seconds=0.005)
    assert 4 * slow["ratio"] < fast["ratio"]
