"""The variant in training and after: its losses by hand, whose masks it takes, what it keeps, and resuming."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import gankit
from gankit.api import make_session
from gankit.errors import UsageError
from gankit.plugin import Config, Dataset, DataSpec, Key
from gankit.run import Run
from gankit.training.session import Session

TINY = {"steps": 4, "batch_size": 4, "sample_n": 2, "g_width": 4, "d_width": 4, "eval_every": 0, "precision": "float32"}
SMALL = {**TINY, "d_layers": 3, "data": {"size": 32, "groups": ("activities",)}}
CENTRE = {**SMALL, "network": "context-encoder", "neck": 8, "overlap": 2, "loss": "bce", "pixels": 0.999}


def session(dataset: Any = None, **options: object) -> Session:
    made = make_session("inpaint", dataset, **{**SMALL, "device": "cpu", **options})
    made.begin()
    return made


class Photos(Dataset[Config]):
    """Grey squares under the key ``photo``, and masks that any of them may get: the left or the right quarter."""

    Config = Config
    spec = DataSpec(
        keys={"photo": Key(kind="image", shape=(1, 16, 16)), "mask": Key(kind="mask", shape=(1, 16, 16), of="photo")}
    )

    def streams(self) -> dict[str, int]:
        return {"photo": 40, "mask": 2} if self.split == "train" else {"photo": 10, "mask": 2}

    def batch(self, indices: Any) -> dict[str, Tensor]:
        found = {}
        if "photo" in indices:
            level = (indices["photo"] * 5 + 20).to(torch.uint8)
            found["photo"] = level.view(-1, 1, 1, 1).expand(-1, 1, 16, 16).contiguous()
        if "mask" in indices:
            columns = torch.arange(16) // 4 == indices["mask"][:, None] * 3
            found["mask"] = columns.to(torch.uint8).view(-1, 1, 1, 16).expand(-1, 1, 16, 16).mul(255)
        return found


@pytest.mark.usefixtures("one_thread")
def test_losses_of_gated_convolutions_are_those_of_the_paper() -> None:
    made = session(pixels=2.0, adversarial=0.5, loss="hinge", d_norm="spectral", penalty=0.0, spread=False)
    step, filler, judge = made.new_step(0), made.networks["filler"], made.networks["discriminator"].eval()
    image, mask = step.batch["image"], made.variant._step_mask(step)
    found = made.variant._discriminator(step) | {f"g_{k}": v for k, v in made.variant._filler(step).items()}
    coarse, fine = filler(image, mask)
    real, fake = (judge(torch.cat([x, mask], 1)) for x in (image, torch.where(mask > 0, fine, image)))
    by_hand = {
        "adversarial": F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        "g_adversarial": -0.5 * fake.mean(),
        "g_coarse": 2 * (coarse - image).abs().mean(),
        "g_fine": 2 * (fine - image).abs().mean(),
    }
    assert {k: v.item() for k, v in found.items()} == pytest.approx({k: v.item() for k, v in by_hand.items()}, rel=1e-4)


@pytest.mark.usefixtures("one_thread")
def test_a_penalty_holds_a_discriminator_without_norm() -> None:
    made = session(loss="bce", d_norm="none", penalty=0.5)
    judge = made.networks["discriminator"]
    assert not any("parametrizations" in name for name, _ in judge.named_parameters())
    step = made.new_step(0)
    image = step.batch["image"]
    parts = (image - image.mean((1, 2, 3), keepdim=True)) / image.std((1, 2, 3), keepdim=True, correction=0)
    seen = torch.cat([parts, made.variant._step_mask(step)], 1).requires_grad_()
    (slope,) = torch.autograd.grad(judge(seen).flatten(1).mean(1).sum(), seen)
    found = made.variant._discriminator(step)
    assert set(found) == {"penalty", "adversarial"}
    assert found["penalty"].item() == pytest.approx(0.25 * slope.square().flatten(1).sum(1).mean().item(), rel=1e-4)


@pytest.mark.usefixtures("one_thread")
def test_losses_of_the_context_encoder_are_those_of_the_paper() -> None:
    made = session(**{k: v for k, v in CENTRE.items() if k not in SMALL}, adversarial=0.001)
    for network in made.networks.values():
        network.eval()
    step, judge = made.new_step(0), made.networks["discriminator"]
    image, mask = step.batch["image"], made.variant._step_mask(step)
    assert mask.sum() == 4 * 12 * 12  # the half of 32 but for 2 at each side
    found = made.variant._filler(step)
    (drawn,) = made.networks["filler"](image, mask)
    inside = (drawn - image)[:, :, 8:24, 8:24].square()
    weight = torch.full((16, 16), 10.0)
    weight[2:14, 2:14] = 1
    logits = judge(drawn[:, :, 8:24, 8:24])
    assert found["pixels"].item() == pytest.approx(0.999 * (weight * inside).mean().item(), rel=1e-5)
    by_hand = 0.001 * F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    assert found["adversarial"].item() == pytest.approx(by_hand.item(), rel=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_masks_are_the_datas_or_those_that_are_asked_for() -> None:
    own = {k: v for k, v in SMALL.items() if k != "data"} | {"device": "cpu", "image_key": "photo"}
    made = make_session("inpaint", Photos(Config()), **own)
    step = made.new_step(0)
    assert torch.equal(made.variant._step_mask(step), step.batch["mask"])
    made = make_session("inpaint", Photos(Config()), **own, holes="centre")
    assert made.variant._step_mask(made.new_step(0)).sum() == 4 * 8 * 8
    made = make_session("inpaint", Photos(Config()), **own, holes="boxes", box=(0.5, 0.5))
    assert (made.variant._step_mask(made.new_step(0)).flatten(1).sum(1) == 64).all()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Run:
    return gankit.train("inpaint", out=tmp_path_factory.mktemp("run"), **SMALL)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    hole = np.zeros((32, 32), np.uint8)
    hole[10:20, 4:28] = 255
    Image.fromarray(hole).save(tmp_path / "m.png")
    return tmp_path / "photo.png"


def test_known_pixels_come_back_bit_for_bit(run: Run, photo: Path, tmp_path: Path) -> None:
    mask = photo.with_name("m.png")
    (pair,) = run.change_files("translate", photo, tmp_path / "out.png", given={"mask": mask})
    assert not pair.error
    before, after = (np.asarray(Image.open(path)) for path in (photo, pair.target))
    hole = np.asarray(Image.open(mask)) > 0
    assert (before[~hole] == after[~hole]).all()
    assert (before[hole] != after[hole]).mean() > 0.9
    large = Image.open(photo).resize((75, 50), Image.Resampling.NEAREST)
    large.save(tmp_path / "large.png")
    run.change_files("translate", tmp_path / "large.png", tmp_path / "wide.png", given={"mask": mask})
    before, after = (np.asarray(Image.open(tmp_path / name)) for name in ("large.png", "wide.png"))
    assert before.shape == after.shape
    assert (before[:10] == after[:10]).all()  # the hole begins at row 15, and a pixel of the model is 2 rows
    assert (before[20:28, 15:60] != after[20:28, 15:60]).any(2).mean() > 0.9


def test_a_file_is_not_filled_without_a_mask(run: Run, photo: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Inpaint asks for a mask with each image: give --given mask=FILE"):
        run.change_files("translate", photo, tmp_path / "out.png")


def test_where_nobody_gives_a_mask_holes_are_the_same_each_time(run: Run, photo: Path) -> None:
    drawn = run.sample(3)
    panels = drawn.layout.panels
    assert list(panels) == ["image", "hole", "filled", "coarse"]
    torch.testing.assert_close(panels["filled"], drawn.images)
    hidden = (panels["hole"] != panels["image"]).any(1)
    assert hidden.flatten(1).any(1).all()
    for name in ("filled", "coarse"):
        same = (panels[name] == panels["image"]).all(1)
        assert same[~hidden].all()
    again = run.sample(3, seed=5).layout.panels  # of other images
    assert not torch.equal(again["image"], panels["image"])
    assert torch.equal(run.sample(3).images, drawn.images)
    given = run.sample(1, given={"image": photo, "mask": photo.with_name("m.png")})
    assert list(given.layout.panels) == ["mask", "image", "hole", "filled", "coarse"]


def test_psnr_is_of_the_hidden_pixels_alone(run: Run) -> None:
    networks, variant = run.networks(device="cpu"), run.variant
    rows = run.dataset("test").batch(torch.arange(6))["image"].float() / 127.5 - 1
    masks = variant.drawn_mask(networks, rows, torch.Generator().manual_seed(3))
    with torch.no_grad():
        found = variant.measure(networks, [{"image": rows}], torch.Generator().manual_seed(3))["psnr"]
        drawn = networks["filler"](rows, masks)[-1]
    hidden = masks.expand_as(rows) > 0
    assert found == pytest.approx(10 * math.log10(4 / (drawn - rows)[hidden].square().mean().item()), rel=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_images_may_have_another_key_and_masks_of_their_own(tmp_path: Path) -> None:
    options = {k: v for k, v in SMALL.items() if k != "data"}
    with pytest.raises(UsageError, match="has no image, which Inpaint requires; it has photo, mask"):
        gankit.train("inpaint", Photos(Config()), out=tmp_path, **options)
    run = gankit.train("inpaint", Photos(Config()), out=tmp_path, image_key="photo", **options)
    panels = run.sample(4).layout.panels
    assert list(panels) == ["photo", "hole", "filled", "coarse"]
    hidden = (panels["hole"] != panels["photo"])[:, 0].any(1)
    assert [row.nonzero()[:, 0].tolist() in ([0, 1, 2, 3], [12, 13, 14, 15]) for row in hidden] == [True] * 4
    judged = run.evaluate()
    assert judged["produces"] == "photo"
    assert judged["n"] == 10
    assert judged["metrics"]["psnr"] > 0


@pytest.mark.usefixtures("one_thread")
def test_a_context_encoder_fills_the_centre_and_says_so(tmp_path: Path) -> None:
    run = gankit.train("inpaint", out=tmp_path, **CENTRE)
    panels = run.sample(2).layout.panels
    assert list(panels) == ["image", "hole", "filled"]
    image = torch.rand(3, 32, 32) * 2 - 1
    masks = -torch.ones(2, 1, 32, 32)
    masks[:, :, 12:20, 11:18] = 1
    filled = run.sample(1, given={"image": image, "mask": masks[:1]}).images[0]
    assert torch.equal((filled != image).any(0), masks[0, 0] > 0)
    masks[:, :, 9, 9] = 1
    with pytest.raises(
        UsageError, match=r"fills the centre alone, here pixels 10 to 21 of 32: .* train --network gated"
    ):
        run.sample(1, given={"image": image, "mask": masks[:1]})


@pytest.mark.parametrize("options", [{"augment": {"diff": ("translation", "cutout")}}, CENTRE])
def test_a_run_killed_and_resumed_is_the_run_never_stopped(
    options: dict[str, Any], resumes_exactly: Callable[..., Run]
) -> None:
    """Masks come from the run's generator; the vectors of the spectral norm are buffers."""
    resumes_exactly("inpaint", **{**SMALL, **options})
