"""r3gan by captions: its networks, its terms by hand, asking by text, and what does not go together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gankit_plugin_r3gan import R3GAN
from gankit_plugin_r3gan.config import R3GANConfig
from PIL import Image
from pydantic import ValidationError
from torch.nn import functional as F

import gankit
from gankit.api import make_session
from gankit.errors import UsageError
from gankit.evaluate.reader import ReaderConfig
from gankit.plugin import DataSpec, Key
from gankit.run import Run
from gankit.text.matching import embedded, match_loss, others
from gankit.training.session import Session

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ReaderConfig(size=4, width=2, text_width=4, steps=2, batch_size=4)
TINY: dict[str, Any] = {
    "captions": True,
    "steps": 4,
    "batch_size": 8,
    "width": 8,
    "z": 8,
    "eval_every": 0,
    "augment_p": 0.0,
    "device": "cpu",
    "precision": "float32",
    "text": {"steps": 2, "image_steps": 1, "size": 12, "width": 8, "batch_size": 8},
    "data": {"size": 32, "copies": 1},
}


def session(**options: Any) -> Session:
    made = make_session("r3gan", "captioned-digits", **{**TINY, **options})
    made.begin()
    return made


def test_captions_add_two_projections_and_no_table() -> None:
    keys = {"image": Key(kind="image", shape=(3, 32, 32)), "text": Key(kind="text", shape=(40,))}
    plain, told = (R3GAN(R3GANConfig(captions=on)).networks(DataSpec(keys=keys)) for on in (False, True))

    def count(networks: dict[str, torch.nn.Module], name: str) -> int:
        return sum(parameter.numel() for parameter in networks[name].parameters())

    assert set(told) - set(plain) == {"text", "images"}
    assert count(told, "generator") - count(plain, "generator") == 64 * 64 + 64 * 256
    assert count(told, "discriminator") - count(plain, "discriminator") == 256 * 64 + 64 * 64 - 256


def test_the_terms_are_those_that_are_described() -> None:
    made = session(mismatch=0.5, match=2.0)
    step = made.new_step(made.resolved.run.steps)  # where the ramp is over
    terms = made.variant._discriminator(step)
    judge, told = made.networks["discriminator"], embedded(step)
    own, wrong = judge(step.batch["image"], told), judge(step.batch["image"], told[others(told)])
    fake = judge(step.shared("fakes", lambda: None).detach(), told)
    assert terms["pairs"].item() == pytest.approx(F.softplus(fake - own).mean().item(), rel=1e-5)
    assert terms["mismatched"].item() == pytest.approx(0.5 * F.softplus(wrong - own).mean().item(), rel=1e-5)
    drew = step.generator.get_state()
    found = made.variant._generator(step)
    step.generator.set_state(drew)
    images = step.shared("fakes", lambda: None).clamp(-1, 1)
    assert found["match"].item() == pytest.approx(2 * match_loss(step, images, told).item(), rel=1e-5)
    assert made.variant._generator(made.new_step(0))["match"].item() == 0  # from there on it grows
    assert "mismatched" not in session(mismatch=0.0).variant._discriminator(step)
    assert "match" not in session(match=0.0).variant._generator(step)


def test_it_resumes_exactly_and_draws_what_a_text_says(resumes_exactly: Callable[..., Run]) -> None:
    run = resumes_exactly("r3gan", "captioned-digits", **TINY)
    one, other = (
        run.sample(n=3, text=text, seed=1).images for text in ("a thin red three on wood", "a thick blue seven on grey")
    )
    assert one.shape == (3, 3, 32, 32)
    assert not torch.equal(one, other)


def test_classes_and_captions_do_not_go_together() -> None:
    for other in ("conditional", "san"):
        with pytest.raises(ValidationError, match=f"captions do not go together with {other}"):
            R3GANConfig(captions=True, **{other: True})


def test_the_best_is_kept_by_classes_where_there_are_any() -> None:
    assert session().variant.metric == "accuracy"
    assert R3GAN(R3GANConfig()).metric == "swd"


def test_without_classes_the_best_is_kept_by_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gankit.evaluate.reader.ReaderConfig", lambda: QUICK)
    for number in range(6):
        Image.new("RGB", (16, 16), (40 * number, 0, 0)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"red {number}\n")
    data = {"root": str(tmp_path), "size": 16, "test_fraction": 0.4}
    options = {**TINY, "steps": 2, "eval_every": 1, "eval_n": 4, "sample_n": 2, "data": data}
    run = gankit.train("r3gan", "captioned-folder", out=tmp_path / "runs", **options)
    assert run.directory.resolve("best") in ("step-000001", "step-000002")
    assert all("r_precision" in entry["metrics"] for entry in run.log if "metrics" in entry)
    assert run.interpolate(texts=["red 1", "red 3"], frames=3).images.shape == (3, 3, 16, 16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"match": 1.0}, r"^match = 1\.0: does nothing without captions = true; give both, or leave it out$"),
        ({"mismatch": 0.2}, r"^mismatch = 0\.2: does nothing without captions = true"),
        ({"text": {"file": "/e.npz"}}, r"^text\.file = '/e\.npz': does nothing without captions = true"),
        ({"text": {"steps": 3}}, r"^text\.steps = 3: does nothing without captions = true"),
        ({"captions": True, "text": {"model": "m"}}, r"^text\.model = 'm': does nothing without text\.encoder = sent"),
        (
            {"captions": True, "match": 1.0, "text": {"encoder": "precomputed"}},
            r"^match .* text\.encoder = char-cnn-rnn",
        ),
        ({"class_key": "ink"}, r"^class_key = 'ink': does nothing without conditional = true"),
        ({"adaptive_images": 9}, r"^adaptive_images = 9: does nothing without adaptive = true"),
        ({"penalty_step": 0.1}, r"^penalty_step = 0\.1: does nothing without penalty = approx"),
        ({"width": 8, "widths": (8, 8, 8)}, r"^width = 8: does nothing without widths = none"),
        ({"gamma": 1.0, "gamma_at_32": 2.0}, r"^gamma_at_32 = 2\.0: does nothing without gamma = none"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make_session("r3gan", "captioned-digits", **options)
