"""Images of 16 bits of colour and of any number of channels: trained on, translated, drawn, and given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from changers import Negative
from torch import nn

import gankit
from gankit.data.image_files import write_image
from gankit.data.planes import load_deep


class EachNegative(Negative):
    """The negative of every channel."""

    dataset = "folder"

    def networks(self, spec):
        channels = spec.shape_of("image")[0]
        net = nn.Conv2d(channels, channels, 1, bias=False, groups=channels)
        nn.init.constant_(net.weight, -1.0)
        return {"net": net}


def deep(channels: int, dtype: type = np.uint16, height: int = 12, width: int = 8, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width, channels))
    return draw.astype(dtype)


def trained(folder: Path, channels: int) -> gankit.Run:
    (folder / "images").mkdir()
    for number in range(12):
        write_image(folder / "images" / f"{number}.tif", deep(channels, np.uint8, seed=number))
    data = {"root": str(folder / "images"), "channels": channels, "size": 8}
    options = {"steps": 1, "batch_size": 4, "sample_n": 2, "device": "cpu", "out": str(folder / "runs")}
    return gankit.train(EachNegative, data=data, **options)


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("colour"), 3)


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("six"), 6)


def translated(run: gankit.Run, source: Path, target: Path) -> np.ndarray:
    (pair,) = run.change_files("translate", source, target, fit="tiles", given={"mood": "1"})
    assert not pair.error
    image = load_deep(target)
    assert image is not None
    return image.pixels


def negative(run: gankit.Run, values: np.ndarray) -> np.ndarray:
    most = np.iinfo(values.dtype).max
    weight = run.networks()["net"].weight.detach().flatten().numpy()
    return ((values / (most / 2) - 1) * weight + 1) * (most / 2)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_of_colour_stay_sixteen(colour, tmp_path: Path, ending: str) -> None:
    values = deep(3)
    write_image(tmp_path / f"in.{ending}", values)
    found = translated(colour, tmp_path / f"in.{ending}", tmp_path / f"out.{ending}")
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found, negative(colour, values).clip(0, 65535), atol=2)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [2, 4])
def test_sixteen_bits_of_opacity_come_back(colour, tmp_path: Path, ending: str, channels: int) -> None:
    values = deep(channels)
    write_image(tmp_path / f"in.{ending}", values)
    found = translated(colour, tmp_path / f"in.{ending}", tmp_path / f"out.{ending}")
    assert found.shape[2] == 4
    np.testing.assert_allclose(found[..., 3], values[..., -1], atol=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_many_channels_come_back_with_their_bits(six, tmp_path: Path, dtype: type) -> None:
    values = deep(6, dtype)
    write_image(tmp_path / "in.tif", values)
    found = translated(six, tmp_path / "in.tif", tmp_path / "out.tif")
    assert found.dtype == dtype
    np.testing.assert_allclose(found, negative(six, values).clip(0, np.iinfo(dtype).max), atol=2)


def test_a_format_that_cannot_hold_them_is_named_and_the_rest_goes_on(six, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", deep(6))
    write_image(tmp_path / "b.tif", deep(3, np.uint8))
    write_image(tmp_path / "c.png", deep(3, np.uint8))
    good, *bad = six.change_files("translate", tmp_path, tmp_path / "out", given={"mood": "1"})
    assert not good.error
    assert all("not a TIFF file of 6 channels, of 8 or 16 bits each" in pair.error for pair in bad)
    (one,) = six.change_files("translate", tmp_path / "a.tif", tmp_path / "out.png", given={"mood": "1"})
    assert "PNG holds no image of 6 channels" in one.error


def test_samples_have_all_channels(six, tmp_path: Path) -> None:
    write_image(tmp_path / "in.tif", deep(6, np.uint8, 8, 8))
    samples = six.sample(2, given={"image": str(tmp_path / "in.tif"), "mood": "1", "box": "0,0,1,1"})
    files = samples.save(tmp_path / "out")
    assert [file.name for file in files] == ["000000.tif", "000001.tif", "samples.jsonl"]
    image = load_deep(files[0])
    assert image is not None
    assert np.array_equal(image.pixels, ((samples.values[0] + 1) * 127.5).round().clamp(0, 255).byte().movedim(0, -1))
    samples.save(tmp_path / "out", overwrite=True)
    samples.save(tmp_path / "sheet.png")


def test_other_files_are_left_out_and_named(tmp_path: Path) -> None:
    for number in range(8):
        write_image(tmp_path / f"{number}.tif", deep(5 if number else 3, np.uint8))
    from gankit.data.folder import FolderConfig, ImageFolder

    data = ImageFolder(FolderConfig(root=str(tmp_path), channels=5, size=8, test_fraction=0.0))
    assert len(data) == 7
    assert data.batch(torch.arange(7))["image"].shape == (7, 5, 8, 8)
    assert "0.tif: not a TIFF file of 5 channels, of 8 or 16 bits each" in " ".join(data.notes())
