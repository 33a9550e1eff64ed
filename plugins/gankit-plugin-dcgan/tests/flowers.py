"""Drawn roses in every format that a folder may hold: a set as small as real ones often are."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SETTINGS = ("jpg", "png", "webp", "bmp", "tif", "grey", "alpha", "palette", "cmyk", "sixteen", "turned")


def rose(number: int, size: int = 96) -> np.ndarray:
    """Picture `number`, uint8 (size, size * 4 / 3 or 3 / 4, 3): a rose seen from above, on leaves."""
    random = np.random.default_rng(number)
    height, width = ((size, size * 4 // 3), (size * 4 // 3, size), (size, size))[number % 3]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    centre = np.array([height, width]) / 2 + random.uniform(-0.06, 0.06, 2) * size
    down, right = (rows - centre[0]) / size, (columns - centre[1]) / size
    radius, angle = np.hypot(down, right), np.arctan2(down, right)

    ground = np.array([40, 90 + random.integers(40), 40]) + random.normal(0, 8, 3)
    leaves = 0.5 + 0.5 * np.sin(9 * right + random.uniform(0, 6)) * np.cos(8 * down + random.uniform(0, 6))
    image = ground * (0.5 + 0.6 * leaves[..., None])

    colour = np.array([(200, 20, 50), (235, 120, 150), (240, 210, 90), (240, 235, 225)][random.integers(4)], float)
    petals, turn, outer = random.integers(5, 8), random.uniform(0, 6.28), random.uniform(0.3, 0.42)
    for ring in range(5):  # from the outermost petals inwards, each ring turned and darker
        reach = outer * (1 - 0.19 * ring)
        edge = reach * (0.85 + 0.15 * np.abs(np.cos(petals / 2 * (angle + turn + 0.7 * ring))))
        shade = (0.75 + 0.35 * radius / reach - 0.07 * ring)[..., None]
        inside = np.clip((edge - radius) * size / 1.5, 0, 1)[..., None]
        image = image * (1 - inside) + np.clip(colour * shade, 0, 255) * inside
    return np.clip(image + random.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def save(array: np.ndarray, path: Path, setting: str) -> None:
    """Write `array` at `path`, with the suffix that goes with `setting`."""
    image = Image.fromarray(array)
    if setting in ("jpg", "png", "webp", "bmp", "tif"):
        image.save(path.with_suffix(f".{setting}"))
    elif setting == "grey":
        image.convert("L").save(path.with_suffix(".PNG"))
    elif setting == "alpha":
        image.putalpha(Image.new("L", image.size, 255))
        image.save(path.with_suffix(".png"))
    elif setting == "palette":
        image.quantize(128).save(path.with_suffix(".png"))
    elif setting == "cmyk":
        image.convert("CMYK").save(path.with_suffix(".jpeg"), quality=92)
    elif setting == "sixteen":
        Image.fromarray(array.mean(2).astype(np.uint16) * 257).save(path.with_suffix(".png"))
    elif setting == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.rotate(90, expand=True).save(path.with_suffix(".jpg"), exif=exif)


def write(root: Path, number: int = 64, broken: int = 3) -> None:
    """`number` roses and `broken` files that only look like images."""
    root.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        save(rose(index), root / f"rose-{index:02}", SETTINGS[index % len(SETTINGS)])
    whole = (root / "rose-00.jpg").read_bytes()
    for index in range(broken):
        (root / f"broken-{index}.jpg").write_bytes(whole[: index * len(whole) // 3])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
