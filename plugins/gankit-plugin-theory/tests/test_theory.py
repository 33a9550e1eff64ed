from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from gankit_plugin_theory import Theory
from gankit_plugin_theory.densities import Densities, DensitiesConfig
from gankit_plugin_theory.measures import compare, density, edges, jensen_shannon
from gankit_plugin_theory.variant import TheoryConfig
from pydantic import ValidationError

import gankit
from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key

SMALL = {"steps": 20, "batch_size": 64, "sample_n": 50, "eval_every": 0}


def test_the_numbers_follow_the_mixture() -> None:
    data = Densities(DensitiesConfig(means=(-3.0, 3.0), deviations=(0.5, 0.1)))
    x = data.batch(torch.arange(len(data)))["x"]
    assert x.shape == (20_000, 1)
    low, high = x[x < 0], x[x > 0]
    assert len(low) / len(x) == pytest.approx(0.5, abs=0.02)
    assert (low.mean(), low.std()) == (pytest.approx(-3, abs=0.02), pytest.approx(0.5, abs=0.02))
    assert (high.mean(), high.std()) == (pytest.approx(3, abs=0.01), pytest.approx(0.1, abs=0.01))
    other = Densities(DensitiesConfig(means=(-3.0, 3.0), deviations=(0.5, 0.1)), "test")
    assert len(other) == 20_000
    assert not torch.equal(other.batch(torch.arange(50))["x"], data.batch(torch.arange(50))["x"])


@pytest.mark.parametrize("wrong", [{"means": ()}, {"deviations": (1.0, 2.0)}, {"deviations": (0.0,)}])
def test_a_mixture_that_is_none_is_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError, match=r"give|greater"):
        DensitiesConfig(**wrong)


def test_jensen_shannon_at_its_ends() -> None:
    p = torch.tensor([0.5, 0.5, 0.0, 0.0], dtype=torch.float64)
    assert jensen_shannon(p, p) == 0
    assert jensen_shannon(p, p.flip(0)) == pytest.approx(math.log(2))


def test_a_density_counts_what_lies_outside() -> None:
    borders = edges(torch.tensor([[0.0], [1.0]]), 4)
    assert density(torch.tensor([[-9.0], [0.1], [9.0], [9.0]]), borders).tolist() == [0.5, 0, 0, 0.5]


def test_the_ideal_pair_has_no_error() -> None:
    """The same numbers on both sides, and D = 1/2 everywhere: the end of the game."""
    x = torch.randn(5000, 1, generator=torch.Generator().manual_seed(0))
    measured = compare(x, x, lambda points: torch.zeros(len(points), 1), 50)
    assert measured["jsd"] == 0
    assert measured["d_error"] == pytest.approx(0, abs=1e-12)
    assert measured["v_error"] == pytest.approx(0, abs=1e-6)


def test_a_blind_discriminator_is_seen_to_be_wrong() -> None:
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(5000, 1, generator=generator) + shift for shift in (0, 4))
    measured = compare(real, fake, lambda points: torch.zeros(len(points), 1), 50)
    assert measured["jsd"] > 0.5
    assert measured["d_error"] > 0.4


def test_images_are_refused() -> None:
    with pytest.raises(UsageError, match="one number a sample"):
        Theory(TheoryConfig()).networks(DataSpec(keys={"x": Key(kind="image", shape=(1, 8, 8))}))


@pytest.mark.usefixtures("one_thread")
def test_numbers_are_drawn_and_the_picture_is_there(tmp_path: Path) -> None:
    run = gankit.train("theory", out=tmp_path, **SMALL)
    samples = run.sample(7)
    assert samples.values.shape == (7, 1)
    picture = run.path / "samples" / "000020-densities.png"
    assert picture.stat().st_size > 5000


@pytest.mark.usefixtures("one_thread")
def test_it_comes_near_the_end_of_the_game(tmp_path: Path) -> None:
    run = gankit.train("theory", out=tmp_path, **{**SMALL, "steps": 600, "batch_size": 256, "sample_every": 0})
    metrics = run.evaluate(1000)["metrics"]
    assert metrics["jsd"] < 0.05
    assert metrics["d_error"] < 0.15
    assert metrics["v_error"] < 0.15
