"""Image files as they are found: broken, huge, tiny, animated, turned, of many bits."""

from __future__ import annotations

import struct
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gankit.data.images import ImageError, decode
from gankit.data.planes import decode_channels


def tiff_of(width: int, height: int) -> bytes:
    """The head of a TIFF file that says it is so large; there are no pixels."""
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 4, height), (279, 4, 1)]
    data = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    return data + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries) + bytes(4)


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (0, 0)])
def test_sizes_that_cannot_be_are_refused_before_anything_is_decoded(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_of(width, height))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"a\.tif: "):
            decode(tmp_path / "a.tif")
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("error")
def test_an_image_near_the_limit_is_read_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # as gankit.data.images does
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert decode(tmp_path / "a.png").shape == (1, 40, 40)


def test_a_truncated_jpeg_and_an_empty_file_say_so(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).resize((400, 300)).save(tmp_path / "a.jpg", quality=95)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"a\.jpg: image file is truncated"):
        decode(tmp_path / "a.jpg")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match=r"empty\.jpg: it is empty"):
        decode(tmp_path / "empty.jpg")


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_the_first_frame_of_several(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 6), (tone,) * 3) for tone in (200, 100, 0)]
    frames[0].save(
        tmp_path / name, save_all=True, append_images=frames[1:], **{"lossless": True} if "w" in name else {}
    )
    assert decode(tmp_path / name).eq(200).all()


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (1, 1)])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp"])
def test_images_of_one_pixel_in_width_or_height(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (90, 90, 90)).save(tmp_path / name)
    assert decode(tmp_path / name).shape == (3, size[1], size[0])
    assert (decode_channels(tmp_path / name, (16, 16)).int() - 90).abs().max() <= 2


def test_palette_with_a_transparent_colour_and_with_degrees_of_it(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "L").convert("P")
    image.putpalette([10, 10, 10, 100, 100, 100, 200, 0, 0])
    image.save(tmp_path / "a.png", transparency=bytes([0, 255, 128]))
    assert decode(tmp_path / "a.png", 3)[:, 0].T.tolist() == [[255, 255, 255], [100, 100, 100], [227, 127, 127]]


def test_exif_rotation_of_sixteen_bits(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(tmp_path / "a.png", exif=exif)
    assert decode(tmp_path / "a.png")[0, 0].tolist() == [255, 0]


def test_first_of_two_pictures_in_a_telephone_jpeg(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), (255, 255, 255)), Image.new("RGB", (8, 8))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    assert decode(tmp_path / "a.jpg").eq(255).all()


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match=r"a\.png.*decompression bomb"):
        decode(tmp_path / "a.png")


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        decode(tmp_path / "absent.png")
    with pytest.raises(ImageError, match=str(tmp_path)):
        decode(tmp_path)


def test_sixteen_bit_tiff_where_zero_is_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(tmp_path / "a.tif", tiffinfo={262: 0})
    data = bytearray((tmp_path / "a.tif").read_bytes())
    at = data.index(b"\x06\x01\x03\x00\x01\x00\x00\x00")  # the entry of tag 262, one short
    data[at + 8] = 0
    (tmp_path / "a.tif").write_bytes(data)
    assert decode(tmp_path / "a.tif")[0, 0].tolist() == [255, 0]
