"""The variant in training: its losses by hand, what is asked for, the truth it is judged by, and resuming."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gankit_plugin_stargan.truth import Held, known_pairs, relative_error
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import gankit
from gankit.api import make_session
from gankit.errors import UsageError
from gankit.events import Note
from gankit.plugin import Config, Dataset, DataSpec, Key
from gankit.run import Run
from gankit.training.session import Session

TONES = ("light", "dark", "neutral")
SMALL = {
    "steps": 4,
    "batch_size": 4,
    "sample_n": 2,
    "g_width": 4,
    "d_width": 4,
    "blocks": 1,
    "eval_every": 0,
    "precision": "float32",
    "data": {"size": 32, "tones": TONES},
}
PAPER = {"preset": "paper", "d_layers": 5, "turns": 2}


def session(dataset: Any = None, **options: object) -> Session:
    made = make_session("stargan", dataset, **{**SMALL, "device": "cpu", **options})
    made.begin()
    return made


class Faces(Dataset[Config]):
    """Images whose halves are light or dark, each an attribute."""

    Config = Config
    spec = DataSpec(keys={"image": Key(kind="image", shape=(1, 16, 16)), "attributes": Key(kind="vector", shape=(2,))})

    def __len__(self) -> int:
        return 40

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        attributes = torch.stack([indices % 2, indices // 2 % 2], 1).float()
        halves = (60 + attributes * 120).to(torch.uint8)[:, None, None, :]
        return {"image": halves.repeat_interleave(8, 3).expand(-1, 1, 16, -1).contiguous(), "attributes": attributes}


@pytest.mark.usefixtures("one_thread")
def test_losses_are_those_of_the_paper() -> None:
    made = session(**PAPER, augment={"flip": False})
    step = made.new_step(0)
    generate, judge = made.networks["generator"], made.networks["discriminator"]
    image, label, order = step.batch["image"], step.batch["tone"], made.variant._order(step)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    drew = step.generator.get_state()
    found = made.variant._discriminator(step)
    fake = generate(image, label[order])
    told = F.one_hot(label, 3).float()
    source, classes = judge(image, told)
    assert found["adversarial"].item() == pytest.approx(
        float((judge(fake, told)[0].mean() - source.mean()).detach()), abs=1e-6
    )
    assert found["classes"].item() == pytest.approx(F.cross_entropy(classes, label).item(), rel=1e-5)
    step.generator.set_state(drew)
    mix = torch.rand(4, 1, 1, 1, generator=step.generator)
    between = (image[order] + mix * (fake - image[order])).detach().requires_grad_()
    (slope,) = torch.autograd.grad(judge(between, told)[0].sum(), between)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    assert found["penalty"].item() == pytest.approx(10 * float(penalty.detach()), rel=1e-4)
    found = made.variant._generator(step)
    source, classes = judge(fake, told)
    assert found["adversarial"].item() == pytest.approx(-float(source.detach().mean()), abs=1e-6)
    assert found["classes"].item() == pytest.approx(F.cross_entropy(classes, label[order]).item(), rel=1e-5)
    back = (generate(fake, label) - image).abs().mean()
    assert found["reconstruction"].item() == pytest.approx(10 * float(back.detach()), rel=1e-5)
    assert [turn.repeats(0) for turn in made.turns] == [2, 1]


@pytest.mark.usefixtures("one_thread")
def test_losses_of_the_default_are_conditional_and_smooth() -> None:
    made = session(penalty=3.0, augment={"flip": False})
    step = made.new_step(0)
    generate, judge = made.networks["generator"], made.networks["discriminator"]
    image, label, order = step.batch["image"], step.batch["tone"], made.variant._order(step)
    told = F.one_hot(label, 3).float()
    found = made.variant._discriminator(step)
    fake = generate(image, label[order]).detach()
    real = image.clone().requires_grad_()
    source, classes = judge(real, told)
    assert classes is None
    (slope,) = torch.autograd.grad(source.sum(), real)
    adversarial = F.softplus(-source).mean() + F.softplus(judge(fake, told[order])[0]).mean()
    assert found["adversarial"].item() == pytest.approx(adversarial.item(), rel=1e-5)
    assert found["penalty"].item() == pytest.approx(1.5 * slope.square().sum().item() / 4, rel=1e-4)
    assert set(found) == {"adversarial", "penalty"}
    assert set(made.variant._generator(step)) == {"adversarial", "reconstruction"}


@pytest.mark.usefixtures("one_thread")
def test_attributes_are_turned_each_by_itself(tmp_path: Path) -> None:
    options = {key: value for key, value in SMALL.items() if key != "data"}
    for told_by in ("classes", "projection"):
        run = gankit.train("stargan", Faces(Config()), out=tmp_path / told_by, d_layers=3, told_by=told_by, **options)
        samples = run.sample(3, given={"attributes": "1,0"})
        assert samples.images.shape == (3, 1, 16, 16)
        assert list(samples.layout.panels) == ["image", "not 0", "not 1"]
        with pytest.raises(UsageError, match="2 numbers"):
            run.sample(3, given={"attributes": "1"})
    notes: list[str] = []
    judged = run.evaluate(8, on_event=lambda event: notes.append(event.text) if isinstance(event, Note) else None)
    assert judged["metrics"]["reconstruction_error"] > 0
    assert "relative_error" not in judged["metrics"]  # nothing says which images are the same


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Run:
    return gankit.train("stargan", out=tmp_path_factory.mktemp("run"), **SMALL)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.effect_noise((57, 40), 60).convert("RGB").save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def test_every_tone_has_a_column_and_is_asked_for_by_name_or_number(run: Run, photo: Path) -> None:
    held_out = run.sample(4)
    # tones as the data orders them, whatever the order they were asked for in
    assert list(held_out.layout.panels) == ["image", "neutral", "light", "dark"]
    assert [record["tone"] for record in held_out.records] == ["neutral", "light", "dark", "neutral"]
    dark, number = (run.sample(1, given={"image": photo, "tone": tone}) for tone in ("dark", 2))
    assert torch.equal(dark.images, number.images)
    light = run.sample(1, given={"image": photo, "tone": "light"})
    assert not torch.equal(dark.images, light.images)
    columns = run.sample(given={"image": photo, "tone": ["light", "dark"]})
    assert columns.images.shape == (2, 3, 32, 32)
    torch.testing.assert_close(columns.images, torch.cat([light.images, dark.images]))
    with pytest.raises(UsageError, match="pale"):
        run.sample(1, given={"tone": "pale"})


def test_files_are_translated_to_the_tone_that_is_given(run: Run, photo: Path, tmp_path: Path) -> None:
    for tone in ("dark", "light"):
        (pair,) = run.change_files("translate", photo, tmp_path / f"{tone}.png", given={"tone": tone})
        assert not pair.error
        assert Image.open(tmp_path / f"{tone}.png").size == (57, 40)
    assert Image.open(tmp_path / "dark.png").tobytes() != Image.open(tmp_path / "light.png").tobytes()


def test_a_truth_that_the_data_knows_is_measured(run: Run) -> None:
    """By hand: every held-out drawing, from each tone to each other one."""
    data = run.dataset("test")
    rows = torch.arange(len(data))
    generator = run.networks(device="cpu")["generator"]
    images = data.batch(rows)["image"].float() / 127.5 - 1
    wrong = before = 0.0
    with torch.no_grad():
        for tone in range(3):
            rest = rows[rows % 3 != tone]
            truth = images[data.in_tone(rest, tone)]
            drawn = generator(images[rest], torch.full((len(rest),), tone))
            wrong += float((drawn - truth).abs().sum())
            before += float((images[rest] - truth).abs().sum())
    found = run.evaluate(10, metrics=["relative_error", "reconstruction_error"])["metrics"]
    assert found["relative_error"] == pytest.approx(wrong / before, rel=1e-3)
    assert found["reconstruction_error"] > 0


def test_pairs_are_of_one_thing_in_two_domains() -> None:
    names, labels = [b"cat", b"dog", b"cat", b"cow", b"dog"], torch.tensor([0, 0, 1, 1, 2])
    assert sorted(map(tuple, known_pairs(names, labels).tolist())) == [(0, 2), (1, 4), (2, 0), (4, 1)]
    assert len(known_pairs([*names, b"cat"], torch.tensor([0, 0, 1, 1, 2, 1]))) == 0  # which cat is the true one?
    attributes = torch.tensor([[0.0, 1], [1.0, 1], [1.0, 1], [0, 0], [0, 0]])
    assert sorted(map(tuple, known_pairs(names, attributes).tolist())) == [(0, 2), (1, 4), (2, 0), (4, 1)]


def test_error_is_relative_to_nothing_done() -> None:
    held, generator = Held(), torch.Generator().manual_seed(0)
    levels = torch.tensor([0, 1, 0, 1])
    images = (levels * 0.4 - 0.2).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    for part in (slice(0, 2), slice(2, 4)):
        held.add(images[part], levels[part], torch.tensor([[7, 0], [7, 0], [9, 0], [9, 0]], dtype=torch.uint8)[part])
    assert relative_error(held, lambda given, to: given, generator) == pytest.approx(1)
    there = relative_error(held, lambda given, to: (to * 0.4 - 0.2).view(-1, 1, 1, 1).expand_as(given), generator)
    assert there == pytest.approx(0, abs=0.02)  # of 8 bits
    alone = Held()
    alone.add(images, levels, torch.arange(4).to(torch.uint8)[:, None])
    assert math.isnan(relative_error(alone, lambda given, to: given, generator))


@pytest.mark.parametrize("options", [{"augment": {"diff": ("translation",)}}, PAPER])
def test_a_run_killed_and_resumed_is_the_run_never_stopped(
    options: dict[str, Any], resumes_exactly: Callable[..., Run]
) -> None:
    resumes_exactly("stargan", **SMALL, **options)


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({"told_by": "projection", "classification": 2.0}, "told_by = classes"),
    ],
)
def test_options_that_would_do_nothing_are_refused(given: dict[str, Any], needed: str) -> None:
    with pytest.raises(UsageError, match=f"does nothing without {needed};"):
        make_session("stargan", **given)
