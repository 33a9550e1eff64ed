"""`translate` and `reconstruct`: images of any size and kind in, images of the same names out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from changers import Encoder, Negative
from PIL import Image
from training_helpers import train

import gankit
from gankit.data.planes import load_deep
from gankit.errors import UsageError
from gankit.events import Progress
from gankit.plugin import Config, Dataset, DataSpec, Key, Variant


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), Negative, steps=1, sample_n=2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (40, 20), (250,) * 3).save(folder / "a.jpg")
    Image.new("L", (5, 70), 0).save(folder / "deep" / "b.PNG")
    Image.fromarray(np.full((9, 9), 65535, np.uint16)).save(folder / "c.tif")
    Image.new("RGBA", (12, 12), (0, 0, 0, 0)).save(folder / "d.webp")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (30, 10)).save(folder / "e.jpg", exif=turned)
    (folder / "f.png").write_bytes(b"no image at all")
    return folder


def test_a_directory_keeps_names_sizes_and_formats(run, photos, tmp_path):
    seen = []
    out = tmp_path / "out"
    pairs = run.change_files("translate", photos, out, on_event=seen.append)
    assert {str(pair.target.relative_to(out)) for pair in pairs if not pair.error} == {
        "a.jpg",
        "c.tif",
        "d.webp",
        "deep/b.PNG",
        "e.jpg",
    }
    (broken,) = [pair for pair in pairs if pair.error]
    assert "f.png" in broken.error
    assert not broken.target.exists()
    for name, size, kind, grey in (
        ("a.jpg", (40, 20), "JPEG", 5),
        ("deep/b.PNG", (5, 70), "PNG", 255),
        ("c.tif", (9, 9), "TIFF", 0),
        ("d.webp", (12, 12), "WEBP", 0),  # transparent is white
        ("e.jpg", (10, 30), "JPEG", 255),  # upright
    ):
        with Image.open(out / name) as image:
            assert (image.size, image.format) == (size, kind)
            assert abs(float(np.asarray(image.convert("L")).mean()) - grey) < 4
    assert any(isinstance(event, Progress) for event in seen)
    with pytest.raises(UsageError, match="exists already"):
        run.change_files("translate", photos, out)
    again = run.change_files("translate", photos, out, existing="replace", size="model")
    assert sum(not pair.error for pair in again) == 5
    assert Image.open(out / "a.jpg").size == (8, 8)


def test_a_file_to_a_file_or_into_a_directory(run, photos, tmp_path):
    run.change_files("translate", photos / "a.jpg", tmp_path / "x.bmp")
    assert Image.open(tmp_path / "x.bmp").format == "BMP"
    (tmp_path / "there").mkdir()
    run.change_files("translate", photos / "a.jpg", tmp_path / "there")
    run.change_files("translate", photos / "a.jpg", tmp_path / "new" / "dir")
    assert (tmp_path / "there" / "a.jpg").is_file()
    assert (tmp_path / "new" / "dir" / "a.jpg").is_file()
    for source, out, words in (
        (photos / "a.jpg", tmp_path / "x.gif", "x.gif: not the name of an image"),
        (photos / "none.jpg", tmp_path / "y.png", "no file or directory"),
        (photos, tmp_path / "x.bmp", "is a file"),
        (tmp_path / "new", tmp_path / "new", "would replace"),
        (tmp_path / "empty", tmp_path / "z", "no images in"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match=words):
            run.change_files("translate", source, out, existing="replace")


def test_rows_belong_to_their_files_whatever_is_broken(run, photos, tmp_path):
    """`mood` goes in turn, file by file: 0 leaves the negative, 1 makes it grey."""
    out = tmp_path / "out"
    run.change_files("translate", photos, out, given={"box": "0,0,1,1"})
    greys = {n: float(np.asarray(Image.open(out / n).convert("L")).mean()) for n in ("a.jpg", "d.webp", "e.jpg")}
    assert greys["a.jpg"] == pytest.approx(5, abs=4)  # files 0 to 5: a c d deep/b e f
    assert np.asarray(Image.open(out / "c.tif")).mean() / 257 == pytest.approx(128, abs=4)  # of 16 bits
    assert greys["d.webp"] == pytest.approx(0, abs=4)
    assert greys["e.jpg"] == pytest.approx(255, abs=4)


def test_names_that_are_no_utf8(run, tmp_path):
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", folder + b"/\xe9.png")
    (pair,) = run.change_files("translate", tmp_path / "in", tmp_path / "out")
    assert not pair.error
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"\xe9.png"]


def test_in_python(run, photos):
    samples = run.translate([photos / "a.jpg", torch.ones(1, 8, 8), Image.new("L", (3, 50), 255)])
    assert samples.images.shape == (3, 1, 8, 8)
    assert samples.images.max() < -0.9
    assert [record["image"] for record in samples.records] == [str(photos / "a.jpg"), 1, 2]
    assert list(samples.layout.panels) == ["image", "sample"]
    assert samples.page().shape[1] > 96 * 2
    with pytest.raises(UsageError, match="empty list"):
        run.translate([])


def test_reconstruction(photos, tmp_path):
    run = train(tmp_path / "run", Encoder, steps=1, sample_n=2)
    wide = torch.rand(2, 1, 8, 8) * 2 - 1
    result = run.reconstruct(wide).images
    assert torch.allclose(result[:, :, ::2, ::2], torch.nn.functional.avg_pool2d(wide, 2), atol=1e-6)
    pairs = run.change_files("reconstruct", photos, tmp_path / "out")
    assert Image.open(tmp_path / "out" / "a.jpg").getpixel((3, 3)) == pytest.approx(250, abs=3)
    assert sum(bool(pair.error) for pair in pairs) == 1
    with pytest.raises(UsageError, match="Encoder cannot translate: to draw 'image' it asks for no image"):
        run.translate(wide)


def test_what_cannot(run):
    with pytest.raises(UsageError, match="Negative cannot reconstruct: it does not encode"):
        run.reconstruct(torch.zeros(1, 8, 8))
    with pytest.raises(UsageError, match="cannot be asked for 'colour'"):
        run.translate(torch.zeros(1, 8, 8), given={"colour": 1})
    with pytest.raises(UsageError, match="cannot draw 'b': it draws image"):
        run.translate(torch.zeros(1, 8, 8), to="b")


def test_two_images_are_not_translated(tmp_path):
    class Two(Negative):
        def asks(self, spec, produces):
            return {"a": spec["image"], "image": spec["image"]}

        sample = Variant.sample

        def codes(self, request):
            return request.noise(request.n, 1)

        def decode(self, networks, codes, request):
            return request.batch["image"]

    run = train(tmp_path, Two, steps=1, sample_n=2)
    with pytest.raises(UsageError, match=r"asks for 2 images \(a, image\): see `gankit sample --given`"):
        run.translate(torch.zeros(1, 8, 8))


def test_channels_that_few_files_can_hold(photos, tmp_path):
    class Layers(Dataset[Config]):
        spec = DataSpec(
            keys={"image": Key(kind="image", shape=(1, 8, 8)), "layers": Key(kind="image", shape=(2, 8, 8), of="image")}
        )

        def __len__(self):
            return 8

        def batch(self, indices):
            grey = (indices * 20).to(torch.uint8).view(-1, 1, 1, 1)
            return {"image": grey.expand(-1, 1, 8, 8).clone(), "layers": grey.expand(-1, 2, 8, 8).clone()}

    class Split(Negative):
        produces = ("layers",)

        def asks(self, spec, produces):
            return {"image": spec["image"]}

        def sample(self, networks, request):
            return request.batch["image"].expand(-1, 2, -1, -1)

    run = gankit.train(Split, Layers(Config()), out=tmp_path, steps=1, batch_size=4, sample_n=2, device="cpu")
    for pair in run.change_files("translate", photos, tmp_path / "out"):
        if pair.source.suffix == ".tif":
            found = load_deep(pair.target)
            assert found is not None
            assert found.pixels.shape[2] == 2
            assert not found.opacity
        else:
            assert "holds no image of 2 channels" in pair.error or "not a readable image" in pair.error
            assert not pair.target.exists()
    assert run.translate(torch.zeros(3, 1, 8, 8)).images.shape == (3, 2, 8, 8)
