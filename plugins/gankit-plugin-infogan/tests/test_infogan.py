from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gankit_plugin_infogan import InfoGAN
from gankit_plugin_infogan.config import InfoGANConfig
from gankit_plugin_infogan.variant import agreement, assignment

import gankit
from gankit.api import make_session
from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key
from gankit.run import Run

SMALL = {
    "steps": 3,
    "batch_size": 8,
    "sample_n": 10,
    "eval_every": 0,
    "data": {"size": 8},
    "width": 4,
    "hidden": 32,
}


def test_agreement_is_that_of_the_best_assignment() -> None:
    label = torch.tensor([0, 0, 1, 1, 2, 2])
    assert agreement((label + 1) % 3, label) == 1
    assert assignment((label + 1) % 3, label) == {1: 0, 2: 1, 0: 2}
    assert agreement(torch.tensor([0, 0, 0, 0, 1, 1]), label) == pytest.approx(4 / 6)
    assert agreement(torch.zeros(6, dtype=torch.int64), label) == pytest.approx(2 / 6)
    assert math.isnan(agreement(label[:0], label[:0]))


def test_codes_that_no_data_has_can_be_asked_for() -> None:
    spec = DataSpec(keys={"image": Key(kind="image", shape=(1, 8, 8))})
    asks = InfoGAN(InfoGANConfig(classes=2, values=("left", "right"), continuous=("slant",))).asks(spec, "image")
    assert list(asks) == ["digit", "slant"]
    assert asks["digit"].names == ("left", "right")


@pytest.mark.usefixtures("one_thread")
def test_samples_follow_the_codes_that_are_given(tmp_path: Path) -> None:
    run = gankit.train("infogan", out=tmp_path, continuous=("slant", "c2"), **SMALL)
    asked = {"digit": 3, "slant": -1.5, "c2": 0.5}
    assert torch.equal(run.sample(4, given=asked).images, run.sample(4, given=asked).images)
    assert not torch.equal(run.sample(4, given=asked).images, run.sample(4, given={**asked, "digit": 2}).images)
    assert not torch.equal(run.sample(4, given=asked).images, run.sample(4, given={**asked, "slant": 1.5}).images)
    assert [record["digit"] for record in run.sample(12).records] == [*range(10), 0, 1]
    with pytest.raises(UsageError, match="digit"):
        run.sample(1, given={"digit": 10})
    with pytest.raises(UsageError, match="label"):
        run.sample(1, label=3)
    assert {path.name for path in (run.path / "samples").glob("*3*.png")} == {
        "000003.png",
        "000003-slant.png",
        "000003-c2.png",
    }


@pytest.mark.usefixtures("one_thread")
def test_codes_can_be_named_when_it_is_seen_what_they_do(tmp_path: Path) -> None:
    run = gankit.train("infogan", out=tmp_path, **SMALL)
    before = run.sample(2, given={"digit": 3, "c1": -1.5}).images
    config = run.path / "config.toml"
    text = config.read_text(encoding="utf-8")
    names = ", ".join(f'"{(3 * i + 1) % 10}"' for i in range(10))  # the fourth is "0"
    text = text.replace('"c1"', '"slant"').replace('"c2"', '"width"')
    config.write_text(text.replace("values = []", f"values = [{names}]"), encoding="utf-8")
    renamed = gankit.open_run(run.path)
    assert torch.equal(renamed.sample(2, given={"digit": 0, "slant": -1.5}).images, before)
    with pytest.raises(UsageError, match="c1"):
        renamed.sample(1, given={"c1": 0})


@pytest.mark.usefixtures("one_thread")
def test_views_train_the_reader_before_drawn_images_do() -> None:
    """While the code settles, what is read off drawn images gives the reader's categorical head nothing."""

    def terms(**options: object) -> tuple[dict[str, torch.Tensor], torch.nn.Module]:
        made = make_session("infogan", **{**SMALL, "steps": 10, "settle": 0.5, **options})
        made.begin()
        return made.variant._discriminator(made.new_step(0)), made.networks["reader"]

    early, reader = terms()
    assert not early["information"].requires_grad
    assert early["continuous_information"].requires_grad
    (slope,) = torch.autograd.grad(early["consistency"], reader.finer.weight, retain_graph=True)
    assert slope.abs().sum() > 0
    assert 0 < early["consistency"].item() <= math.log(10) + math.log(50)
    coarse, reader = terms(finer=0)
    assert reader.finer is None
    assert 0 < coarse["consistency"].item() <= math.log(10)
    without, reader = terms(consistency=0.0)
    assert reader.finer is None
    assert "consistency" not in without
    assert without["information"].requires_grad


@pytest.mark.usefixtures("one_thread")
def test_the_reader_is_told_of_drawn_images_when_the_code_has_settled() -> None:
    made = make_session("infogan", **{**SMALL, "steps": 10, "settle": 0.5})
    made.begin()
    told = [made.variant._discriminator(made.new_step(i))["information"].requires_grad for i in (0, 4, 5, 9)]
    assert told == [False, False, True, True]


def test_a_run_killed_and_resumed_is_the_run_never_stopped(resumes_exactly: Callable[..., Run]) -> None:
    resumes_exactly("infogan", **{**SMALL, "steps": 4, "deviation": "read"})


@pytest.mark.usefixtures("one_thread")
def test_without_continuous_codes(tmp_path: Path) -> None:
    run = gankit.train("infogan", out=tmp_path, **{**SMALL, "continuous": ()})
    metrics = run.evaluate(60, metrics=["agreement", "slant", "width"])["metrics"]
    assert 0 < metrics["agreement"] <= 1
    assert not {"slant", "width"} & set(metrics)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("deviation", ["one", "read"])
def test_codes_come_to_be_read(deviation: str, tmp_path: Path) -> None:
    """Nats stay below the codes' entropies, and rise."""
    settings = {"steps": 240, "batch_size": 32, "log_every": 20, "sample_every": 0, "deviation": deviation}
    settings |= {
        "width": 8,
        "hidden": 64,
        "noise": 0.0,
        "consistency": 0.0,
        "d_optim": {"lr": 2e-3},
        "g_optim": {"lr": 5e-3},
    }
    run = gankit.train("infogan", out=tmp_path, **{**SMALL, **settings})
    digit = [row["generator/nats of digit"] for row in run.log]
    assert all(nats < math.log(10) for nats in digit)
    assert digit[-1] > digit[0] + 0.5
    assert all(math.isfinite(row[f"discriminator/nats of {name}"]) for row in run.log for name in ("c1", "c2"))
