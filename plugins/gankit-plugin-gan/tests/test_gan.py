"""The GAN of two perceptrons: the counts of its networks, its two losses, its presets, and that it learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gankit_plugin_gan import GAN
from gankit_plugin_gan.mnist import Mnist, MnistConfig
from gankit_plugin_gan.variant import GANConfig
from torch import nn
from torch.nn import functional as F

import gankit
from gankit.plugin import DataSpec, Key, SampleRequest
from gankit.run import Run

SMALL = {"batch_size": 8, "sample_n": 10, "eval_every": 0, "g_hidden": (16,), "d_hidden": (16,), "data": {"size": 8}}


def spec(channels: int = 1, height: int = 28, width: int = 28) -> DataSpec:
    return DataSpec(keys={"image": Key(kind="image", shape=(channels, height, width))})


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("preset", ["default", "document"])
def test_networks_are_the_documents(preset: str) -> None:
    options = {key: value for key, value in GAN.presets[preset].items() if key in GANConfig.model_fields}
    networks = GAN(GANConfig(**options)).networks(spec())
    assert count(networks["generator"]) == 101 * 1024 + 1025 * 1024 + 1025 * 784 == 1_956_624
    assert count(networks["discriminator"]) == 785 * 256 + 257 * 256 + 257 == 267_009


def test_document_has_its_layers_and_nothing_else() -> None:
    options = {key: value for key, value in GAN.presets["document"].items() if key in GANConfig.model_fields}
    networks = GAN(GANConfig(**options)).networks(spec())
    kinds = {name: [type(layer).__name__ for layer in network] for name, network in networks.items()}
    assert kinds["generator"] == ["Linear", "ReLU", "Linear", "ReLU", "Linear", "Tanh", "Unflatten"]
    assert kinds["discriminator"] == ["Flatten", "Linear", "LeakyReLU", "Linear", "LeakyReLU", "Linear"]
    assert networks["discriminator"][2].negative_slope == 0.2


@pytest.mark.parametrize("prior", ["normal", "uniform"])
@pytest.mark.parametrize("given", [spec(), spec(3, 32, 32), spec(2, 5, 9)])
def test_draws_images_of_any_shape_from_either_prior(prior: str, given: DataSpec) -> None:
    variant = GAN(GANConfig(g_hidden=(8,), d_hidden=(), z=5, prior=prior))
    networks = variant.networks(given)
    request = SampleRequest(n=400, batch={}, generator=torch.Generator(), device=torch.device("cpu"), spec=given)
    codes = variant.codes(request)
    assert codes.shape == (400, 5)
    assert (codes.abs().max() <= 1) == (prior == "uniform")
    assert codes.std() == pytest.approx(1 if prior == "normal" else 3**-0.5, rel=0.05)
    images = variant.decode(networks, codes, request)
    assert images.shape == (400, *given.image_shape)
    assert images.abs().max() <= 1
    assert networks["discriminator"](images).shape == (400, 1)


def test_widths_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="each must be at least 1"):
        GANConfig(g_hidden=(16, 0))


class OneStep:
    """What the losses use of a step."""

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        self.networks, self.size, self.generator = networks, 6, torch.Generator().manual_seed(1)
        self.batch = {"image": torch.rand(6, 1, 4, 4, generator=self.generator) * 2 - 1}
        self.kept: dict[str, torch.Tensor] = {}
        self.logged: dict[str, float] = {}

    def shared(self, key: str, draw) -> torch.Tensor:  # type: ignore[no-untyped-def]
        return self.kept[key] if key in self.kept else self.kept.setdefault(key, draw())

    def augment(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def log(self, name: str, value: torch.Tensor) -> None:
        self.logged[name] = float(value)


@pytest.mark.parametrize("loss", ["saturating", "non-saturating"])
def test_losses_are_the_papers(loss: str) -> None:
    """Against log D and log(1 - D) as they are written; both forms of the generator's loss want D(G(z)) high."""
    variant = GAN(GANConfig(loss=loss, g_hidden=(8,), d_hidden=(8,), z=3, noise=0, dropout=0))
    step = OneStep(variant.networks(spec(1, 4, 4)))
    d, g = variant._discriminator(step)["loss"], variant._generator(step)["loss"]  # type: ignore[arg-type]
    judge = step.networks["discriminator"]
    real, fake = judge(step.batch["image"]).sigmoid(), judge(step.kept["fake"]).sigmoid()
    torch.testing.assert_close(d, -(real.log().mean() + (1 - fake).log().mean()))
    torch.testing.assert_close(g, (1 - fake).log().mean() if loss == "saturating" else -fake.log().mean())
    assert step.logged == pytest.approx({"D(x)": real.mean().item(), "D(G(z))": fake.mean().item()})
    (up,) = torch.autograd.grad(g, judge[-1].bias)
    assert up < 0


def test_r1_is_the_squared_slope_at_real_images() -> None:
    variant = GAN(GANConfig(r1=3.0, g_hidden=(8,), d_hidden=(8,), z=3, noise=0))
    step = OneStep(variant.networks(spec(1, 4, 4)))
    terms = variant._discriminator(step)
    image = step.batch["image"].clone().requires_grad_()
    (slope,) = torch.autograd.grad(step.networks["discriminator"](image).sum(), image)
    assert terms["r1"].item() == pytest.approx(1.5 * float(slope.square().sum((1, 2, 3)).mean()), rel=1e-5)
    without = GAN(GANConfig(r1=0, g_hidden=(8,), d_hidden=(8,), z=3, noise=0))
    assert without._discriminator(step)["loss"].item() == pytest.approx(terms["loss"].item())


def test_saturating_loss_has_no_gradient_left_where_d_is_sure() -> None:
    """The reason for the other form (section 3 of the paper), and that it is what it is called."""
    slopes = {}
    for loss in ("saturating", "non-saturating"):
        variant = GAN(GANConfig(loss=loss, g_hidden=(8,), d_hidden=(8,), z=3, noise=0, dropout=0))
        step = OneStep(variant.networks(spec(1, 4, 4)))
        nn.init.constant_(step.networks["discriminator"][-1].bias, -12)
        (slopes[loss],) = torch.autograd.grad(
            variant._generator(step)["loss"],  # type: ignore[arg-type]
            step.networks["discriminator"][-1].bias,
        )
    assert abs(slopes["saturating"]) < 1e-3 < 0.99 < abs(slopes["non-saturating"])


@torch.no_grad()
def test_jsd_is_the_divergence_that_the_discriminator_finds() -> None:
    """0 for one that knows nothing, log 2 for one that is always right, below 0 for one that is wrong."""

    class Judge(nn.Module):
        def __init__(self, sure: float) -> None:
            super().__init__()
            self.sure = sure

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.sure * images.mean((1, 2, 3)).sign().unsqueeze(1)

    variant = GAN(GANConfig(noise=0, z=2))
    batches = [{"image": torch.ones(n, 1, 2, 2)} for n in (5, 3)]
    for sure, expected in ((0.0, 0.0), (50.0, math.log(2)), (-2.0, math.log(2) - float(F.softplus(torch.tensor(2.0))))):
        drawn = nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (1, 2, 2)))
        nn.init.zeros_(drawn[0].weight)
        nn.init.constant_(drawn[0].bias, -1)
        found = variant.measure({"generator": drawn, "discriminator": Judge(sure)}, batches, torch.Generator())
        assert found["jsd"] == pytest.approx(expected, abs=1e-6)
    assert math.isnan(variant.measure({}, [], torch.Generator())["jsd"])


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("options", [{"preset": "default"}, {"preset": "document"}, {"loss": "saturating"}])
def test_every_preset_and_loss_runs_and_samples(options: dict[str, str], tmp_path: Path) -> None:
    run = gankit.train("gan", out=tmp_path, steps=2, eval_every=0, batch_size=4, sample_n=10, **options)
    assert run.sample(3).images.shape == (3, 1, 28, 28)
    assert {"discriminator/D(x)", "generator/loss"} <= {key for row in run.log for key in row}


def test_a_run_killed_and_resumed_is_the_run_never_stopped(resumes_exactly: Callable[..., Run]) -> None:
    resumes_exactly("gan", steps=6, r1=0.5, **SMALL)


@pytest.mark.usefixtures("one_thread")
def test_learns_to_draw_digits_of_every_kind(tmp_path: Path) -> None:
    """700 steps at 14x14: training images are near, those of most digits, which they are not before the first step."""
    digits = Mnist(MnistConfig(size=14))
    real = digits.batch(torch.arange(len(digits)))
    pixels = real["image"].flatten(1).float() / 127.5 - 1
    options = {"g_hidden": (256, 256), "optim": {"lr": 1e-3}, "data": {"size": 14}, "eval_every": 0, "sample_n": 10}
    near, shares = {}, torch.zeros(10)
    for steps in (1, 700):
        run = gankit.train("gan", out=tmp_path / str(steps), steps=steps, sample_every=0, ema=0.99, **options)
        images = run.sample(300).images
        far, row = torch.cdist(images.flatten(1), pixels).min(1)
        near[steps], shares = far.mean().item(), real["label"][row].bincount(minlength=10) / 300
    assert near[700] < near[1] / 2
    assert (shares > 0.01).sum() >= 8
    assert shares.max() < 0.4
