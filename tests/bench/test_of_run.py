"""What rows of quality say of a run's options."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import gankit


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import of_run

    yield of_run.changed
    del sys.modules["of_run"]


def test_rows_say_in_what_a_run_differs_from_its_preset(changed, tmp_path: Path) -> None:
    small = {"batch_size": 4, "sample_n": 2, "device": "cpu", "workers": 0, "out": str(tmp_path)}
    run = gankit.train("gan", "digits", steps=1, seed=5, optim={"lr": 0.5}, **small)
    assert changed(run) == {"batch_size": 4, "sample_n": 2, "device": "cpu", "workers": 0, "optim.lr": 0.5}


def test_of_a_directory_rows_say_the_name(changed, tmp_path: Path) -> None:
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        Image.new("RGB", (32, 32), (60 * number, 0, 0)).save(photos / f"{number}.png")
    run = gankit.train("gan", "folder", steps=1, out=str(tmp_path / "runs"), device="cpu", data__root=str(photos))
    assert changed(run)["data.root"] == "photos"
