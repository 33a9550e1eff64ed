"""Files of which Pillow keeps a part: 16 bits of colour, two channels, more than four."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from deep_files import pixels, tiff
from PIL import Image, ImageOps

from gankit.data.image_files import write_image
from gankit.data.images import ImageError, load
from gankit.data.paired import PairedFolder, PairedFolderConfig
from gankit.data.photo import load_photo
from gankit.data.planes import decode_channels, load_deep
from gankit.errors import UsageError

COLOUR = {"photometric": "rgb"}
GREY = {"photometric": "minisblack"}


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "lzw"}, {"compression": "deflate", "predictor": 2}, {"tile": (16, 16)}],
    ids=str,
)
@pytest.mark.parametrize("planes", [False, True])
def test_sixteen_bits_of_colour_in_every_kind_of_tiff(tmp_path: Path, options: dict[str, object], planes: bool) -> None:
    want = pixels(3)
    values = np.ascontiguousarray(np.moveaxis(want, -1, 0)) if planes else want
    config = "separate" if planes else "contig"
    image = load_deep(tiff(tmp_path / "a.tif", values, planarconfig=config, **COLOUR, **options))
    assert image is not None
    assert image.pixels.dtype == np.uint16
    assert np.array_equal(image.pixels, want)
    assert not image.opacity


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 5, 6, 13])
def test_any_number_of_channels_comes_back_from_a_tiff(tmp_path: Path, dtype: type, channels: int) -> None:
    want = pixels(channels, dtype)
    write_image(tmp_path / "a.tif", want)
    image = load_deep(tmp_path / "a.tif")
    assert image is not None
    assert np.array_equal(image.pixels, want)
    assert image.opacity == (channels == 2)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_written_and_read_as_they_were(tmp_path: Path, name: str, channels: int) -> None:
    want = pixels(channels)
    write_image(tmp_path / name, want)
    photo = load_photo(tmp_path / name, {1: 1, 2: 1, 3: 3, 4: 4}[channels])
    assert photo.own.dtype == np.uint16
    assert np.array_equal(photo.own, want[..., :1] if channels == 2 else want)
    if channels == 2:
        assert photo.alpha is not None
        assert np.allclose(np.asarray(photo.alpha) * 257, want[..., 1], atol=0.02)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "1", "I;16", "F"])
def test_what_pillow_reads_whole_is_left_to_it(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (9, 7), (200, 100, 50))
    if mode == "I;16":
        image = Image.fromarray(np.full((7, 9), 40000, np.uint16))
    elif mode != "RGB":
        image = image.convert(mode)
    image.save(tmp_path / "a.tif")
    assert load_deep(tmp_path / "a.tif") is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_that_was_held_otherwise(tmp_path: Path, orientation: int) -> None:
    values = pixels(3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    low, high = (Image.fromarray(part.astype(np.uint8)) for part in (values & 255, values >> 8))
    turned = []
    for part in (low, high):
        data = io.BytesIO()
        part.save(data, "PNG", exif=exif)
        turned.append(np.asarray(ImageOps.exif_transpose(Image.open(data))).astype(np.uint16))
    whole = bytearray(imagecodecs.png_encode(values))
    data = io.BytesIO()
    high.save(data, "PNG", exif=exif)
    chunk = data.getvalue()
    at = chunk.index(b"eXIf") - 4
    length = int.from_bytes(chunk[at : at + 4], "big") + 12
    end = whole.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(bytes(whole[:end]) + chunk[at : at + length] + bytes(whole[end:]))
    image = load_deep(tmp_path / "a.png")
    assert image is not None
    assert np.array_equal(image.pixels, turned[0] + 256 * turned[1])


def test_what_is_invisible_keeps_its_colours_but_is_shown_white(tmp_path: Path) -> None:
    values = np.full((4, 5, 4), 12345, np.uint16)
    values[..., 3] = np.arange(5) * 16383
    write_image(tmp_path / "a.png", values)
    photo = load_photo(tmp_path / "a.png", 3)
    assert np.array_equal(photo.own, values[..., :3])
    shown = photo.shown()
    assert shown[:, :, 0].eq(1).all()
    assert torch.allclose(shown[:, :, 4], torch.tensor(12345 / 32767.5 - 1), atol=2e-4)


def test_colours_multiplied_by_opacity_are_taken_as_they_were(tmp_path: Path) -> None:
    want = pixels(4)
    want[..., 3] = want[..., 3] // 2 + 32768
    multiplied = want.copy()
    multiplied[..., :3] = np.rint(want[..., :3] * (want[..., 3:] / 65535.0))
    image = load_deep(tiff(tmp_path / "a.tif", multiplied, extrasample="assocalpha", planarconfig="contig", **COLOUR))
    assert image is not None
    assert image.opacity
    assert np.abs(image.pixels.astype(int) - want).max() <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bit_colour_as_any_model_takes_it(tmp_path: Path, channels: int) -> None:
    values = pixels(3)
    write_image(tmp_path / "a.tif", values)
    shown = load_photo(tmp_path / "a.tif", channels).shown()
    want = torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1) / 32767.5 - 1
    if channels == 1:
        want = (want * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0, keepdim=True)
    assert torch.allclose(shown[:3], want, atol=1e-5)
    assert channels < 4 or shown[3].eq(1).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_channels_are_resized_as_grey_pictures_are(tmp_path: Path, fit: str) -> None:
    values = pixels(6, np.uint8, 40, 50)
    write_image(tmp_path / "a.tif", values)
    made = decode_channels(tmp_path / "a.tif", (16, 12), 6, fit)  # type: ignore[arg-type]
    assert made.shape == (6, 16, 12)
    for plane in range(6):
        Image.fromarray(values[..., plane]).save(tmp_path / "one.png")
        one = decode_channels(tmp_path / "one.png", (16, 12), 1, fit)[0]  # type: ignore[arg-type]
        assert (made[plane].int() - one.int()).abs().max() <= 1


@pytest.mark.parametrize(("have", "want"), [(6, 3), (6, 5), (3, 6), (6, None), (2, 3), (4, 4)])
def test_other_channels_than_there_are(tmp_path: Path, have: int, want: int | None) -> None:
    values = pixels(have, np.uint8)
    if have == 4:  # none of them opacity
        tiff(tmp_path / "a.tif", values, planarconfig="contig", extrasample="unspecified", **GREY)
    else:
        write_image(tmp_path / "a.tif", values, opacity=False)
    reads: list[Callable[[Path], object]] = [lambda path: load(path, None)]
    if want is not None:
        reads = [lambda path: load_photo(path, want), lambda path: decode_channels(path, (8, 8), want)]
    for read in reads:
        with pytest.raises(ImageError, match=r"a\.tif: (an image of [246] channels|not a TIFF file of 6 channels)"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("side", [2, 3, 5, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_planes_of_as_many_rows_as_there_are_channels(tmp_path: Path, side: int, dtype: type) -> None:
    want = pixels(side, dtype, side, side)
    planes = np.ascontiguousarray(np.moveaxis(want, -1, 0))
    kind = COLOUR if side == 3 and dtype == np.uint16 else GREY
    more = {} if kind is COLOUR else {"extrasample": "unspecified"}
    image = load_deep(tiff(tmp_path / "a.tif", planes, planarconfig="separate", **kind, **more))
    assert image is not None
    assert np.array_equal(image.pixels, want)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_what_is_trained_on_is_what_is_translated(tmp_path: Path, planes: bool, compression: str | None) -> None:
    """16 bits of colour as 8: rounded, and nothing else, however the file lies."""
    want = pixels(3)
    values = np.ascontiguousarray(np.moveaxis(want, -1, 0)) if planes else want
    config = "separate" if planes else "contig"
    path = tiff(tmp_path / "a.tif", values, compression=compression, planarconfig=config, **COLOUR)
    assert np.array_equal(np.asarray(load(path, 3)), np.rint(want / 257).astype(np.uint8))
    assert np.array_equal(load_photo(path, 3).own, want)


def test_satellites_and_scanners_files_are_trained_on_too(tmp_path: Path) -> None:
    """Three channels that are called grey; grey with opacity of 16 bits, in both formats."""
    want = pixels(3, np.uint8)
    tiff(tmp_path / "a.tif", want, planarconfig="contig", extrasample="unspecified", **GREY)
    assert np.array_equal(np.asarray(load(tmp_path / "a.tif", 3)), want)
    grey = pixels(2)
    grey[..., 1] = 65535
    for name in ("b.tif", "b.png"):
        write_image(tmp_path / name, grey)
        for channels in (1, 3, 4):
            found = np.asarray(load(tmp_path / name, channels))
            first = found if channels == 1 else found[..., 0]
            assert np.abs(first.astype(int) - np.rint(grey[..., 0] / 257)).max() <= 1
        assert np.array_equal(load_photo(tmp_path / name, 4).own, grey[..., [0, 0, 0, 1]])


def test_what_is_invisible_is_white_to_a_model_of_four_channels(tmp_path: Path) -> None:
    values = pixels(4)
    values[3:6, :, 3] = 0
    write_image(tmp_path / "a.png", values)
    write_image(tmp_path / "b.png", np.rint(values / 257).astype(np.uint8))
    deep, plain = (load_photo(tmp_path / name, 4).shown() for name in ("a.png", "b.png"))
    assert deep[:3, 3:6].eq(1).all()
    visible = (values[..., 3] == 0) == (np.rint(values[..., 3] / 257) == 0)  # nearly invisible is not, of 16 bits
    torch.testing.assert_close(deep[:, visible], plain[:, visible], atol=0.01, rtol=0)


def test_pairs_of_six_channels_and_three(tmp_path: Path) -> None:
    """Side by side they have the same number, in two directories each its own."""
    for name, channels in (("a", 6), ("b", 3), ("both", 5)):
        (tmp_path / name).mkdir()
        for number in range(4):
            write_image(tmp_path / name / f"{number}.tif", pixels(channels, np.uint8, 16, 32) // 4 * number)
    data = PairedFolder(
        PairedFolderConfig(a=str(tmp_path / "a"), b=str(tmp_path / "b"), channels_a=6, size=16, fit="stretch")
    )
    batch = data.batch(torch.arange(len(data)))
    assert batch["a"].shape[1:] == (6, 16, 16)
    assert batch["b"].shape[1:] == (3, 16, 16)
    data = PairedFolder(PairedFolderConfig(root=str(tmp_path / "both"), channels=5, size=16, test_fraction=0.0))
    batch = data.batch(torch.arange(len(data)))
    want = (pixels(5, np.uint8, 16, 32) // 4 * 3).transpose(2, 0, 1)
    assert np.array_equal(batch["a"][3], want[..., :16])
    assert np.array_equal(batch["b"][3], want[..., 16:])
    mixed = PairedFolderConfig(root=str(tmp_path / "both"), channels=5, channels_a=6, size=16)
    with pytest.raises(UsageError, match="one file cannot hold pictures of 6 and of 5 channels"):
        len(PairedFolder(mixed))
