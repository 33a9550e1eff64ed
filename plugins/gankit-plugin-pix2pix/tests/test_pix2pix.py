from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gankit_plugin_pix2pix import Pix2Pix
from gankit_plugin_pix2pix.variant import Pix2PixConfig
from PIL import Image
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

import gankit
from gankit.api import make_session
from gankit.errors import UsageError
from gankit.plugin import Config, Dataset, DataSpec, Key
from gankit.run import Run
from gankit.training.session import Session


class PairsConfig(Config):
    """Pairs."""

    height: int = Field(64, ge=8)
    """Pixels."""
    width: int = Field(64, ge=8)
    """Pixels."""
    apart: bool = False
    """Whether a and b are drawn independently of each other."""


class Pairs(Dataset[PairsConfig]):
    """Grey patches (a), and the same in colours that follow from the grey (b)."""

    Config = PairsConfig
    in_memory = True

    @property
    def spec(self) -> DataSpec:
        size, apart = (self.config.height, self.config.width), self.config.apart
        b = Key(kind="image", shape=(3, *size), of=None if apart else "a")
        return DataSpec(keys={"a": Key(kind="image", shape=(1, *size)), "b": b})

    def streams(self) -> dict[str, int]:
        return {"a": 40, "b": 30} if self.config.apart else {"": 40 if self.split == "train" else 8}

    def batch(self, indices: Any) -> dict[str, Tensor]:
        rows = indices if self.config.apart else {"a": indices, "b": indices}
        random = torch.Generator().manual_seed(7 if self.split == "train" else 8)
        grey = F.interpolate(torch.rand(40, 1, 8, 8, generator=random), (self.config.height, self.config.width))
        colour = torch.cat([grey, 1 - grey, grey * (1 - grey) * 3], 1)
        return {name: (grey if name == "a" else colour)[row].mul(255).to(torch.uint8) for name, row in rows.items()}


SMALL: dict[str, Any] = {"batch_size": 2, "sample_n": 2, "g_width": 4, "d_width": 4, "eval_every": 0, "device": "cpu"}


def spec(a: tuple[int, int, int] = (3, 64, 64), b: tuple[int, int, int] = (3, 64, 64)) -> DataSpec:
    return DataSpec(keys={"a": Key(kind="image", shape=a), "b": Key(kind="image", shape=b, of="a")})


def train(out: Path, **options: Any) -> Run:
    data = Pairs(PairsConfig(**options.pop("pairs", {})))
    return gankit.train(Pix2Pix, data, out=out, **{"steps": 2, **SMALL, **options})


def session(**options: Any) -> Session:
    made = make_session(Pix2Pix, Pairs(PairsConfig()), **{**SMALL, "steps": 10, **options})
    made.begin()
    return made


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("norm", ["affine", "batch"])
def test_networks_of_the_paper(norm: str) -> None:
    options = {key: value for key, value in Pix2Pix.presets["paper"].items() if key in Pix2PixConfig.model_fields}
    with torch.device("meta"):
        networks = Pix2Pix(Pix2PixConfig(**options, norm=norm)).networks(spec((3, 256, 256), (3, 256, 256)))
    assert count(networks["generator"]) == 54_413_955
    assert count(networks["discriminator"]) == 2_768_705


@pytest.mark.parametrize(
    ("height", "width", "downs"), [(64, 64, 6), (256, 256, 8), (1024, 512, 8), (96, 64, 5), (12, 20, 2)]
)
def test_sides_are_halved_as_often_as_they_can_be(height: int, width: int, downs: int) -> None:
    given = spec((1, height, width), (3, height, width))
    generator = Pix2Pix(Pix2PixConfig(g_width=2, adversarial=0)).networks(given)["generator"]
    assert len(generator.downs) == downs
    assert generator(torch.zeros(1, 1, height, width)).shape == (1, 3, height, width)


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (
            spec((3, 66, 64), (3, 66, 64)),
            {},
            r"sides that 4 divides; those of the data are 64x66\. Choose another size",
        ),
        (spec((3, 96, 64), (3, 96, 64)), {"downs": 6}, "sides that 64 divides; .* 64x96.* or downs .*5"),
        (spec((3, 64, 64), (3, 64, 32)), {}, "of one size; a is 64x64, b 32x64"),
        (spec(), {"d_layers": 5}, "d_layers = 5: nothing is left of 64x64"),
        (DataSpec(keys={"a": Key(kind="image", shape=(3, 64, 64))}), {}, "no image under the key 'b'"),
    ],
)
def test_what_cannot_be_translated_is_said(given: DataSpec, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Pix2Pix(Pix2PixConfig(g_width=2, d_width=2, **options)).networks(given)


def test_images_that_are_no_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"draws its a and b independently of each other.* Pix2Pix learns from pairs"):
        train(tmp_path, pairs={"apart": True})
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("norm", ["affine", "instance", "layer", "batch"])
def test_losses_are_those_of_the_paper(norm: str) -> None:
    made = session(norm=norm, l1=7.0, adversarial=0.5)
    step = made.new_step(0)
    judge, a, b = made.networks["discriminator"], step.batch["a"], step.batch["b"]
    terms = made.variant._discriminator(step)
    fake = step.shared("fake", lambda: None)
    with torch.no_grad():
        real_logits, fake_logits = judge(torch.cat([a, b], 1)), judge(torch.cat([a, fake], 1))
    want = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    assert terms["loss"].item() == pytest.approx(want.item() / 2, rel=1e-5)
    terms = made.variant._generator(step)
    assert terms["adversarial"].item() == pytest.approx(0.5 * F.softplus(-fake_logits).mean().item(), rel=1e-5)
    assert terms["l1"].item() == pytest.approx(7 * (fake - b).abs().mean().item(), rel=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_the_way_back(tmp_path: Path) -> None:
    run = train(tmp_path, source="b")
    samples = run.sample(3)
    assert samples.images.shape == (3, 1, 64, 64)
    assert list(samples.layout.panels) == ["b", "ba", "a"]
    with pytest.raises(UsageError, match="cannot draw 'b': it draws a"):
        run.sample(1, to="b")


@pytest.mark.usefixtures("one_thread")
def test_noise_and_files(tmp_path: Path) -> None:
    run = train(tmp_path / "runs")
    photo = tmp_path / "photo.png"
    Image.effect_noise((57, 40), 60).save(photo)
    first, again, other = (run.sample(2, given={"a": photo}, seed=seed).images for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])  # one image, two draws of what is dropped
    run.change_files("translate", photo, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert (image.size, image.mode) == ((57, 40), "RGB")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("options", "random"),
    [({}, True), ({"dropout": 0.0}, False), ({"pairs": {"height": 32, "width": 32}}, False)],
)
def test_where_nothing_is_dropped_a_seed_changes_nothing(options: dict, random: bool, tmp_path: Path) -> None:
    run = train(tmp_path, **options, d_layers=1)
    given = {"a": run.path / "samples"}
    assert (
        torch.equal(run.sample(1, given=given, seed=1).images, run.sample(1, given=given, seed=2).images) is not random
    )


@pytest.mark.usefixtures("one_thread")
def test_l1_alone(tmp_path: Path) -> None:
    run = train(tmp_path, preset="l1", steps=4, log_every=2, eval_every=2, eval_n=8)
    logged = {key for row in run.log for key in row}
    assert "generator/l1" in logged
    assert not any("discriminator" in key or "adversarial" in key for key in logged)
    assert run.directory.state(run.directory.resolve("best"))["best"]["metric"] == "l1"
    assert set(run.metrics) >= {"l1", "psnr"}


def test_measures_by_hand() -> None:
    class Constant(nn.Module):
        def forward(self, images: Tensor, generator: torch.Generator) -> Tensor:
            return torch.zeros(len(images), 3, 2, 2)

    first = {"a": torch.zeros(1, 1, 2, 2), "b": torch.full((1, 3, 2, 2), 0.2)}
    second = {"a": torch.zeros(2, 1, 2, 2), "b": torch.full((2, 3, 2, 2), -0.02)}
    values = Pix2Pix(Pix2PixConfig()).measure({"generator": Constant()}, [first, second], torch.Generator())
    assert values == pytest.approx({"l1": (0.2 + 2 * 0.02) / 3, "psnr": (20 + 2 * 40) / 3}, rel=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_a_translation_is_learnt(tmp_path: Path) -> None:
    """In 60 steps the held-out colours are nearer than grey is."""
    run = train(tmp_path, steps=60, batch_size=8, g_width=8, norm="instance", optim={"lr": 2e-3}, ema=0.8)
    held_out = Pairs(PairsConfig(), "test").batch(torch.arange(8))
    copied = (held_out["a"].float() - held_out["b"].float()).abs().mean() / 127.5
    metrics = run.evaluate(8)["metrics"]
    assert metrics["l1"] < 0.4 * copied
    assert metrics["psnr"] > 15


@pytest.mark.parametrize("options", [{}, {"norm": "batch", "augment": {"diff": ("translation", "color")}}])
def test_a_run_killed_and_resumed_is_the_run_never_stopped(
    options: dict[str, Any], resumes_exactly: Callable[..., Run]
) -> None:
    resumes_exactly(Pix2Pix, Pairs(PairsConfig()), steps=4, **SMALL, **options)
