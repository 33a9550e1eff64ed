from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gankit.data import images
from gankit.data.files import SUFFIXES
from gankit.data.image_files import write_image, write_png
from gankit.data.images import (
    ImageError,
    decode,
    load,
    resize,
    to_float,
    to_uint8,
)
from gankit.data.planes import decode_channels
from gankit.errors import GankitError, UsageError

LOSSLESS = ["a.png", "a.bmp", "a.tif", "a.tiff", "a.webp", "A.PNG"]


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_decode_exactly(tmp_path: Path, picture: np.ndarray, name: str) -> None:
    Image.fromarray(picture).save(tmp_path / name, lossless=True)
    image = decode(tmp_path / name)
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    assert np.array_equal(image.permute(1, 2, 0).numpy(), picture)


def test_jpeg_by_content_not_by_suffix(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png", "JPEG", quality=95, subsampling=0)
    difference = decode(tmp_path / "a.png").permute(1, 2, 0).numpy().astype(int) - picture
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("channels", [1, 3, 4, None])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_gives_the_asked_channels(tmp_path: Path, mode: str, channels: int | None) -> None:
    grey = mode in ("1", "L", "LA", "I;16")
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        Image.fromarray(np.full((5, 7), 40000, dtype=np.uint16)).save(path)
    elif mode == "PA":
        image = Image.new("P", (7, 5), 1)
        image.putpalette([0, 0, 0, 200, 200, 200])
        image.save(path, transparency=0)
    else:
        Image.new("RGB", (7, 5), (204, 204, 204)).convert(mode, dither=Image.Dither.NONE).save(path)
    image = decode(path, channels)
    assert image.shape == (channels or (1 if grey else 3), 5, 7)
    want = {"I;16": 156, "1": None, "PA": 200}.get(mode, 204)
    if want is not None:
        assert (image[:3].int() - want).abs().max() <= 1


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 128, 257, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    assert decode(tmp_path / name)[0, 0].tolist() == [0, 0, 1, 128, 255]
    assert decode(tmp_path / name, 3)[:, 0, 3].tolist() == [128, 128, 128]


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 77.0, 255.0], [0, 77, 255]),
        ([-2.0, 0.0, 2.0], [0, 128, 255]),
        ([0.0, float("nan"), 1.0], [0, 0, 255]),
        ([1e6, 1e6, 1e6], [0, 0, 0]),
    ],
)
def test_float_tiff(tmp_path: Path, values: list[float], want: list[int]) -> None:
    Image.fromarray(np.array([values], dtype=np.float32)).save(tmp_path / "a.tif")
    assert decode(tmp_path / "a.tif")[0, 0].tolist() == want


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (4, 4), (255, 0, 0, 128)).save(tmp_path / "half.png")
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9])
    palette.save(tmp_path / "palette.png", transparency=0)
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    for name in ("clear", "palette", "key"):
        assert decode(tmp_path / f"{name}.png", 3).eq(255).all(), name
    assert decode(tmp_path / "half.png")[:, 0, 0].tolist() == [255, 127, 127]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_rotation_is_undone_and_broken_exif_is_not_fatal(tmp_path: Path, picture: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(picture).save(tmp_path / "broken.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert np.array_equal(decode(tmp_path / "turned.png").permute(1, 2, 0).numpy(), np.rot90(picture, -1))
    assert np.array_equal(decode(tmp_path / "broken.png").permute(1, 2, 0).numpy(), picture)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # so Pillow calls a TIFF file's broken tags
@pytest.mark.parametrize("content", [b"", b"GIF89a not one of ours", b"\x89PNG\r\n\x1a\n", "half", "middle"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
def test_broken_files_are_named(tmp_path: Path, picture: np.ndarray, suffix: str, content: bytes | str) -> None:
    path = tmp_path / f"bad.{suffix}"
    if isinstance(content, str):
        Image.fromarray(picture).save(path)
        data = bytearray(path.read_bytes())
        content = bytes(data[: len(data) // 2]) if content == "half" else bytes(data[:20])
    path.write_bytes(content)
    with pytest.raises(ImageError, match=f"bad.{suffix}"):
        decode(path)


def test_channels_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="channels must be 1, 3 or 4, got 2"):
        decode(tmp_path / "a.png", 2)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(64, 64), (37, 91), (91, 37), (1, 500), (500, 1), (1, 1), (3, 2)])
def test_resize_gives_the_size_at_every_proportion(shape: tuple[int, int], fit: images.Fit) -> None:
    image = resize(Image.new("RGB", (shape[1], shape[0]), (10, 20, 30)), (24, 16), fit)
    assert image.size == (16, 24)
    values = np.asarray(image).reshape(-1, 3)
    assert [10, 20, 30] in values.tolist()
    if fit != "pad":
        assert np.ptp(values, axis=0).max() == 0


def test_crop_keeps_the_centre_and_pad_keeps_all() -> None:
    stripes = np.zeros((20, 60, 3), dtype=np.uint8)
    stripes[:, :20, 0], stripes[:, 20:40, 1], stripes[:, 40:, 2] = 255, 255, 255
    image = Image.fromarray(stripes)
    assert np.array_equal(np.asarray(resize(image, (20, 20), "crop")), stripes[:, 20:40])
    padded = np.asarray(resize(image, (60, 60), "pad"))
    assert (padded[:20] == 255).all()
    assert (padded[40:] == 255).all()
    assert np.array_equal(padded[20:40], stripes)


def test_shrinking_is_antialiased() -> None:
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    small = np.asarray(resize(Image.fromarray(checks), (32, 32)))
    assert abs(small.astype(int) - 127).max() <= 3


def test_wrong_size_and_fit() -> None:
    image = Image.new("L", (4, 4))
    with pytest.raises(UsageError, match="size must be at least 1"):
        resize(image, (0, 4))
    with pytest.raises(UsageError, match="'zoom'"):
        resize(image, (4, 4), "zoom")  # type: ignore[arg-type]


def test_smaller_jpeg_decoding_changes_little(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:600, 0:800]
    photo = np.stack([rows / 3, columns / 4, 128 + 60 * np.sin(rows / 30) * np.cos(columns / 50)], -1).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=95)
    assert min(load(tmp_path / "a.jpg", at_least=128).size) < 600
    fast = decode_channels(tmp_path / "a.jpg", (64, 64)).int()
    exact = np.asarray(resize(load(tmp_path / "a.jpg"), (64, 64))).astype(int).transpose(2, 0, 1)
    assert np.abs(fast.numpy() - exact).max() <= 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_floats_and_back(dtype: torch.dtype) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(2, 1, 16, 8)
    floats = to_float(every, dtype)
    assert floats.dtype == dtype
    assert (floats.min(), floats.max()) == (-1, 1)
    assert torch.equal(to_uint8(floats), every)


def test_to_float_keeps_the_memory_format_and_the_type_is_checked() -> None:
    image = torch.zeros(2, 3, 4, 4, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    assert to_float(image).is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(TypeError, match="uint8"):
        to_float(torch.zeros(1))
    with pytest.raises(TypeError, match="floating-point"):
        to_uint8(torch.zeros(1, dtype=torch.int64))


def test_to_uint8_of_what_is_not_a_number() -> None:
    values = torch.tensor([float("nan"), float("inf"), -float("inf"), 5.0])
    assert to_uint8(values).tolist() == [128, 255, 0, 255]


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_write_png_and_read_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = torch.randint(0, 256, shape, dtype=torch.uint8)
    write_png(tmp_path / "a.png", image)
    read = decode(tmp_path / "a.png").permute(1, 2, 0)
    assert torch.equal(read, image.view(5, 7, -1))
    write_png(tmp_path / "b.png", to_float(image.view(5, 7, -1).permute(2, 0, 1)))
    assert torch.equal(decode(tmp_path / "b.png").permute(1, 2, 0), read)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.png"]  # nothing unfinished is left


def test_write_png_overwrites_only_if_it_may(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_png(path, torch.zeros(2, 2, dtype=torch.uint8))
    write_png(path, torch.ones(2, 2, dtype=torch.uint8))
    with pytest.raises(UsageError, match="exists"):
        write_png(path, torch.zeros(2, 2, dtype=torch.uint8), overwrite=False)
    assert decode(path).eq(1).all()
    assert list(tmp_path.iterdir()) == [path]


def test_write_png_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_png(tmp_path / "absent" / "a.png", torch.zeros(2, 2, dtype=torch.uint8))
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "absent" / "a.png"), None)
    with pytest.raises(ValueError, match="image must be"):
        write_png(tmp_path / "a.png", torch.zeros(2, 2, 3, dtype=torch.int32))
    with pytest.raises(UsageError, match=r"a\.png: PNG holds no image of 5 channels"):
        write_png(tmp_path / "a.png", torch.zeros(2, 2, 5, dtype=torch.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", sorted(SUFFIXES | {".JPG", ".Png"}))
@pytest.mark.parametrize("channels", [1, 3])
def test_write_image_by_its_ending(tmp_path: Path, picture: np.ndarray, suffix: str, channels: int) -> None:
    image = torch.from_numpy(picture[:, :, :channels].copy())
    path = tmp_path / f"a{suffix}"
    write_image(path, image)
    kind = {"jpg": "JPEG", "jpe": "JPEG", "jfi": "JPEG", "web": "WEBP", "tif": "TIFF"}.get(suffix[1:4].lower())
    with Image.open(path) as written:
        assert written.format == (kind or suffix[1:].upper())
    difference = decode(path, channels).permute(1, 2, 0).int() - image.int()
    assert difference.abs().max() <= (24 if kind in ("JPEG", "WEBP") else 0)
    with pytest.raises(UsageError, match="exists already"):
        write_image(path, image)
    write_image(path, image, overwrite=True)
    assert list(tmp_path.iterdir()) == [path]


def test_write_image_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.gif: not the name of an image; let it end in .*\.webp"):
        write_image(tmp_path / "a.gif", torch.zeros(2, 2, dtype=torch.uint8))
    with pytest.raises(GankitError, match=r"a\.webp: WEBP of 16384 x 1"):
        write_image(tmp_path / "a.webp", torch.zeros(1, 16384, dtype=torch.uint8))
    assert not list(tmp_path.iterdir())
