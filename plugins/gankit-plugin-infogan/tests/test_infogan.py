from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gankit_plugin_infogan import InfoGAN
from gankit_plugin_infogan.variant import InfoGANConfig, agreement

import gankit
from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key

SMALL = {"steps": 3, "batch_size": 8, "sample_n": 10, "width": 4, "eval_every": 0, "data": {"size": 8}}


def spec(channels: int = 1, height: int = 32, width: int = 32) -> DataSpec:
    return DataSpec(keys={"image": Key(kind="image", shape=(channels, height, width))})


def test_agreement_is_that_of_the_best_assignment() -> None:
    label = torch.tensor([0, 0, 1, 1, 2, 2])
    assert agreement((label + 1) % 3, label) == 1
    assert agreement(torch.tensor([0, 0, 0, 0, 1, 1]), label) == pytest.approx(4 / 6)
    assert agreement(torch.zeros(6, dtype=torch.int64), label) == pytest.approx(2 / 6)


@pytest.mark.parametrize(("height", "width"), [(30, 32), (4, 4)])
def test_sides_that_do_not_halve_twice_are_refused(height: int, width: int) -> None:
    with pytest.raises(UsageError, match="sides that 4 divides"):
        InfoGAN(InfoGANConfig()).networks(spec(1, height, width))


def test_codes_that_no_data_has_can_be_asked_for() -> None:
    asks = InfoGAN(InfoGANConfig(classes=4, continuous=3)).asks(spec(), "image")
    assert list(asks) == ["code", "c1", "c2", "c3"]
    assert asks["code"].names == ("0", "1", "2", "3")


@pytest.mark.usefixtures("one_thread")
def test_samples_follow_the_codes_that_are_given(tmp_path: Path) -> None:
    run = gankit.train("infogan", out=tmp_path, **SMALL)
    asked = {"code": 3, "c1": -1.5, "c2": 0.5}
    assert torch.equal(run.sample(4, given=asked).images, run.sample(4, given=asked).images)
    assert not torch.equal(run.sample(4, given=asked).images, run.sample(4, given={**asked, "code": 2}).images)
    assert not torch.equal(run.sample(4, given=asked).images, run.sample(4, given={**asked, "c1": 1.5}).images)
    assert [record["code"] for record in run.sample(12).records] == [*range(10), 0, 1]
    with pytest.raises(UsageError, match="code"):
        run.sample(1, given={"code": 10})
    with pytest.raises(UsageError, match="label"):
        run.sample(1, label=3)


@pytest.mark.usefixtures("one_thread")
def test_no_label_is_needed_nor_read(tmp_path: Path) -> None:
    """On data without labels it trains all the same; its own metric is then left out."""
    run = gankit.train("infogan", out=tmp_path, **{**SMALL, "continuous": 0})
    assert "read" in " ".join(key for row in run.log for key in row)
    assert run.evaluate(60)["metrics"]["agreement"] > 0
