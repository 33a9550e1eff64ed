"""Pictures of a run, one after another, in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gankit.errors import UsageError
from gankit.sampling import animation, film
from gankit.sampling.animation import animate, series


def picture(path: Path, grey: int, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("L", size, grey).save(path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Of three steps, with a figure; the last sheet is larger than those before."""
    samples = tmp_path / "run" / "samples"
    samples.parent.mkdir()
    for step, grey in ((0, 10), (500, 100), (1_000_000, 200)):
        picture(samples / f"{step:06d}.png", grey, (9, 4) if step > 500 else (6, 4))
        picture(samples / f"{step:06d}-two-words.png", grey + 1)
    picture(samples / "notes.png", 0)
    return samples.parent


def frames(path: Path) -> list[np.ndarray]:
    with Image.open(path) as image:
        found = []
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            found.append(np.asarray(image.convert("RGB")))
    return found


def test_series_are_in_the_order_of_their_steps(run: Path) -> None:
    found = series(run)
    assert list(found) == ["sheet", "two-words"]
    assert [path.name for path in found["sheet"]] == ["000000.png", "000500.png", "1000000.png"]
    assert series(run.parent) == {}


@pytest.mark.parametrize("suffix", [".png", ".gif", ".webp"])
def test_each_picture_is_a_frame(suffix: str, run: Path, tmp_path: Path) -> None:
    out = tmp_path / f"moving{suffix}"
    assert animate(run, out, "two-words", rate=4) == 3
    assert [int(frame[0, 0, 0]) for frame in frames(out)] == [11, 101, 201]
    with Image.open(out) as image:
        assert image.n_frames == 3
        image.load()  # which WebP says its durations by
        assert image.info["duration"] == 250
        assert image.info["loop"] == 0


def test_pictures_of_other_sizes_stand_on_white(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "moving.png"
    assert animate(run, out) == 3
    first, *_, last = frames(out)
    assert first.shape == last.shape == (4, 9, 3)
    assert first[0, :, 0].tolist() == [10] * 6 + [255] * 3
    assert (last == 200).all()


def test_frames_and_pixels_are_bounded(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(1, 60):
        picture(run / "samples" / f"{step:06d}-many.png", step)
    monkeypatch.setattr(animation, "FRAMES", 7)
    monkeypatch.setattr(film, "PIXELS", 7 * 6)
    assert animate(run, tmp_path / "moving.png", "many") == 7
    shown = frames(tmp_path / "moving.png")
    assert [int(frame[0, 0, 0]) for frame in shown] == [1, 11, 20, 30, 40, 49, 59]
    assert shown[0].shape == (2, 3, 3)


def test_what_cannot_be_animated_is_said(run: Path, tmp_path: Path) -> None:
    picture(run / "samples" / "000000-alone.png", 0)
    for figure, words in (
        ("none", "no pictures of 'none': it has sheet, alone, two-words"),
        ("alone", "has one picture"),
    ):
        with pytest.raises(UsageError, match=words):
            animate(run, tmp_path / "moving.png", figure)
    with pytest.raises(UsageError, match="it has none yet"):
        animate(tmp_path, tmp_path / "moving.png")
    with pytest.raises(UsageError, match=r"moving.avi: an animation is a PNG, GIF, WebP or MP4 file. .*ing.png"):
        animate(run, tmp_path / "moving.avi")
    with pytest.raises(UsageError, match="there is no directory"):
        animate(run, tmp_path / "nowhere" / "moving.png")
    animate(run, tmp_path / "moving.png")
    with pytest.raises(UsageError, match="exists already"):
        animate(run, tmp_path / "moving.png")
    assert animate(run, tmp_path / "moving.png", overwrite=True) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"run", "moving.png"}
