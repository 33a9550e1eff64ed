"""Files in, files out: sizes, bits and opacity as they were, large ones in tiles, done ones left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from changers import Negative
from PIL import Image
from training_helpers import train

from gankit.errors import UsageError
from gankit.events import Progress

KINDS = [("L", "png"), ("RGB", "jpg"), ("CMYK", "jpg"), ("RGBA", "webp"), ("1", "tif"), ("I;16", "png")]


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


def test_two_hundred_files_of_every_kind(run, tmp_path: Path) -> None:
    """Names, formats and sizes stay, what is broken is named, and each is the negative of its own source."""
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in range(200):
        width, height = (1, 1) if number < 2 else (int(side) for side in draw.integers(1, 40, 2))
        mode, ending = KINDS[number % len(KINDS)]
        path = source / ("deep" if number % 2 else "") / f"{number}.{ending}"
        if mode == "I;16":
            Image.fromarray(np.full((height, width), number * 300, np.uint16)).save(path)
        else:
            Image.new("L", (width, height), number).convert(mode).save(path)
        if number % 50 == 7:
            path.write_bytes(path.read_bytes()[:20])
    Image.new("RGB", (1800, 900), (60, 60, 60)).save(source / "large.jpg")
    pairs = run.change_files("translate", source, out, fit="tiles", given={"mood": "1"})
    assert sum(bool(pair.error) for pair in pairs) == 4
    weight = float(run.networks()["net"].weight.detach())
    for pair in pairs:
        if pair.error:
            assert str(pair.source) in pair.error
            assert not pair.target.exists()
            continue
        with Image.open(pair.source) as image, Image.open(pair.target) as result:
            assert (image.size, image.format) == (result.size, result.format)
            if image.mode in ("L", "RGB", "I;16"):
                scale = 257 if image.mode == "I;16" else 1
                grey = np.asarray(image if scale > 1 else image.convert("L")).mean() / scale
                wanted = (weight * (grey / 127.5 - 1) + 1) * 127.5
                assert np.asarray(result).mean() / scale == pytest.approx(wanted, abs=2)


class Noisy(Negative):
    """Adds noise, so that one image never becomes the same twice."""

    random = True

    def sample(self, networks, request):
        return (super().sample(networks, request) + request.noise(request.n, 1, 8, 8)).clamp(-1, 1)


@pytest.mark.parametrize("variant", [Negative, Noisy])
@pytest.mark.parametrize("given", [None, {"mood": ["0", "1", "0", "1", "1"]}])
def test_after_a_kill_the_rest_is_what_it_would_have_been(tmp_path: Path, variant: type, given: dict | None) -> None:
    """Noise and what is asked for belong to a file, whichever files are left to do."""
    noisy, source = train(tmp_path / "run", variant, steps=1, sample_n=2), tmp_path / "in"
    source.mkdir()
    for number in range(5):
        Image.new("L", (8, 8), 40 * number).save(source / f"{number}.png")

    def translate(out: str, **options: str) -> dict[str, bytes]:
        noisy.change_files("translate", source, tmp_path / out, given=given, **options)
        return {path.name: path.read_bytes() for path in (tmp_path / out).iterdir()}

    whole = translate("whole")
    assert translate("again") == whole
    for name in ("0.png", "3.png"):
        (tmp_path / "again" / name).unlink()
    before = (tmp_path / "again" / "1.png").stat().st_mtime_ns
    assert translate("again", existing="keep") == whole
    assert (tmp_path / "again" / "1.png").stat().st_mtime_ns == before


def test_what_lies_in_out_is_not_translated_again(run, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    Image.new("L", (8, 8)).save(source / "a.png")
    for existing in ("refuse", "keep"):
        run.change_files("translate", source, source / "out", existing=existing)
    assert len(list(source.rglob("a.png"))) == 2


def test_tiles_of_a_large_picture_are_counted(run, tmp_path: Path) -> None:
    Image.new("L", (80, 80)).save(tmp_path / "a.png")
    seen = []
    run.change_files("translate", tmp_path / "a.png", tmp_path / "b.png", fit="tiles", on_event=seen.append)
    told = [(event.done, event.total) for event in seen if isinstance(event, Progress) and event.what == "tiles"]
    assert len(told) > 2
    assert all(0 < done <= total == told[0][1] for done, total in told)
