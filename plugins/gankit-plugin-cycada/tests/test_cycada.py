"""CyCADA: labels of one domain reach the other, by translations that keep them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gankit_plugin_cycada import CyCADA
from gankit_plugin_cycada.networks import Classifier
from gankit_plugin_cycada.variant import CyCADAConfig, recoloured
from torch.nn import functional as F

import gankit
from gankit.api import make_session
from gankit.cli.main import main
from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key
from gankit.run import Run

DATA = {"first": "digits", "second": "digits"}
SMALL = {
    "steps": 4,
    "batch_size": 4,
    "sample_n": 2,
    "g_width": 4,
    "d_width": 4,
    "blocks": 1,
    "eval_every": 0,
    "width": 4,
    "answer_width": 8,
    "data": DATA,
}


@pytest.mark.usefixtures("one_thread")
def test_a_run_translates_and_measures(tmp_path: Path) -> None:
    run = gankit.train("cycada", out=tmp_path, **SMALL)
    assert run.sample(2).images.shape == (2, 1, 32, 32)
    measured = run.evaluate(20, metrics=["target_accuracy", "source_accuracy"])["metrics"]
    assert all(0 <= value <= 1 for value in measured.values())
    assert set(measured) == {"target_accuracy", "source_accuracy"}


def test_a_run_killed_and_resumed_is_the_run_never_stopped(resumes_exactly: Callable[..., Run]) -> None:
    resumes_exactly("cycada", **{**SMALL, "pool": 6, "features_from": 0.0})


def test_translations_must_show_the_class_of_their_source() -> None:
    session = make_session("cycada", **{**SMALL, "semantic": 2.0, "recolour": False})
    session.begin()
    step = session.new_step(0)
    early = session.variant._generators(step)
    assert early["semantic_b"] == 0  # what the classifier says is not heeded before it has learnt
    session.networks["progress"].loss.fill_(0.5)
    heeded = session.variant._generators(step)
    source = session.networks["source"]
    assert source.training
    source.eval()
    fake = session.networks["a_to_b"](step.batch["a"])
    torch.testing.assert_close(heeded["semantic_b"], 2 * F.cross_entropy(source(fake), step.batch["label_a"]))
    answer = source(step.batch["b"]).argmax(1)
    back = session.networks["b_to_a"](step.batch["b"])
    torch.testing.assert_close(heeded["semantic_a"], 2 * F.cross_entropy(source(back), answer))
    assert not [name for name in session.variant._generators(step) if name.startswith("identity")]


def test_the_statistics_of_batch_norms_are_those_of_what_is_trained_on() -> None:
    """Translations pass through the source's classifier, and real images through the target's, without a trace."""
    session = make_session("cycada", **SMALL)
    session.begin()
    session.networks["progress"].loss.fill_(0.5)
    names = ("source", "target")
    before = {n: {k: v.clone() for k, v in session.networks[n].state_dict().items()} for n in names}
    step = session.new_step(3)
    session.variant._generators(step)
    session.variant._answers(step)
    for name in names:
        for key, value in session.networks[name].state_dict().items():
            assert torch.equal(value, before[name][key]), key


def test_features_are_adapted_from_a_part_of_the_run_on() -> None:
    session = make_session("cycada", **{**SMALL, "steps": 10, "features_from": 0.5})
    session.begin()
    assert set(session.variant._target(session.new_step(4))) == {"loss"}
    assert set(session.variant._target(session.new_step(5))) == {"loss", "features"}
    without = CyCADA(CyCADAConfig(features=0))
    assert "answers" not in [phase.name for phase in without.phases()]


def test_labels_of_b_are_not_read() -> None:
    spec = DataSpec(
        keys={
            **{name: Key(kind="image", shape=(1, 16, 16)) for name in "ab"},
            "label_a": Key(kind="class", names=("x", "y"), of="a"),
        }
    )
    assert "label_b" not in CyCADA.requires
    networks = CyCADA(CyCADAConfig(g_width=4, blocks=1, d_layers=1, identity=0)).networks(spec)
    assert networks["target"](torch.zeros(2, 1, 16, 16)).shape == (2, 2)


def test_grey_and_colour_do_not_share_a_classifier() -> None:
    spec = DataSpec(
        keys={
            "a": Key(kind="image", shape=(1, 32, 32)),
            "b": Key(kind="image", shape=(3, 32, 32)),
            "label_a": Key(kind="class", names=("x", "y"), of="a"),
        }
    )
    with pytest.raises(UsageError, match="a and b have 1 and 3 channels"):
        CyCADA(CyCADAConfig(identity=0)).networks(spec)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (3, 33, 47)])
def test_classifiers_take_any_size(shape: tuple[int, int, int]) -> None:
    assert Classifier(shape, 7, width=4)(torch.zeros(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("preset", sorted(CyCADA.presets))
@pytest.mark.usefixtures("one_thread")
def test_every_preset_trains(preset: str, tmp_path: Path) -> None:
    small = {key: value for key, value in SMALL.items() if key != "data"}
    run = gankit.train(
        "cycada", preset=preset, out=tmp_path, **{**small, "steps": 1, "data": {"size": 16}, "d_layers": 1}
    )
    assert run.steps == 1


def test_all_networks_see_images_of_a_in_many_colours() -> None:
    images = torch.zeros(200, 3, 4, 4)
    images[:, :, 1] = 0.8  # a light line on grey
    shown = recoloured(images, torch.Generator().manual_seed(0))
    assert shown.shape == images.shape
    assert shown.abs().max() <= 1
    lighter = shown[:, :, 1].mean((1, 2)) > shown[:, :, 0].mean((1, 2))
    assert 60 < int(lighter.sum()) < 140
    assert shown[:, :, 0, 0].std(0).min() > 0.2

    def seen(recolour: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        session = make_session("cycada", **{**SMALL, "recolour": recolour})
        session.begin()
        step = session.new_step(0)
        images = session.variant._images(step, "a")
        drawn = session.variant._drawn(step, "a")[0]
        torch.testing.assert_close(drawn, session.networks["a_to_b"](images))
        assert torch.equal(session.variant._images(step, "b"), step.batch["b"])
        assert session.variant._images(step, "a") is images  # each phase of a step sees the same
        return images, step.batch["a"], drawn

    images, batch, _ = seen(False)
    assert torch.equal(images, batch)
    images, batch, _ = seen(True)
    assert not torch.equal(images, batch)


def test_the_target_learns_nothing_of_translations_before_they_are_told_what_to_show() -> None:
    session = make_session("cycada", **SMALL)
    session.begin()
    step = session.new_step(0)
    assert session.variant._target(step)["loss"] == 0
    session.networks["progress"].loss.fill_(0.5)
    assert session.variant._target(step)["loss"] > 0


def test_it_passes_the_check_of_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "check", "cycada"]) == 0, capsys.readouterr().out
