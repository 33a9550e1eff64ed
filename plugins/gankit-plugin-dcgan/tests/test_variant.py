from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gankit_plugin_dcgan
import pytest
import torch
from gankit_plugin_dcgan import DCGAN
from gankit_plugin_dcgan.folder import Folder
from torch import Tensor

import gankit.api
from gankit.data.images import decode
from gankit.discovery.entry_points import load_dataset
from gankit.errors import UsageError
from gankit.options.resolve import resolve
from gankit.plugin import DataSpec, Key, SampleRequest, Step
from gankit.run import Run

ALL = ("color", "translation", "cutout")
TINY = {"g_width": 4, "d_width": 4, "batch_size": 4, "sample_n": 4, "log_every": 1}


class OneStep(Step):
    """A step with a batch of noise, which counts augmentations."""

    def __init__(self, variant: DCGAN, size: int = 6) -> None:
        spec = DataSpec(keys={"image": Key(kind="image", shape=(3, 16, 16))})
        self.index, self.size, self.device = 0, size, torch.device("cpu")
        self.networks = variant.networks(spec)
        self.generator = torch.Generator().manual_seed(0)
        self.kept: dict[str, Any] = {}
        self.augmented = 0
        self.images = torch.rand(size, 3, 16, 16) * 2 - 1

    @property
    def batch(self) -> dict[str, Tensor]:
        return {"image": self.images}

    def noise(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def shared(self, key: str, draw: Callable[[], Any]) -> Any:
        if key not in self.kept:
            self.kept[key] = draw()
        return self.kept[key]

    def log(self, name: str, value: Tensor) -> None:
        raise AssertionError("nothing is logged")

    def augment(self, images: Tensor) -> Tensor:
        self.augmented += 1
        return images


@pytest.mark.parametrize("loss", ["bce", "lsgan", "hinge"])
def test_each_phase_has_gradients_for_its_own_network(loss: str) -> None:
    variant = DCGAN(DCGAN.Config(loss=loss, g_width=4, d_width=4))
    step = OneStep(variant)
    for phase, augmented in zip(variant.phases(), (2, 3), strict=True):
        (term,) = phase.loss(step).values()
        assert term.shape == ()
        own = list(step.networks[phase.updates[0]].parameters())
        gradients = torch.autograd.grad(term, own)
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
        assert step.augmented == augmented  # all that the discriminator sees


def test_bce_losses_are_those_of_the_formula() -> None:
    variant = DCGAN(DCGAN.Config(g_width=4, d_width=4))
    step = OneStep(variant)
    discriminator, generator = variant.phases()
    d, g = discriminator.loss(step)["d"], generator.loss(step)["g"]
    network = step.networks["discriminator"].train()
    real, fake = network(step.images), network(step.kept["fake"])
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    torch.testing.assert_close(d, bce(real, torch.ones(6)) + bce(fake, torch.zeros(6)))
    torch.testing.assert_close(g, bce(fake, torch.ones(6)))


def test_the_generator_takes_its_turns_with_the_same_noise() -> None:
    variant = DCGAN(DCGAN.Config(g_turns=3, g_width=4, d_width=4))
    discriminator, first, *more = variant.phases()
    assert [phase.shares for phase in more] == ["generator", "generator"]
    step = OneStep(variant)
    discriminator.loss(step)
    noise = step.kept["noise"]
    assert torch.equal(first.loss(step)["g"], more[0].loss(step)["g"])  # nothing has stepped in between
    with torch.no_grad():
        step.networks["generator"].layers[0].weight.neg_()  # twice as much would be the same to its batch norm
    assert not torch.equal(first.loss(step)["g"], more[0].loss(step)["g"])  # drawn anew by what the generator now is
    assert step.kept["noise"] is noise


@pytest.mark.parametrize(("noise", "most"), [("normal", 6.0), ("uniform", 1.0)])
def test_noise_is_of_the_kind_asked_for(noise: str, most: float) -> None:
    seen: list[Tensor] = []

    def generator(z: Tensor) -> Tensor:
        seen.append(z)
        return torch.zeros(len(z), 3, 16, 16)

    variant = DCGAN(DCGAN.Config(noise=noise))
    for _ in range(2):
        there = torch.Generator().manual_seed(1)
        request = SampleRequest(n=400, batch={}, generator=there, device=torch.device("cpu"), spec=DataSpec(keys={}))
        variant.sample({"generator": generator}, request)  # type: ignore[dict-item]
    assert torch.equal(*seen)
    assert most / 2 < seen[0].abs().max() <= most
    assert abs(seen[0].std() - (1 if noise == "normal" else 3**-0.5)) < 0.02


@pytest.mark.parametrize("preset", sorted(DCGAN.presets))
@pytest.mark.parametrize("dataset", ["folder", "digits", "emoji-faces"])
def test_every_preset_resolves_and_builds(roses: Path, preset: str, dataset: str) -> None:
    dataset_class = load_dataset(dataset)
    options = {"data.root": str(roses)} if dataset == "folder" else {}
    resolved = resolve(DCGAN, dataset_class, variant="dcgan", dataset=dataset, preset=preset, options=options)
    spec = dataset_class(resolved.data).spec
    assert set(DCGAN(resolved.options).networks(spec)) == {"generator", "discriminator"}


def test_options_can_be_listed_without_torch() -> None:
    code = "import sys, gankit_plugin_dcgan.folder; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_sixty_seven_images_to_samples(roses: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    run = gankit.api.train(
        "dcgan",
        "folder",
        data={"root": str(roses), "size": 16},
        steps=3,
        eval_every=2,
        eval_n=8,
        out=tmp_path,
        augment={"flip": True, "crop": 0.125, "diff": ALL},
        on_event=lambda event: lines.append(str(event)),
        **TINY,
    )
    told = next(line for line in lines if "cannot be read" in line)
    assert all(f"broken-{number}.jpg" in told for number in range(3))
    assert [row["step"] for row in run.log if "metrics" not in row] == [1, 2, 3]
    assert run.metrics["swd"] > 0
    assert decode(run.path / "neighbours.png").shape[2] > 6 * 96  # six training images beside each sample
    assert decode(run.path / "samples" / "000003.png").shape[0] == 3
    first, again = (run.sample(5, seed=3).images for _ in range(2))
    assert first.shape == (5, 3, 16, 16)
    assert torch.equal(first, again)
    assert first.std(0).max() > 0


def test_grey_digits_and_two_turns(tmp_path: Path) -> None:
    run = gankit.api.train("dcgan", "digits", data={"size": 8}, steps=2, g_turns=2, eval_every=0, out=tmp_path, **TINY)
    assert run.sample(2).images.shape == (2, 1, 8, 8)


def test_a_folder_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.root is not set"):
        gankit.api.train("dcgan", "folder", steps=1, out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("preset", sorted(DCGAN.presets))
def test_every_preset_takes_two_steps_and_samples(preset: str, tmp_path: Path) -> None:
    options = {**TINY, "steps": 2, "eval_every": 0, "data": {"kinds": ("animal",)}}
    run = gankit.api.train("dcgan", preset=preset, out=tmp_path, **options)
    assert run.sample(3).images.shape[:2] == (3, 3)


@pytest.mark.parametrize("preset", ["default", "faces"])
def test_a_run_killed_and_resumed_is_the_run_never_stopped(preset: str, resumes_exactly: Callable[..., Run]) -> None:
    data = {"kinds": ("animal",), "size": 16}
    resumes_exactly("dcgan", preset=preset, steps=6, eval_every=0, data=data, **TINY)


@pytest.mark.usefixtures("one_thread")
def test_it_learns(tmp_path: Path) -> None:
    """Digits of 8x8: what it draws comes near to what it is shown, and differs as much."""
    sizes = {"g_width": 16, "d_width": 16, "batch_size": 32, "z": 16, "sample_n": 4}
    options = {**sizes, "data": {"size": 8}, "ema": 0.98, "optim": {"lr": 1e-3}, "eval_every": 0, "workers": 0}
    trained, fresh = (
        gankit.api.train("dcgan", "digits", steps=steps, out=tmp_path, **options).evaluate(
            200, metrics=["swd", "diversity"]
        )["metrics"]
        for steps in (400, 1)
    )
    assert trained["swd"] < fresh["swd"] / 2
    assert trained["diversity"] > 0.6


def test_public_names() -> None:
    assert gankit_plugin_dcgan.__all__ == ["DCGAN"]
    assert Folder.Config.model_fields["root"].description
