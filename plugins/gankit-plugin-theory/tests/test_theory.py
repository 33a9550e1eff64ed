from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gankit_plugin_theory import Theory
from gankit_plugin_theory.densities import Densities, DensitiesConfig
from gankit_plugin_theory.mixture import Mixture
from gankit_plugin_theory.variant import TheoryConfig
from PIL import Image
from pydantic import ValidationError

import gankit
from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key
from gankit.run import Run
from gankit.sampling.animation import animate

SMALL = {"steps": 20, "batch_size": 64, "sample_n": 50, "eval_every": 0}


def test_the_numbers_follow_the_mixture() -> None:
    data = Densities(DensitiesConfig(means=(-3.0, 3.0), deviations=(0.5, 0.1)))
    batch = data.batch(torch.arange(len(data)))
    x = batch["x"]
    assert x.shape == (100_000, 1)
    assert torch.equal(batch["component"], (x > 0).long().flatten())
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


def test_images_are_refused() -> None:
    with pytest.raises(UsageError, match="one number a sample"):
        Theory(TheoryConfig()).networks(DataSpec(keys={"x": Key(kind="image", shape=(1, 8, 8))}))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("preset", sorted(Theory.presets))
def test_numbers_are_drawn_and_the_picture_is_there(preset: str, tmp_path: Path) -> None:
    run = gankit.train("theory", preset=preset, out=tmp_path, **SMALL)
    assert run.sample(7).values.shape == (7, 1)
    assert animate(run.path, tmp_path / "moving.gif", "densities") == 2
    with Image.open(tmp_path / "moving.gif") as moving:
        assert (moving.n_frames, moving.size) == (2, (600, 450))


def test_a_run_killed_and_resumed_is_the_run_never_stopped(resumes_exactly: Callable[..., Run]) -> None:
    resumes_exactly("theory", **SMALL)


@pytest.mark.usefixtures("one_thread")
def test_the_picture_is_of_what_the_numbers_are_drawn_from(tmp_path: Path) -> None:
    """Not of what the few that are shown suggest."""
    options = {"data": {"means": (-2.0, 2.0), "deviations": (0.5, 0.25)}, "steps": 1, "eval_every": 0}
    run = gankit.train("theory", out=tmp_path, **options)
    mixture = Mixture.kept(run.networks()["mixture"])
    assert mixture.weights.tolist() == [0.5, 0.5]
    assert mixture.means.tolist() == [-2, 2]
    assert mixture.deviations.tolist() == [0.5, 0.25]


def test_it_comes_near_the_end_of_the_game(tmp_path: Path) -> None:
    run = gankit.train("theory", out=tmp_path, **{**SMALL, "steps": 600, "batch_size": 256, "sample_every": 0})
    metrics = run.evaluate(1000)["metrics"]
    assert metrics["jsd"] < 0.05
    assert metrics["d_error"] < 0.1
    assert metrics["v_error"] < 0.1
    assert metrics["covered"] == 1
