"""Holes filled by a run of ``inpaint`` against the truth, beside scikit-image's biharmonic equation: a JSON row a run.

    python benchmarks/quality_inpaint.py RUN... [--n 300] [--json FILE]
    python benchmarks/quality_inpaint.py --photographs DIR

The second writes what a run on photographs needs, ``--dataset folder --data.root DIR``: crops of 64x64 of the
photographs that scikit-image and scikit-learn carry: of their left three quarters to train on, of the rest to judge.

All are given the same held-out images and the same holes; `spread` is what the default's training begins with. PSNR, in
dB, is of all pixels inside of holes, in [-1, 1]; the sliced Wasserstein distance is between filled and real images;
`known` is the part of known pixels that come back as they were. Needs scikit-image.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from of_run import machine, parser, rows, training
from torch import Tensor

import gankit
from gankit.data.images import to_float, to_uint8
from gankit.evaluate.patches import between

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket")
"""Of scikit-image; of scikit-learn come two more."""
SIDE, TRAINING, HELD_OUT = 64, 3000, 300


def photographs(directory: Path) -> None:
    """Writes crops of photographs into `directory`/train and `directory`/test."""
    import skimage
    from PIL import Image
    from sklearn.datasets import load_sample_images

    held = Path(skimage.__file__).parent / "data"
    files = [next(held.glob(f"{name}.*")) for name in PHOTOGRAPHS]
    images = [Image.open(file).convert("RGB") for file in files]
    images += [Image.fromarray(pixels) for pixels in load_sample_images().images]
    random = np.random.default_rng(0)
    for split, number, left, right in (("train", TRAINING, 0.0, 0.75), ("test", HELD_OUT, 0.75, 1.0)):
        (directory / split).mkdir(parents=True)
        for i in range(number):
            image = images[i % len(images)]
            first, last = int(left * image.width), int(right * image.width)
            side = int(random.integers(SIDE, min(2 * SIDE, last - first) + 1))
            x, y = random.integers(first, last - side + 1), random.integers(0, image.height - side + 1)
            crop = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, (x, y, x + side, y + side))
            crop.save(directory / split / f"{i:05}.png")


def biharmonic(images: Tensor, mask: Tensor) -> Tensor:
    """uint8 (N, C, H, W) whose pixels under the `mask`, bool (N, 1, H, W), are filled without learning."""
    from skimage.restoration import inpaint_biharmonic

    filled = []
    for image, hole in zip(images, mask[:, 0], strict=True):
        known = image.permute(1, 2, 0).numpy() * ~hole.numpy()[..., None]
        filled.append(torch.from_numpy(inpaint_biharmonic(known / 255.0, hole.numpy(), channel_axis=2)))
    drawn = torch.stack(filled).permute(0, 3, 1, 2).clamp(0, 1)
    return torch.where(mask, drawn.mul(255).round().to(torch.uint8), images)


def judged(filled: Tensor, images: Tensor, mask: Tensor) -> dict[str, float]:
    """How close `filled`, uint8 (N, C, H, W), is to the `images`."""
    hidden = mask.expand_as(images)
    error = (to_float(filled) - to_float(images)).square()
    return {
        "psnr": round(10 * math.log10(4 / float(error[hidden].double().mean())), 3),
        "swd": round(between(to_float(filled), to_float(images)), 3),
        "known": float((filled == images)[~hidden].float().mean()),
    }


def row(run: gankit.Run, n: int) -> dict[str, Any]:
    from gankit_plugin_inpaint.spread import spread_into

    test, key = run.dataset("test"), run.variant.produces[0]
    variant: Any = run.variant
    images = test.batch(torch.arange(min(n, len(test))))[key]
    mask = variant.drawn_mask(run.networks(), to_float(images), torch.Generator().manual_seed(0)) > 0
    spread = spread_into(to_float(images) * ~mask, mask.float())
    drawn = []
    for part, hole in zip(images.split(50), mask.split(50), strict=True):
        drawn.append(run.translate(list(part), given={"mask": list(hole.to(torch.uint8) * 255)}).images)
    return {
        "quality": "inpaint",
        "dataset": run.config.dataset,
        **training(run),
        "n": len(images),
        "holes": variant.config.holes,
        "hidden": round(float(mask.float().mean()), 4),
        "inpaint": judged(to_uint8(torch.cat(drawn)), images, mask),
        "spread": judged(torch.where(mask, to_uint8(spread), images), images, mask),
        "biharmonic": judged(biharmonic(images, mask), images, mask),
        **machine(run),
    }


def main() -> None:
    options = parser(__doc__, "held-out images", 300, runs="*")
    options.add_argument("--photographs", type=Path, help="write crops of photographs into this new directory")
    arguments = options.parse_args()
    if arguments.photographs:
        photographs(arguments.photographs)
    rows(arguments, row)


if __name__ == "__main__":
    main()
