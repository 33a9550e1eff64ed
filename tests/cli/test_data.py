"""`gankit data pack` writes shards that a training takes."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image


def test_a_directory_becomes_shards(gankit, tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(12):
        Image.fromarray(np.full((9, 9, 3), number * 20, np.uint8)).save(tmp_path / "pictures" / f"{number}.png")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"nothing")
    done = gankit("data", "pack", tmp_path / "pictures", tmp_path / "out", "--set", "data.size=8")
    assert done.code == 0, done.out
    found = re.search(r"(\d+) train, (\d+) test samples", done.out)
    assert found
    assert int(found[1]) + int(found[2]) == 12
    assert "--dataset shards --data.root out" in done.out
    assert "broken.png" in done.out + done.err
    again = gankit("data", "pack", tmp_path / "pictures", tmp_path / "out", "--json")
    assert again.code == 2
    assert "exists already" in again.out + again.err
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "pictures", "cache"}


def test_a_dataset_becomes_shards(gankit, toy, tmp_path):
    done = gankit("data", "pack", "toy-dots", tmp_path / "out", "--set", "data.size=12", "--json")
    assert done.code == 0, done.out
    assert done.data["samples"] == {"train": {"": 40}, "test": {"": 10}}
    info = gankit("run", toy, "--dataset", "shards", "--data.root", tmp_path / "out", "--dry-run")
    assert info.code == 0, info.out
    assert "40" in info.out + info.err


def test_what_is_no_dataset(gankit, tmp_path):
    done = gankit("data", "pack", "no-such", tmp_path / "out")
    assert done.code == 2
    assert "no-such" in done.out + done.err
    assert not (tmp_path / "out").exists()
