"""Images of colour with opacity, from a directory to a model and back into files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from changers import Negative
from PIL import Image

import gankit
from gankit.data.augment import DiffAugment
from gankit.data.folder import FolderConfig, ImageFolder
from gankit.data.image_files import write_image
from gankit.data.images import decode
from gankit.data.opacity import widened
from gankit.data.paired import PairedFolder, PairedFolderConfig
from gankit.data.photo import load_photo
from gankit.data.planes import decode_channels
from gankit.errors import GankitError
from gankit.plugin import DataSpec
from gankit.sampling.sheets import hidden_channels, sheet


def sticker(path: Path, size: tuple[int, int] = (16, 16), colour: tuple[int, int, int] = (200, 40, 10)) -> Path:
    """A square of a colour in the middle, and nothing around it, which happens to be green."""
    image = Image.new("RGBA", size, (0, 255, 0, 0))
    wide, high = size
    image.paste((*colour, 255), (wide // 4, high // 4, wide - wide // 4, high - high // 4))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


class Same(Negative):
    """Answers an image with itself, as it is after one step of learning to be it."""

    dataset = None

    def networks(self, spec: DataSpec) -> dict[str, torch.nn.Module]:
        made = torch.nn.Conv2d(4, 4, 1)
        torch.nn.init.dirac_(made.weight)
        torch.nn.init.zeros_(made.bias)
        return {"net": made}

    def asks(self, spec, produces):
        return {"image": spec["image"]}

    def sample(self, networks, request):
        return networks["net"](request.batch["image"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("stickers")
    for i in range(6):
        sticker(root / f"{i}.png", colour=(40 * i, 255 - 40 * i, 100))
    data = ImageFolder(FolderConfig(root=str(root), size=16, channels=4))
    options = {"steps": 1, "batch_size": 2, "sample_n": 2, "sample_every": 0, "eval_every": 0, "optim": {"lr": 1e-9}}
    return gankit.train(Same, data, out=tmp_path_factory.mktemp("run"), **options)


def test_a_file_is_read_with_its_opacity_or_laid_on_white(tmp_path: Path) -> None:
    path = sticker(tmp_path / "a.png")
    image = decode(path, 4)
    assert image.shape == (4, 16, 16)
    assert image[:, 8, 8].tolist() == [200, 40, 10, 255]
    assert image[3, 0, 0] == 0
    assert decode(path, 3)[:, 0, 0].tolist() == [255, 255, 255]
    Image.new("L", (4, 4), 77).save(tmp_path / "grey.png")
    assert decode(tmp_path / "grey.png", 4)[:, 0, 0].tolist() == [77, 77, 77, 255]


def test_what_is_invisible_tints_nothing_when_it_is_resized(tmp_path: Path) -> None:
    path = sticker(tmp_path / "a.png", (64, 64))
    small = decode_channels(path, (16, 16), 4).int()
    seen = small[3] > 40
    assert (small[:3, seen] - torch.tensor([200, 40, 10])[:, None]).abs().max() <= 12
    assert (small[:3, small[3] == 0] == 255).all()
    assert decode_channels(sticker(tmp_path / "c.png"), (16, 16), 4)[:, 0, 0].tolist() == [255, 255, 255, 0]
    padded = decode_channels(sticker(tmp_path / "b.png", (64, 32)), (16, 16), 4, "pad")
    assert padded[:, 0, 0].tolist() == [255, 255, 255, 0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_more_channels(dtype: torch.dtype) -> None:
    grey = torch.ones(2, 1, 3, 3).to(dtype)
    opaque = 255 if dtype == torch.uint8 else 1
    assert widened(grey, 1) is grey
    assert torch.equal(widened(grey, 3), grey.expand(-1, 3, -1, -1))
    assert widened(grey, 4)[:, 3].unique().tolist() == [opaque]
    assert torch.equal(widened(widened(grey, 3), 4), widened(grey, 4))


def test_sheets_show_it_on_white() -> None:
    images = torch.full((2, 4, 8, 8), -1.0)
    images[1, 3] = 1.0
    shown = sheet(images, 2, gutter=0)
    width = shown.shape[1] // 2
    assert shown[:, :width].unique().tolist() == [255]
    assert shown[:, width:].unique().tolist() == [0]
    assert not hidden_channels(4)


def test_a_run_trains_on_it_draws_it_and_keeps_it_in_files(run, tmp_path: Path) -> None:
    assert run.spec.image_shape == (4, 16, 16)
    samples = run.sample(3)
    assert not samples.note
    samples.save(tmp_path / "each")
    with Image.open(sorted((tmp_path / "each").glob("*.png"))[0]) as drawn:
        assert drawn.mode == "RGBA"
        assert np.asarray(drawn)[0, 0, 3] == 0


@pytest.mark.parametrize("fit", ["stretch", "tiles"])
def test_translation_of_files(run, tmp_path: Path, fit: str) -> None:
    source = sticker(tmp_path / "in.png", (40, 40))
    (pair,) = run.change_files("translate", source, tmp_path / "out.png", fit=fit)
    assert not pair.error
    found = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    assert found.shape == (40, 40, 4)
    assert found[0, 0, 3] <= 1
    assert np.abs(found[20, 20] - [200, 40, 10, 255]).max() <= 2
    seen = found[..., 3] > 60
    assert np.abs(found[seen][:, :3] - [200, 40, 10]).max() <= 25  # no green from what nobody sees
    (pair,) = run.change_files("translate", source, tmp_path / "out.jpg", fit=fit)
    assert not pair.error
    flat = np.asarray(Image.open(tmp_path / "out.jpg")).astype(int)
    assert flat.shape == (40, 40, 3)
    assert flat[0, 0].min() >= 250


def test_what_draws_no_opacity_gives_that_of_the_file_back(tmp_path: Path) -> None:
    path = sticker(tmp_path / "in.png")
    for channels in (3, 4):
        pixels = load_photo(path, channels).result(torch.zeros(3, 8, 8), tmp_path / "out.png", True)
        assert pixels.shape == (16, 16, 4)
        assert (pixels[0, 0, 3], pixels[8, 8, 3]) == (0, 255)


def test_a_file_and_its_pixels_are_shown_alike(run, tmp_path: Path) -> None:
    path = sticker(tmp_path / "in.png", (64, 64))
    pixels = np.asarray(Image.open(path))
    of_file, of_pixels = (run.translate([one]).images[0] for one in (path, pixels))
    seen = (of_file[3] > -0.6) & (of_pixels[3] > -0.6)
    assert (of_file - of_pixels)[:3, seen].abs().max() < 0.15


def test_colours_are_augmented_and_opacity_is_not() -> None:
    images = torch.rand(4, 4, 8, 8) * 2 - 1
    made = DiffAugment(["color"])(images, torch.Generator().manual_seed(0))
    assert torch.equal(made[:, 3], images[:, 3])
    assert not torch.equal(made[:, :3], images[:, :3])


def test_a_tensor_in_colour_is_opaque(run) -> None:
    assert run.translate([torch.zeros(3, 16, 16)]).images[0, 3].min() > 0.99


def test_a_jpeg_cannot_hold_it(tmp_path: Path) -> None:
    with pytest.raises(GankitError, match="cannot write"):
        write_image(tmp_path / "a.jpg", torch.zeros(4, 8, 8))


def test_pairs_of_which_one_side_has_it(tmp_path: Path) -> None:
    for i in range(4):
        sticker(tmp_path / "a" / f"{i}.png")
        sticker(tmp_path / "b" / f"{i}.png")
        both = Image.new("RGBA", (32, 16))
        both.paste(Image.open(tmp_path / "a" / f"{i}.png"), (0, 0))
        both.paste(Image.open(tmp_path / "b" / f"{i}.png"), (16, 0))
        (tmp_path / "both").mkdir(exist_ok=True)
        both.save(tmp_path / "both" / f"{i}.png")
    for options in ({"a": str(tmp_path / "a"), "b": str(tmp_path / "b")}, {"root": str(tmp_path / "both")}):
        data = PairedFolder(PairedFolderConfig(size=16, channels_a=4, channels_b=3, **options))
        batch = data.batch(torch.arange(2))
        assert batch["a"].shape == (2, 4, 16, 16)
        assert batch["a"][:, 3, 0, 0].tolist() == [0, 0]
        assert batch["b"][:, :, 0, 0].unique().tolist() == [255]
