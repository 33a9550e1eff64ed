"""Files of 16 bits or many channels that are broken, cut off or of a format that holds none."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from deep_files import pixels
from PIL import Image

from gankit.data.deep import decode_deep, encode_deep
from gankit.data.image_files import write_image
from gankit.data.images import ImageError, load
from gankit.data.paired import PairedFolder, PairedFolderConfig
from gankit.data.photo import load_photo
from gankit.data.planes import load_deep
from gankit.errors import UsageError


def test_a_broken_exif_block_costs_nothing_else(tmp_path: Path) -> None:
    values = pixels(3)
    whole = bytes(imagecodecs.png_encode(values))
    block = b"eXIf" + b"garbage-not-exif"
    chunk = struct.pack(">I", len(block) - 4) + block + struct.pack(">I", zlib.crc32(block))
    end = whole.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(whole[:end] + chunk + whole[end:])
    assert np.array_equal(load_photo(tmp_path / "a.png", 3).own, values)


STARTS = [b"II*\0", b"II*\0\x08\0\0\0", b"MM\0*" + b"\xff" * 40, b"II*\0\x08\0\0\0\1\0" + b"\0" * 20]


@pytest.mark.parametrize("content", STARTS, ids=range(len(STARTS)))
def test_the_beginning_of_a_tiff_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)

    def reason(read: Callable[[Path], object]) -> str:
        try:
            return f"read: {read(tmp_path / 'a.tif')}"
        except ImageError as error:
            return str(error).partition(": ")[2]

    assert reason(lambda path: load(path, 3)) == "not a readable image"
    assert reason(load_deep) in ("read: None", "not a readable image")
    assert reason(lambda path: load_photo(path, 6)) in (
        "not a readable image",
        "not a TIFF file of 6 channels, of 8 or 16 bits each",
    )


def test_of_a_file_that_pillow_reads_no_more_than_its_tags_are_read(tmp_path: Path) -> None:
    Image.fromarray(pixels(3, np.uint8, 400, 400)).save(tmp_path / "a.tif")
    asked: list[int | None] = []

    class Counted(io.BufferedReader):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size)
            return super().read(size)

    with open(tmp_path / "a.tif", "rb", buffering=0) as file:
        assert decode_deep(Counted(file)) is None
    assert asked
    assert all(size is not None and 0 <= size < 1000 for size in asked)


@pytest.mark.parametrize("each", [(3, 2), (2, 4), (5, 6)])
def test_one_file_of_two_sides_with_other_channels_is_refused(tmp_path: Path, each: tuple[int, int]) -> None:
    for number in range(4):
        write_image(tmp_path / f"{number}.tif", pixels(6, np.uint8))
    config = PairedFolderConfig(root=str(tmp_path), channels_a=each[0], channels_b=each[1], size=16)
    with pytest.raises(UsageError, match=f"one file cannot hold pictures of {each[0]} and of {each[1]} channels"):
        len(PairedFolder(config))


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp", "a.webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_refused_where_there_are_eight(tmp_path: Path, name: str, channels: int) -> None:
    with pytest.raises(UsageError, match=r"holds no image of . channels and 16 bits"):
        write_image(tmp_path / name, pixels(channels))
    if name != "a.webp":
        with pytest.raises(UsageError, match="holds no image of 4 channels and 8 bits"):
            write_image(tmp_path / name, pixels(4, np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp"])
def test_a_format_without_such_images_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name}: \w+ holds no image of 6 channels and 8 bits: use \.tif"):
        write_image(tmp_path / name, pixels(6, np.uint8))
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("channels", [3, 7])
def test_a_file_that_was_cut_off_is_an_image_error(tmp_path: Path, channels: int) -> None:
    whole = encode_deep(pixels(channels), "TIFF")
    for length in (9, len(whole) // 3, len(whole) - 40):
        (tmp_path / "a.tif").write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"a\.tif"):
            load_photo(tmp_path / "a.tif", channels)


def test_a_small_file_that_claims_to_be_huge_takes_no_memory(tmp_path: Path) -> None:
    data = bytearray(encode_deep(pixels(6, np.uint8, 2, 2), "TIFF"))
    tags = int.from_bytes(data[4:8], "little")
    for entry in range(int.from_bytes(data[tags : tags + 2], "little")):
        at = tags + 2 + 12 * entry
        if int.from_bytes(data[at : at + 2], "little") in (256, 257):
            data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 60000)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match="more than"):
        load_deep(tmp_path / "a.tif")
