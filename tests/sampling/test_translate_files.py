"""Files in, files out: sizes, bits and opacity as they were, large ones in tiles, done ones left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from changers import Negative
from PIL import Image
from training_helpers import train

from gankit.errors import UsageError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), Negative, steps=1, sample_n=2)


def translated(run, source: Path, target: Path, **options) -> Image.Image:
    (pair,) = run.change_files("translate", source, target, given={"mood": "1"}, **options)
    assert not pair.error
    return Image.open(target)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("fit", ["stretch", "tiles"])
def test_sixteen_bits_stay_sixteen(run, tmp_path: Path, ending: str, fit: str) -> None:
    """Neighbouring greys, of which 8 bits would leave a step of 256, stay apart."""
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 40 + 30_000
    Image.fromarray(values).save(tmp_path / f"in.{ending}")
    image = translated(run, tmp_path / f"in.{ending}", tmp_path / f"out.{ending}", fit=fit)
    assert image.mode.startswith("I")
    found = np.asarray(image).astype(int)
    weight = float(run.networks()["net"].weight.detach())  # about -1
    np.testing.assert_allclose(found, (weight * (values / 32767.5 - 1) + 1) * 32767.5, atol=1.5)
    assert len(np.unique(found)) == 64
    small = translated(run, tmp_path / f"in.{ending}", tmp_path / "out.jpg", fit=fit)
    assert small.mode == "L"  # no 16 bits in a JPEG


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_opacity_comes_back(run, tmp_path: Path, mode: str) -> None:
    alpha = np.linspace(0, 255, 20 * 10).reshape(10, 20).astype(np.uint8)
    image = Image.merge("RGBA", [*Image.new("RGB", (20, 10), (0, 0, 0)).split(), Image.fromarray(alpha)])
    if mode == "P":
        image = Image.new("P", (20, 10), 3)
        image.putpalette([level for index in range(4) for level in (index,) * 3])
        image.info["transparency"] = 3
        alpha[:] = 0
    (image if mode == "P" else image.convert(mode)).save(tmp_path / "in.png")
    for options in ({}, {"fit": "tiles"}):
        found = translated(run, tmp_path / "in.png", tmp_path / "out.png", existing="replace", **options)
        np.testing.assert_array_equal(np.asarray(found.convert("RGBA").getchannel("A")), alpha)
    assert translated(run, tmp_path / "in.png", tmp_path / "out.jpg").mode == "L"


def test_tiles_work_at_the_size_of_the_image(run, tmp_path: Path) -> None:
    """Stripes finer than a stretched image could show come back as their negative, at an odd size."""
    values = np.zeros((37, 83), np.uint8)
    values[::2] = 200
    Image.fromarray(values).save(tmp_path / "in.png")
    found = np.asarray(translated(run, tmp_path / "in.png", tmp_path / "out.png", fit="tiles")).astype(int)
    weight = float(run.networks()["net"].weight.detach())
    np.testing.assert_allclose(found, (weight * (values / 127.5 - 1) + 1) * 127.5, atol=1)
    small = np.asarray(translated(run, tmp_path / "in.png", tmp_path / "small.png")).astype(int)
    assert np.abs(small - found).max() > 50
    for pixel in ((1, 1), (1, 30)):
        Image.new("L", pixel, 255).save(tmp_path / "dot.png")
        assert translated(run, tmp_path / "dot.png", tmp_path / "d.png", fit="tiles", existing="replace").size == pixel


def test_what_cannot_be_cut_is_said(run, tmp_path: Path) -> None:
    Image.new("L", (20, 20)).save(tmp_path / "in.png")
    ways = (
        ({"given": {"box": "0,0,1,1"}}, "a box goes with cannot be cut"),
        ({"size": "model"}, "joined at the size of the input"),
        ({"overlap": 0.6}, "from 0 to 0.5, got 0.6"),
    )
    for options, words in ways:
        with pytest.raises(UsageError, match=words):
            run.change_files("translate", tmp_path / "in.png", tmp_path / "out.png", fit="tiles", **options)
    assert not (tmp_path / "out.png").exists()


def test_two_hundred_files_of_every_kind_and_a_kill_in_between(run, tmp_path: Path) -> None:
    """What is done is not done again, what is broken is named, whatever the fit."""
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in range(200):
        width, height = (int(side) for side in draw.integers(1, 40, 2))
        mode, ending = [("L", "png"), ("RGB", "jpg"), ("CMYK", "jpg"), ("RGBA", "webp"), ("1", "tif")][number % 5]
        path = source / ("deep" if number % 2 else "") / f"{number}.{ending}"
        Image.new(mode, (width, height)).save(path)
        if number % 50 == 7:
            path.write_bytes(path.read_bytes()[:20])
    first = run.change_files("translate", source / "deep", out / "deep", fit="tiles")
    assert sum(bool(pair.error) for pair in first) == 4
    before = {pair.target: pair.target.stat().st_mtime_ns for pair in first if not pair.error}
    pairs = run.change_files("translate", source, out, existing="keep")
    assert len(pairs) == 100 + 4
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    for path in source.rglob("*.*"):
        target = out / path.relative_to(source)
        if not target.exists():
            assert any(str(path) in pair.error for pair in pairs)
            continue
        with Image.open(path) as image, Image.open(target) as result:
            assert (image.size, image.format) == (result.size, result.format)
