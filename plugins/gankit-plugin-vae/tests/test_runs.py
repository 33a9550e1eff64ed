"""Both variants as runs: presets, files, resuming, and that they learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gankit_plugin_vae import AE, VAE

import gankit
from gankit.errors import UsageError
from gankit.run import Run

SMALL = {"steps": 4, "batch_size": 8, "sample_n": 4, "eval_every": 0, "device": "cpu"}
NARROW = {"ae": {"width": 4}, "vae": {"hidden": 16}}
PRESETS = [(name, preset) for name, variant in (("ae", AE), ("vae", VAE)) for preset in variant.presets]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_preset_runs_and_samples(name: str, preset: str, tmp_path: Path) -> None:
    run = gankit.train(name, preset=preset, out=tmp_path, **{**SMALL, "steps": 2})
    images = run.sample(5).images
    assert images.shape == (5, 1, 28, 28)
    assert torch.equal(images, run.sample(5).images)
    assert not torch.equal(images, run.sample(5, seed=1).images)


@pytest.mark.parametrize("name", ["ae", "vae"])
def test_images_are_reconstructed_and_what_lies_between_them_drawn(name: str, tmp_path: Path) -> None:
    run = gankit.train(name, out=tmp_path, **SMALL, **NARROW[name])
    images = list(run.dataset("test").batch(torch.arange(3))["image"].float() / 127.5 - 1)
    back = run.reconstruct(images).images
    between = run.interpolate(images[:2], frames=3).images
    assert between.shape == (3, 1, 28, 28)
    torch.testing.assert_close(between[[0, 2]], back[:2], rtol=1e-3, atol=1e-3)
    assert not torch.equal(between[0], between[2])
    assert run.interpolate(rows=2, frames=4).images.shape == (8, 1, 28, 28)


@pytest.mark.parametrize("name", ["ae", "vae"])
def test_a_run_killed_and_resumed_is_the_run_never_stopped(name: str, resumes_exactly: Callable[..., Run]) -> None:
    resumes_exactly(name, **SMALL, **NARROW[name])


@pytest.mark.parametrize("name", ["ae", "vae"])
def test_colours_and_odd_sizes_are_served(name: str, tmp_path: Path) -> None:
    """One pixel more than 28, and three channels: what is drawn is of the data's size."""
    run = gankit.train(name, _Noise(_Noise.Config()), out=tmp_path, **SMALL, **NARROW[name])
    assert run.sample(2).images.shape == (2, 3, 29, 17)


def test_data_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="image"):
        gankit.train("vae", "densities", out=tmp_path, **SMALL)


@pytest.mark.parametrize(("name", "steps"), [("ae", 800), ("vae", 400)])
def test_it_learns(name: str, steps: int, tmp_path: Path) -> None:
    """Better than the mean image, which is the first that it learns, and by far."""
    options = {**SMALL, "batch_size": 32, "sample_every": 0, "ema": 0.9, **({"width": 16} if name == "ae" else {})}
    run = gankit.train(name, out=tmp_path, **{**options, "steps": steps})
    error = run.evaluate(20, metrics=["squared_error"])["metrics"]["squared_error"]
    images = run.dataset("test").batch(torch.arange(300))["image"].float() / 127.5 - 1
    assert error < 0.75 * float((images - images.mean(0)).square().mean())


class _Noise(gankit.plugin.Dataset):
    """Coloured noise of an odd size."""

    spec = gankit.plugin.DataSpec(keys={"image": gankit.plugin.Key(kind="image", shape=(3, 29, 17))})

    def __len__(self) -> int:
        return 16

    def batch(self, indices: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = torch.arange(3 * 29 * 17).view(1, 3, 29, 17) * (indices.view(-1, 1, 1, 1) + 3)
        return {"image": (rows % 256).to(torch.uint8)}
