"""Photographs to stand on: which are used, in which split, at which scale, and how often they are read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from gankit_plugin_emoji.grounds import Photographs
from gankit_plugin_emoji.placed import PlacedEmoji
from PIL import Image

from gankit.data.store import ImageStore
from gankit.errors import UsageError
from gankit.events import ignore


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (120, 90)) -> None:
    Image.new("RGB", size, colour).save(path)


def opened(root: Path, split: str = "train", size: int = 32, disk: int = 20 << 30) -> Photographs:
    return Photographs(str(root), size, split, 0.1, disk)


def spans(photographs: Photographs) -> np.ndarray:
    """How much of a photograph, black at its left and white at its right, 200 parts show."""
    draw = np.random.default_rng(0)
    parts = [photographs.cut(draw) for _ in range(200)]
    return np.array([float(part.max() - part.min()) / 255 for part in parts])


def ramp(path: Path, side: int) -> None:
    Image.fromarray(np.broadcast_to(np.linspace(0, 255, side).astype(np.uint8), (side, side))).save(path)


def test_both_splits_are_of_one_scale(tmp_path: Path) -> None:
    for number in range(3):
        ramp(tmp_path / f"{number}.png", 300)
    for split in ("train", "test"):
        found = spans(opened(tmp_path, split))
        assert 0.3 < found.min() < 0.4
        assert 0.9 < found.max() <= 1


def test_small_photographs_are_not_enlarged(tmp_path: Path) -> None:
    """A part has no fewer pixels than an image: of 48 at least 32."""
    ramp(tmp_path / "a.png", 48)
    assert 0.62 < spans(opened(tmp_path)).min() < 0.72
    ramp(tmp_path / "a.png", 20)
    assert spans(opened(tmp_path)).min() > 0.98


def test_all_photographs_are_used(tmp_path: Path) -> None:
    paint(tmp_path / "first.png", (9, 9, 9), (8, 8))
    for number in range(1100):
        os.link(tmp_path / "first.png", tmp_path / f"{number}.png")
    train, test = (set(opened(tmp_path, split).files) for split in ("train", "test"))
    assert len(train) == 991
    assert len(test) == 110
    assert not train & test


def test_directories_of_splits_are_the_splits(tmp_path: Path) -> None:
    for name in ("train/a.png", "train/b.png", "test/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        paint(tmp_path / name, (9, 9, 9))
    assert opened(tmp_path).files == ("train/a.png", "train/b.png")
    assert opened(tmp_path, "test").files == ("test/c.png",)


def test_of_a_single_photograph_both_splits_are_cut(tmp_path: Path) -> None:
    paint(tmp_path / "alone.png", (9, 9, 9))
    for split in ("train", "test"):
        photographs = opened(tmp_path, split)
        assert photographs.files == ("alone.png",)
        assert any("one alone, alone.png" in note for note in photographs.notes())


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (9, 9, 9))
    (tmp_path / "b.jpg").write_bytes(b"no image")
    os.mkfifo(tmp_path / "pipe.png")
    notes = opened(tmp_path).notes()
    assert any("pipe.png is a pipe" in note for note in notes)
    (note,) = (note for note in notes if "b.jpg" in note)
    assert "1 of 2 image files cannot be read" in note


def test_those_that_can_be_read_are_divided(tmp_path: Path) -> None:
    for number in range(2):
        paint(tmp_path / f"{number}.png", (9, 9, 9))
    for number in range(9):
        (tmp_path / f"broken {number}.png").write_bytes(b"no image")
        both = [opened(tmp_path, split).files for split in ("train", "test")]
        assert sorted(both) == [("0.png",), ("1.png",)]
    for split in ("train", "test"):
        (tmp_path / "named" / split).mkdir(parents=True)
        paint(tmp_path / "named" / split / "a.png", (9, 9, 9))
    (tmp_path / "named" / "train" / "a.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"none of those for training can be read: .*a\.png"):
        opened(tmp_path / "named").notes()


def test_of_many_the_next_of_the_split_stands_for_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ImageStore.__init__.__kwdefaults__, "check", 2)  # of more than so many all are not looked at
    for number in range(30):
        paint(tmp_path / f"{number}.png", (number, 0, 0))
    test = opened(tmp_path, "test").files
    for name in test[1:]:
        (tmp_path / name).write_bytes(b"no image")
    photographs, draw = opened(tmp_path, "test"), np.random.default_rng(0)
    assert photographs.files == test
    assert {int(photographs.cut(draw)[0, 0, 0]) for _ in range(20)} == {int(Path(test[0]).stem)}
    (tmp_path / test[0]).write_bytes(b"no image")
    with pytest.raises(UsageError, match="none of the 3 of the test split can be read"):
        opened(tmp_path, "test").cut(draw)


def test_each_is_read_once_by_however_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = ImageStore._decode

    def decode(self: ImageStore, file: str) -> np.ndarray:
        read.append(file)
        return plain(self, file)

    monkeypatch.setattr(ImageStore, "_decode", decode)
    for number in range(8):
        paint(tmp_path / f"{number}.png", (number, 0, 0))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    photographs = opened(tmp_path)
    wait = Barrier(4)

    def cut(number: int) -> np.ndarray:
        wait.wait()
        return photographs.cut(np.random.default_rng(number))

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(cut, range(4)))
    assert len(read) == len(set(read)) == 9
    assert len([note for note in photographs.notes() if "broken.jpg" in note]) == 1
    assert all(np.array_equal(part, photographs.cut(np.random.default_rng(n))) for n, part in enumerate(parts))


def test_they_are_decoded_once_for_both_splits_and_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        paint(tmp_path / f"{number}.png", (number, 0, 0), (1200, 900))
    first = opened(tmp_path, size=256)
    first.load(ignore)
    assert any("--data.cache-gib" in note for note in first.notes())
    monkeypatch.delattr(ImageStore, "_decode")
    parts = [photographs.cut(np.random.default_rng(3)) for photographs in (first, opened(tmp_path, size=256))]
    assert np.array_equal(*parts)
    assert parts[0].shape == (256, 256, 3)
    assert opened(tmp_path, "test", 256).cut(np.random.default_rng(3)).shape == (256, 256, 3)
    assert PlacedEmoji.reading == {"cache", "cache_gib"}


def test_without_a_cache_nothing_is_kept(tmp_path: Path) -> None:
    for number in range(3):
        ramp(tmp_path / f"{number}.png", 100 + number)
    parts = [opened(tmp_path, disk=disk).cut(np.random.default_rng(3)) for disk in (20 << 30, 0)]
    assert np.array_equal(*parts)
    assert not any("--data.cache-gib" in note for note in opened(tmp_path, disk=0).notes())
