"""Films: of every size and kind of picture, looping without a jump, and whole or not there."""

from __future__ import annotations

import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from changers import Encoder
from PIL import Image
from training_helpers import train

from gankit.errors import UsageError
from gankit.sampling import film
from gankit.sampling.film import write_film
from gankit.sampling.sheets import sheet

SUFFIXES = [".gif", ".webp", ".apng", ".mp4"]


@pytest.fixture(params=SUFFIXES)
def suffix(request) -> str:
    if request.param == ".mp4":
        pytest.importorskip("av")
    return request.param


def read(path: Path) -> list[np.ndarray]:
    """The frames, (H, W, 3)."""
    if path.suffix == ".mp4":
        import av

        with av.open(str(path)) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")))
    return found


def greys(count: int, size: tuple[int, int], mode: str = "RGB"):
    for number in range(count):
        level = 40 + 20 * number
        yield Image.new(mode, size, level if mode == "L" else (level,) * 3)


@pytest.mark.parametrize(("size", "mode"), [((5, 3), "RGB"), ((1, 1), "L"), ((64, 20), "L"), ((33, 65), "RGB")])
def test_nothing_of_a_picture_is_lost(suffix, size, mode, tmp_path):
    out = tmp_path / f"film{suffix}"
    assert write_film(out, greys(4, size, mode), 4, rate=10) == 4
    frames = read(out)
    assert len(frames) == 4
    wide, high = frames[0].shape[1], frames[0].shape[0]
    even = suffix == ".mp4"
    assert (wide, high) == ((size[0] + size[0] % 2, size[1] + size[1] % 2) if even else size)
    for number, frame in enumerate(frames):
        assert abs(frame.astype(int) - (40 + 20 * number)).max() <= (6 if even else 0)


def test_one_frame(suffix, tmp_path):
    write_film(tmp_path / f"film{suffix}", greys(1, (8, 8)), 1, rate=10)
    assert read(tmp_path / f"film{suffix}")[0].shape == (8, 8, 3)


def test_the_last_stays(tmp_path):
    pytest.importorskip("av")
    write_film(tmp_path / "film.mp4", greys(3, (8, 8)), 3, rate=5, hold=2.0)
    frames = read(tmp_path / "film.mp4")
    assert len(frames) == 13
    assert abs(frames[-1].astype(int) - frames[2]).max() <= 2


def test_what_is_interrupted_leaves_nothing(suffix, tmp_path):
    for error in (KeyboardInterrupt, MemoryError):

        def broken(error=error):
            yield from greys(3, (8, 8))
            raise error

        with pytest.raises(error):
            write_film(tmp_path / f"film{suffix}", broken(), 9, rate=10)
        assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(suffix, tmp_path):
    out = tmp_path / f"film{suffix}"
    out.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"it exists already\. Give another --out"):
        write_film(out, greys(3, (8, 8)), 3, rate=10)
    assert out.read_bytes() == b"mine"
    write_film(out, greys(3, (8, 8)), 3, rate=10, overwrite=True)
    assert len(read(out)) == 3


def test_mp4_is_written_as_it_comes(tmp_path):
    """Whatever is encoded is let go: no more frames are alive than the encoder looks ahead."""
    pytest.importorskip("av")
    made: list[weakref.ref] = []
    most = 0

    def many():
        nonlocal most
        for image in greys(120, (16, 16)):
            made.append(weakref.ref(image))
            most = max(most, sum(one() is not None for one in made))
            yield image

    write_film(tmp_path / "film.mp4", many(), 120, rate=24)
    assert most < 10


def test_large_pictures_are_made_smaller(tmp_path, monkeypatch):
    pytest.importorskip("av")
    monkeypatch.setattr(film, "MP4_SIDE", 32)
    write_film(tmp_path / "film.mp4", greys(2, (100, 50)), 2, rate=10)
    assert read(tmp_path / "film.mp4")[0].shape == (16, 32, 3)


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"MP4 needs PyAV: pip install 'gankit\[video\]'"):
        film.check_film(tmp_path / "film.mp4", overwrite=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), Encoder, steps=1, sample_n=2)


def test_rows_go_side_by_side_and_back(run, tmp_path):
    assert run.film(tmp_path / "a.apng", rows=3, frames=5, seed=2) == 5
    assert run.film(tmp_path / "b.apng", rows=3, frames=5, seed=2, loop=True) == 8
    straight, around = read(tmp_path / "a.apng"), read(tmp_path / "b.apng")
    rows = run.interpolate(rows=3, frames=5, seed=2)
    for frame in (0, 2, 4):
        wanted = sheet(rows.images.view(3, 5, 1, 8, 8)[:, frame]).expand(-1, -1, 3).numpy()
        assert (straight[frame] == wanted).all()
    assert (around[0] == straight[0]).all()
    assert (around[4] == straight[4]).all()
    for there, back in ((1, 7), (2, 6), (3, 5)):
        assert (around[there] == around[back]).all()
    turn, middle = (abs(around[i].astype(int) - around[j]).max() for i, j in ((0, 1), (1, 2)))
    assert turn < middle


def test_images_go_one_after_another_and_around(run, tmp_path):
    images = torch.stack([torch.full((1, 8, 8), value) for value in (-1.0, 0.0, 1.0)])
    assert run.film(tmp_path / "a.apng", images, frames=3) == 5
    assert run.film(tmp_path / "b.apng", images, frames=3, loop=True) == 6
    levels = [int(frame[0, 0, 0]) for frame in read(tmp_path / "a.apng")]
    assert levels == pytest.approx([0, 64, 128, 191, 255], abs=1)
    levels = [int(frame[0, 0, 0]) for frame in read(tmp_path / "b.apng")]
    assert levels == pytest.approx([0, 64, 128, 191, 255, 128], abs=1)


def test_what_cannot_be_filmed_is_said_first(run, tmp_path):
    (tmp_path / "there.gif").write_bytes(b"mine")
    for name, words in (("there.gif", "exists already"), ("no/where.gif", "there is no directory")):
        with pytest.raises(UsageError, match=words):
            run.film(tmp_path / name)
    with pytest.raises(UsageError, match="frames must be at least 2"):
        run.film(tmp_path / "a.gif", frames=1)
