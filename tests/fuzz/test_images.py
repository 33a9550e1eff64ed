"""Image files that were damaged in every way that comes to mind: read, or left out by name, and the others as ever."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from mutations import CONTENT, PLACE, Damage, at_most, forbid_unpickling, report, seeds
from pictures import open_folder
from PIL import Image

from gankit.data.image_files import write_image
from gankit.data.images import MODES, ImageError, decode, to_uint8
from gankit.data.photo import load_photo
from gankit.data.planes import decode_channels
from gankit.errors import GankitError

CASES = 300
SECONDS = 30


def colours(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def with_exif(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90 degrees
    exif[0x010E] = "a description"
    Image.fromarray(colours(20, 30, 3)).save(path, exif=exif)


def with_palette(path: Path) -> None:
    Image.fromarray(colours(20, 30, 3)).quantize(7).save(path, transparency=2)


WRITERS: dict[str, Callable[[Path], None]] = {
    "rgb.png": lambda path: Image.fromarray(colours(20, 30, 3)).save(path),
    "grey16.png": lambda path: Image.fromarray(colours(20, 30).astype(np.uint16) * 257).save(path),
    "alpha.png": lambda path: Image.fromarray(colours(9, 8, 4)).save(path),
    "palette.png": with_palette,
    "narrow.png": lambda path: Image.fromarray(colours(2000, 1, 3)).save(path),
    "dot.png": lambda path: Image.fromarray(colours(1, 1)).save(path),
    "exif.jpg": with_exif,
    "cmyk.jpg": lambda path: Image.fromarray(colours(20, 30, 3)).convert("CMYK").save(path),
    "large.jpg": lambda path: Image.fromarray(colours(300, 200, 3)).save(path, progressive=True),
    "plain.webp": lambda path: Image.fromarray(colours(20, 30, 3)).save(path),
    "alpha.webp": lambda path: Image.fromarray(colours(20, 30, 4)).save(path, lossless=True),
    "float.tif": lambda path: Image.fromarray(colours(20, 30).astype(np.float32) / 255).save(path),
    "packed.tif": lambda path: Image.fromarray(colours(20, 30, 3)).save(path, compression="tiff_lzw"),
    "integers.tif": lambda path: Image.fromarray(colours(20, 30).astype(np.int32)).save(path),
    "colour16.png": lambda path: write_image(path, colours(20, 30, 4).astype(np.uint16) * 257),
    "colour16.tif": lambda path: write_image(path, colours(20, 30, 3).astype(np.uint16) * 257),
    "six.tif": lambda path: write_image(path, colours(20, 30, 6)),
    "rgb.bmp": lambda path: Image.fromarray(colours(20, 30, 3)).save(path),
}


def other_size(path: Path, random: Random) -> None:
    """Another size in a PNG's header, with the right checksum; of others some bytes at the beginning."""
    content = bytearray(path.read_bytes())
    if content[12:16] == b"IHDR":
        at = random.choice((16, 20))
        content[at : at + 4] = struct.pack(">I", random.choice((0, 1, 31, 4_000, 100_000, 2**31 - 1, 2**32 - 1)))
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    else:
        for _ in range(3):
            content[random.randrange(min(len(content), 100))] = random.choice((0, 1, 127, 255))
    path.write_bytes(content)


def other_image(path: Path, random: Random) -> None:
    """The beginning of one kind of image, the end of another."""
    name = random.choice(list(WRITERS))
    other = path.with_name(f"other-{name}")
    WRITERS[name](other)
    at = random.choice((0, 4, 12, 40, random.randrange(2_000)))
    path.write_bytes(path.read_bytes()[:at] + other.read_bytes()[at:])
    other.unlink()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for name, write in WRITERS.items():
        write(folder / name)
    return folder


@pytest.mark.filterwarnings("ignore")  # Pillow's, of broken EXIF blocks
def test_damaged_images(written, tmp_path, monkeypatch):
    forbid_unpickling(monkeypatch)
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path / "cache"))
    report([fault for seed in seeds(CASES) if (fault := use_damaged(seed, written, tmp_path))])


def use_damaged(seed: int, written: Path, folder: Path) -> str:
    """What is wrong with how a damaged image was treated, alone and among others."""
    random = Random(seed)
    root = folder / str(seed)
    root.mkdir()
    for name in ("a.png", "c.png"):
        Image.fromarray(colours(16, 16, 3)).save(root / name)
    name = random.choice(list(WRITERS))
    path = root / f"b{Path(name).suffix}"
    path.write_bytes((written / name).read_bytes())
    damages: tuple[Damage, ...] = (*CONTENT, *CONTENT, *PLACE, other_size, other_size, other_image)
    done = []
    for _ in range(random.choice((1, 1, 2))):
        damage = random.choice(damages)
        if path.is_file() and not path.is_symlink():
            damage(path, random)
            done.append(damage.__name__)
    try:
        with at_most(SECONDS):
            fault = read_alone(path, random.choice((1, 3, 4, 6))) or read_among_others(root, path)
    except BaseException as error:
        fault = f"{type(error).__name__}: {str(error)[:300]}"
    return f"{seed}: {' and '.join(done)} of {name}: {fault}" if fault else ""


def read_alone(path: Path, channels: int) -> str:
    ways: list[Callable[[], torch.Tensor]] = [
        lambda: decode_channels(path, (8, 12), channels),
        lambda: to_uint8(load_photo(path, channels).shown()),
    ]
    if channels in MODES:
        ways.append(lambda: decode(path, channels))
    for read in ways:
        try:
            image = read()
        except ImageError as error:
            if not str(error).startswith(f"{path}: ") or "\n" in str(error) or len(str(error)) > 600:
                return f"wrong words: {error}"
            continue
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != channels or image.numel() == 0:
            return f"wrong image: {image.dtype} {tuple(image.shape)}"
    return ""


def read_among_others(root: Path, path: Path) -> str:
    """A folder with the image: it is there, or not, or named as one that cannot be read."""
    try:
        dataset = open_folder(root, test_fraction=0)
        dataset.load(lambda event: None)
        batch = dataset.batch(torch.arange(len(dataset)))
        dataset.fingerprint()
        notes = "\n".join(dataset.notes())
    except GankitError as error:
        return f"one file took the others away: {error}"
    files = dataset.files()
    for name in ("a.png", "c.png"):
        if not torch.equal(batch["image"][files.index(name)], torch.from_numpy(colours(16, 16, 3)).permute(2, 0, 1)):
            return f"{name} is another"
    if path.name not in files and path.exists() and not path.is_dir() and path.name not in notes:
        return f"left out without a word: {notes}"
    return ""
