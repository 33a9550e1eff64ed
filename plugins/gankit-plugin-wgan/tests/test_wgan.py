"""The Wasserstein GAN: its bounds, turns, penalties and estimate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gankit_plugin_wgan import WGAN
from gankit_plugin_wgan.variant import WGANConfig
from pydantic import ValidationError
from safetensors.torch import load_file

import gankit
from gankit.errors import UsageError
from gankit.events import Saved
from gankit.plugin import DataSpec, Key
from gankit.run import Run

SMALL = {
    "steps": 3,
    "batch_size": 8,
    "sample_n": 4,
    "eval_every": 0,
    "g_width": 4,
    "d_width": 4,
    "many_turns": 2,
    "device": "cpu",  # where a second time is the same to the bit
}
PAPER = {"lipschitz": "clip", "batch_norm": True, "bias": False, "g_width": 64, "d_width": 64}
WAYS = ["clip", "gp", "approx"]
pytestmark = pytest.mark.usefixtures("one_thread")


def spec(channels: int = 1, height: int = 32, width: int = 32) -> DataSpec:
    return DataSpec(keys={"image": Key(kind="image", shape=(channels, height, width))})


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 32, 32), (3, 28, 28), (1, 8, 16), (3, 48, 64)])
def test_images_come_out_at_every_size_and_have_one_score(channels: int, height: int, width: int) -> None:
    networks = WGAN(WGANConfig(z=5, g_width=2, d_width=2)).networks(spec(channels, height, width))
    images = networks["generator"](torch.randn(3, 5))
    assert images.shape == (3, channels, height, width)
    assert images.abs().max() <= 1
    assert networks["critic"](images).shape == (3, 1)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 32, 32), (3, 28, 28), (1, 8, 16)])
@pytest.mark.parametrize("lipschitz", ["gp", "clip"])
def test_residual_networks_do_too(channels: int, height: int, width: int, lipschitz: str) -> None:
    options = {"z": 5, "g_width": 4, "d_width": 4, "network": "residual", "lipschitz": lipschitz}
    networks = WGAN(WGANConfig(**options)).networks(spec(channels, height, width))
    images = networks["generator"](torch.randn(3, 5))
    assert images.shape == (3, channels, height, width)
    scores = networks["critic"](images)
    assert scores.shape == (3, 1)
    assert len(scores.unique()) == 3


def test_the_residual_networks_have_the_parameters_of_the_paper_s() -> None:
    """Those of the authors' code for CIFAR-10 without labels, summed over its layers by hand."""
    networks = WGAN(WGANConfig(network="residual", z=128, g_width=128, d_width=128)).networks(spec(3))
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert counts == {"generator": 1_204_483, "critic": 1_053_825}
    with pytest.raises(ValidationError, match="residual critic has none"):
        WGANConfig(network="residual", lipschitz="clip", batch_norm=True)


def test_the_paper_s_have_its_parameters() -> None:
    networks = WGAN(WGANConfig(**PAPER)).networks(spec(3, 64, 64))
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert counts == {"generator": 3_576_704, "critic": 2_765_568}


def test_the_critic_has_no_norm_unless_it_is_asked_for() -> None:
    def norms(**options: object) -> int:
        critic = WGAN(WGANConfig(**options)).networks(spec())["critic"]
        return sum(isinstance(part, torch.nn.BatchNorm2d) for part in critic.modules())

    assert norms() == 0
    assert norms(lipschitz="clip", batch_norm=True) == 2
    with pytest.raises(ValidationError, match="batch_norm is for lipschitz clip"):
        WGANConfig(batch_norm=True)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (32, 30), (36, 33)])
def test_sides_that_do_not_halve_are_refused(height: int, width: int) -> None:
    with pytest.raises(UsageError, match="4 to 7 pixels"):
        WGAN(WGANConfig()).networks(spec(1, height, width))


def test_the_turns_are_the_paper_s() -> None:
    critic, generator = WGAN(WGANConfig(lipschitz="clip")).phases()
    assert [critic.repeat(index) for index in (0, 24, 25, 499, 500, 501, 1000)] == [100, 100, 5, 5, 100, 5, 100]
    assert (critic.optim.kind, critic.optim.lr, generator.optim) == ("rmsprop", 5e-5, critic.optim)
    critic, generator = WGAN(WGANConfig()).phases()
    assert (critic.repeat, critic.after, critic.optim.kind, critic.optim.lr_end) == (5, None, "adam", 0.0)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_checkpoint_s_critic_is_within_the_bound(batch_norm: bool, tmp_path: Path) -> None:
    """Also the first one, of before the first step; and the weights do come to the bound."""
    seen: list[float] = []

    def look(event: object) -> None:
        if isinstance(event, Saved):
            (file,) = tmp_path.glob(f"*/*/checkpoints/step-{event.step:06}/weights.safetensors")
            weights = load_file(file)
            trained = [v for k, v in weights.items() if k.startswith("critic.") and "running" not in k and v.dim()]
            seen.append(max(float(value.abs().max()) for value in trained))

    options = {**SMALL, "lipschitz": "clip", "batch_norm": batch_norm, "clip_optim__lr": 1e-3, "checkpoint_every": 1}
    gankit.train("wgan", out=tmp_path, on_event=look, **options)
    assert len(seen) == 4
    assert all(value == pytest.approx(0.01, rel=1e-6) and value <= 0.01 + 1e-9 for value in seen)


@pytest.mark.parametrize("preset", sorted(WGAN.presets))
def test_every_preset_runs_and_samples(preset: str, tmp_path: Path) -> None:
    size = {"paper": 64, "paper-gp": 28}.get(preset, 32)
    run = gankit.train("wgan", preset=preset, out=tmp_path, **{**SMALL, "steps": 2, "batch_size": 4})
    images = run.sample(3).images
    assert images.shape == (3, 1, size, size)
    assert torch.equal(images, run.sample(3).images)
    assert not torch.equal(images, run.sample(3, seed=1).images)


@pytest.mark.parametrize("way", WAYS)
def test_the_estimate_is_what_the_critic_says_of_both(way: str) -> None:
    variant = WGAN(WGANConfig(lipschitz=way, g_width=4, d_width=4))
    networks = {name: network.eval() for name, network in variant.networks(spec()).items()}
    images = torch.rand(9, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        batches = [{"image": images[:4]}, {"image": images[4:]}]
        measured = variant.measure(networks, batches, torch.Generator().manual_seed(2))
        source = torch.Generator().manual_seed(2)
        noise = torch.cat([torch.randn(4, 100, generator=source), torch.randn(5, 100, generator=source)])
        expected = networks["critic"](images).mean() - networks["critic"](networks["generator"](noise)).mean()
    assert measured["estimate"] == pytest.approx(float(expected), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_killed_and_resumed_is_the_run_never_stopped(way: str, resumes_exactly: Callable[..., Run]) -> None:
    resumes_exactly("wgan", **{**SMALL, "steps": 4, "lipschitz": way})


@pytest.mark.parametrize("way", ["gp", "approx"])
def test_a_penalty_holds_the_slope(way: str, tmp_path: Path) -> None:
    """With it the critic's slope at real images stays about 1 or below; without it grows past that."""
    slopes = []
    for penalty in (10.0, 0.0):
        options = {**SMALL, "steps": 60, "lipschitz": way, "penalty": penalty, "optim__lr": 1e-3, "data": {"size": 16}}
        run = gankit.train("wgan", out=tmp_path / str(penalty), **options)
        images = run.dataset("test").batch(torch.arange(50))["image"].float() / 127.5 - 1
        images.requires_grad_()
        (gradient,) = torch.autograd.grad(run.networks("latest")["critic"](images).sum(), images)
        slopes.append(float(gradient.flatten(1).norm(dim=1).mean()))
    assert slopes[0] < 2
    assert slopes[1] > 5 * slopes[0]


@pytest.mark.parametrize("way", ["gp", "approx"])
def test_16_bits_do(way: str, tmp_path: Path) -> None:
    """Finite differences are of digits that 16 bits do not have: their penalty stays that of float32."""
    first = []
    for precision in ("float32", "bf16"):
        options = {**SMALL, "steps": 1, "turns": 1, "lipschitz": way, "precision": precision, "log_every": 1}
        run = gankit.train("wgan", out=tmp_path / precision, **options)
        first.append(next(row["critic/penalty"] for row in run.log if "critic/penalty" in row))
    assert first[1] == pytest.approx(first[0], rel=0.05)


def test_it_learns(tmp_path: Path) -> None:
    """Samples have the data's mean image, nearly, and are not all the same."""
    options = {**SMALL, "steps": 200, "batch_size": 32, "g_width": 8, "d_width": 8, "sample_every": 0, "ema": 0.9}
    run = gankit.train("wgan", out=tmp_path, optim__lr=1e-3, turns=3, data={"size": 16}, **options)
    real = run.dataset().batch(torch.arange(1000))["image"].float() / 127.5 - 1
    drawn = run.sample(500).images
    assert (drawn.mean(0) - real.mean(0)).square().mean() < 0.06
    assert 0.3 < drawn.std(0).mean() / real.std(0).mean() < 1.3
