"""The variant in training: losses by hand, asking, figures, what is measured, resuming."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gankit_plugin_gawwn.config import GAWWNConfig
from gankit_plugin_gawwn.crops import crops
from gankit_plugin_gawwn.placing import cropped
from gankit_plugin_gawwn.variant import GAWWN
from PIL import Image

import gankit
from gankit.api import make_session
from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key
from gankit.run import Run
from gankit.text.matching import ImageEncoder, embedded
from gankit.training.session import Session

SMALL: dict[str, Any] = {
    "steps": 3,
    "batch_size": 6,
    "sample_n": 9,
    "width": 4,
    "d_width": 4,
    "told": 4,
    "z": 4,
    "eval_every": 0,
    "precision": "float32",
    "device": "cpu",
    "text": {"steps": 2, "image_steps": 1, "size": 8, "width": 8, "batch_size": 8},
    "data": {"size": 32, "groups": ("food",), "number": 120},
}

PLACES = {
    "box": ("0.1,0.1,0.5,0.5", "0.5,0.5,0.9,0.9"),
    "points": ("0.1,0.2,0.2,0.1,0.4,0.3,0.2,0.5", "0.6,0.7,0.7,0.6,0.9,0.8,0.7,0.95"),
}


def session(**options: object) -> Session:
    made = make_session("gawwn", None, **{**SMALL, **options})
    made.begin()
    return made


@pytest.mark.parametrize("place", ["box", "points"])
def test_losses_are_those_of_the_paper(place: str) -> None:
    made = session(place=place, d_norm="batch", misplaced=0.0, patches=0.0, match=0.0, l1=0.0, mismatch="any")
    step = made.new_step(0)
    judge, embedding, where = made.networks["discriminator"], embedded(step), step.batch[place]
    found = made.variant._discriminator(step)
    assert set(found) == {"real", "fake", "mismatched"}
    images, real = made.variant._fake(step), step.batch["image"]
    softplus = torch.nn.functional.softplus

    def logits(pictures: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return judge(judge.features(pictures), text, where)

    assert found["real"].item() == pytest.approx(softplus(-logits(real, embedding)).mean().item(), rel=1e-4)
    assert found["fake"].item() == pytest.approx(softplus(logits(images, embedding)).mean().item() / 2, rel=1e-4)
    other = softplus(logits(real, embedding.roll(1, 0))).mean().item() / 2
    assert found["mismatched"].item() == pytest.approx(other, rel=1e-4)
    drawn = made.variant._generator(step)
    assert set(drawn) == {"generator"}
    assert drawn["generator"].item() == pytest.approx(softplus(-logits(images, embedding)).mean().item(), rel=1e-4)


def test_the_terms_that_are_not_in_the_paper() -> None:
    made = session(patches=2.0, l1=5.0)
    step = made.new_step(0)
    found, drawn = made.variant._discriminator(step), made.variant._generator(step)
    assert set(found) == {"real", "fake", "mismatched", "misplaced", "patches"}
    assert set(drawn) == {"generator", "patches", "match", "l1"}
    away = (made.variant._fake(step) - step.batch["image"]).abs().mean().item()
    assert drawn["l1"].item() == pytest.approx(5 * away, rel=1e-4)
    judge, softplus = made.networks["discriminator"], torch.nn.functional.softplus
    real, fake = (judge.features(images)[2] for images in (step.batch["image"], made.variant._fake(step)))
    assert real.shape == (step.size, 1, 16, 16)
    assert found["patches"].item() == pytest.approx((softplus(-real).mean() + softplus(fake).mean()).item(), rel=1e-4)
    assert drawn["patches"].item() == pytest.approx(2 * softplus(-fake).mean().item(), rel=1e-4)


@pytest.mark.parametrize("place", ["box", "points"])
@pytest.mark.parametrize(("norm", "alone"), [("none", True), ("batch", False)])
def test_without_a_norm_an_image_is_judged_alone(place: str, norm: str, alone: bool) -> None:
    made = session(place=place, d_norm=norm)
    step = made.new_step(0)
    judge, asked, where = made.networks["discriminator"].train(), embedded(step), step.batch[place]

    def logits(images: torch.Tensor) -> torch.Tensor:
        return judge(judge.features(images), asked, where)

    images = step.batch["image"]
    others = torch.cat([images[:1], -images[1:]])
    assert torch.allclose(logits(images)[0], logits(others)[0], atol=1e-5) is alone


def test_preset_paper_as_it_is_planned() -> None:
    (plan,) = gankit.api.plan("gawwn", None, preset="paper")
    found = {network["name"]: network["trainable"] for network in plan.networks}
    assert (found["generator"], found["discriminator"]) == (73_545_699, 16_763_137)
    assert plan.steps == 553_000
    assert not any(getattr(GAWWNConfig(), name) for name in ("misplaced", "patches", "match", "l1"))


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_first_weights_of_the_discriminator_go_by_its_norm(norm: str) -> None:
    made = session(d_norm=norm, d_width=32)
    for name, weight in made.networks["discriminator"].named_parameters():
        if weight.dim() == 4 and weight.numel() > 5000:
            std = 0.02 if norm == "batch" else (2 / 1.04 / weight[0].numel()) ** 0.5
            assert weight.std().item() == pytest.approx(std, rel=0.1), name


def test_the_best_is_kept_by_fid_judge_or_without_classes_by_captions() -> None:
    assert session(data={**SMALL["data"], "groups": ("food", "flags")}).variant.metric == "fid_judge"
    captioned = DataSpec(
        keys={
            "image": Key(kind="image", shape=(3, 32, 32)),
            "text": Key(kind="text", shape=(20,)),
            "box": Key(kind="box", shape=(4,)),
        }
    )
    variant = GAWWN(GAWWNConfig(width=4, d_width=4))
    variant.networks(captioned)
    assert variant.metric == "r_precision"


@pytest.fixture(scope="module", params=["box", "points"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    options = SMALL | {"steps": 25, "ema": 0.0}  # until batch norm knows what it sees
    return gankit.train("gawwn", out=tmp_path_factory.mktemp(request.param), place=request.param, **options)


def test_what_and_where_are_asked_for(run: Run) -> None:
    place = run.variant.place
    here, there = PLACES[place]
    asked: dict[str, Any] = {"text": "red apple, food, on blue", place: here}
    first, again = (run.sample(2, given=asked, seed=1).images for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (2, 3, 32, 32)
    assert not torch.equal(run.sample(2, given=asked | {place: there}, seed=1).images, first)
    assert not torch.equal(run.sample(2, given=asked | {"text": "melon"}, seed=1).images, first)
    assert {"text", place} <= run.sample(3).records[0].keys()


def test_a_box_that_is_none_is_refused(run: Run) -> None:
    if run.variant.place == "box":
        with pytest.raises(UsageError, match="box"):
            run.sample(1, given={"text": "apple", "box": "0.5,0.5,0.1,0.9"})


def test_figures_show_places_and_captions(run: Run) -> None:
    samples = run.sample(9)
    assert set(samples.figures) == {"places", "captions"}
    for picture in samples.figures.values():
        assert picture.shape == (3 * 34 - 2, 3 * 34 - 2, 3)
        red = (picture.numpy() == np.array([255, 0, 0], np.uint8)).all(-1)
        assert red.sum() > 9 * 4
    assert len(run.sample(1).figures["captions"]) == 32


def test_it_is_measured_where_it_draws(run: Run) -> None:
    found = run.evaluate(8, metrics=["overlap"])["metrics"]["overlap"]
    assert 0 <= found <= 1


def test_only_where_a_drawing_can_be_told_from_its_ground_is_it_measured() -> None:
    """Of four grounds the last two are noise. Drawn is first what was asked for, then nothing."""
    variant = GAWWN(GAWWNConfig())
    boxes = torch.tensor([[0.25, 0.25, 0.75, 0.5]]).expand(4, -1)
    real = torch.full((4, 3, 32, 32), 0.5)
    real[2:] = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    real[:, :, 8:16, 8:24] = -0.5
    drawn = real[[0]].repeat(4, 1, 1, 1)
    drawn[1] = 0.5
    batch = {"image": real, "text": torch.zeros(4, 3, dtype=torch.uint8), "box": boxes, "drawn": drawn}

    def measured(*parts: slice) -> float:
        batches = [{key: values[part] for key, values in batch.items()} for part in parts]
        pictures = iter([part["drawn"] for part in batches])
        networks: Any = {"text": lambda text: text.float(), "generator": lambda *asked: next(pictures)}
        return variant.measure(networks, batches, torch.Generator().manual_seed(0))["overlap"]

    assert measured(slice(4)) == pytest.approx(0.5)
    assert measured(slice(1), slice(1, 4)) == pytest.approx(0.5)
    assert measured(slice(1)) == 1
    assert isnan(measured(slice(2, 4)))


@pytest.fixture
def on_photographs(tmp_path: Path) -> dict[str, Any]:
    """Data of which every second drawing stands on noise."""
    noise = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(noise.integers(0, 256, (96, 96, 3), np.uint8)).save(tmp_path / f"{number}.png")
    return {**SMALL["data"], "photographs": str(tmp_path)}


def test_it_is_measured_with_photographs(on_photographs: dict[str, Any], tmp_path: Path) -> None:
    run = gankit.train("gawwn", out=tmp_path / "runs", **{**SMALL, "data": on_photographs})
    assert 0 <= run.evaluate(8, metrics=["overlap"])["metrics"]["overlap"] <= 1


@pytest.mark.parametrize("place", ["box", "points"])
def test_a_run_killed_and_resumed_is_the_run_never_stopped(
    place: str, on_photographs: dict[str, Any], resumes_exactly: Callable[..., Run]
) -> None:
    resumes_exactly("gawwn", **{**SMALL, "data": on_photographs, "place": place, "steps": 4})


def test_crops_are_what_captions_are_about() -> None:
    images, boxes = torch.randn(3, 3, 64, 64), torch.tensor([[0.2, 0.2, 0.6, 0.7]] * 3)
    found = crops(images, {"box": boxes}, "box")
    want = cropped(images, torch.tensor([[0.16, 0.15, 0.64, 0.75]] * 3), 32)
    torch.testing.assert_close(found, want, atol=1e-4, rtol=1e-3)
    assert torch.equal(crops(images, {}, "box"), images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_match_tells_every_pixel_of_a_box(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder(3, 8).freeze()
    images = torch.randn(4, 3, 256, 256, dtype=dtype, requires_grad=True)
    box = torch.tensor([[0.125, 0.25, 0.875, 0.75]]).expand(4, -1)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        found = encoder.match(crops(images, {"box": box}, "box"), torch.randn(4, 8), torch.Generator())
    (found * 2**8).backward()  # as a scaler does of float16
    assert images.grad is not None
    told = images.grad.float().abs().amax(1) > 0
    assert told[:, 64:192, 32:224].float().mean() > 0.99
    assert not told[:, :40].any()
    assert not told[:, :, :4].any()


def test_data_without_a_place_is_refused() -> None:
    with pytest.raises(UsageError, match="box"):
        make_session("gawwn", "emoji", **{**SMALL, "data": {"size": 32, "groups": ("food",)}})
