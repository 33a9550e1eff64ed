"""Translations of the Earth against the truth: a JSON row for a run on the dataset ``earth``.

    python benchmarks/quality_earth.py RUN... [--n 500] [--json FILE]

Of held-out crops: L1 and PSNR of the translation against what the other layer shows there (pixels in [-1, 1]), sliced
Wasserstein distance of their patches, and the part of the pixels that are land or sea as the mask says; beside the same
of what needs no learning: the input itself, the mean picture of training, and of the training crop whose input is
nearest its other layer.
"""

from __future__ import annotations

from typing import Any

import torch
from gankit_plugin_earth.earth import OTHER, Earth
from gankit_plugin_earth.seen import land_seen
from of_run import machine, parser, rows, training
from torch import Tensor

import gankit
from gankit.data.images import to_float, to_uint8
from gankit.evaluate.patches import between

NEIGHBOURS = 4000
"""Training crops that are looked at for the nearest one."""


def sides(data: Earth, stream: str, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs and what is true there, float, and the mask, bool (N, H, W), of the first `n` samples."""
    paired = data.config.paired
    rows = torch.arange(min(n, data.streams()["" if paired else stream]))
    batch = data.batch(rows if paired else {stream: rows})
    land = batch["land" if paired else f"land_{stream}"][:, 0] > 127
    return to_float(batch[stream]), to_float(data.truth(rows, stream)), land


def judged(images: Tensor, truth: Tensor, land: Tensor, layer: str) -> dict[str, float]:
    """How close `images` (N, C, H, W) are to the truth."""
    error = (images - truth).square().flatten(1).mean(1).clamp_min(1e-10)
    found = {
        "l1": float((images - truth).abs().mean()),
        "psnr": float((10 * torch.log10(4 / error)).mean()),
        "swd": between(images, truth),
    }
    if layer not in ("grey",):
        found["land"] = float((land_seen(to_uint8(images), layer) == land).float().mean())  # type: ignore[arg-type]
    return {name: round(value, 4) for name, value in found.items()}


def nearest(inputs: Tensor, known: Tensor, answers: Tensor) -> Tensor:
    """For each of `inputs` the one of `answers` whose own input, of `known`, is nearest."""
    flat = known.flatten(1)
    return torch.cat([answers[torch.cdist(part.flatten(1), flat).argmin(1)] for part in inputs.split(50)])


def row(run: gankit.Run, n: int) -> dict[str, Any]:
    produces = run.variant.produces[0]
    source = OTHER[produces]
    train, test = run.dataset("train"), run.dataset("test")
    assert isinstance(train, Earth), "a run on the dataset earth"
    assert isinstance(test, Earth)
    layers = {side: getattr(test.config, side) for side in OTHER}
    inputs, truth, land = sides(test, source, n)
    known, answers, _ = sides(train, source, NEIGHBOURS)
    drawn = torch.cat([run.translate(list(part)).images for part in inputs.split(100)])
    plain = {
        "mean": answers.mean(0, keepdim=True).expand_as(truth),
        "nearest": nearest(inputs, known, answers),
    }
    if inputs.shape == truth.shape or inputs.shape[1] == 1:  # a grey one shows grey
        plain["input"] = inputs.expand_as(truth)
    return {
        "quality": "earth",
        "variant": run.config.variant,
        "preset": run.config.preset,
        "way": f"{layers[source]} -> {layers[produces]}",
        "paired": test.config.paired,
        "size": test.config.size,
        **training(run),
        "n": len(truth),
        **judged(drawn, truth, land, layers[produces]),
        "beside": {name: judged(images, truth, land, layers[produces]) for name, images in plain.items()},
        "truth": {"land": judged(truth, truth, land, layers[produces]).get("land")},
        **machine(run),
    }


if __name__ == "__main__":
    rows(parser(__doc__, "held-out crops", 500).parse_args(), row)
