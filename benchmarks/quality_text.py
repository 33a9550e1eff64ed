"""How well the encoders that ``stackgan`` trains on ``captioned-digits`` tell what an image shows: a JSON row a run.

    python benchmarks/quality_text.py RUN... [--n 500] [--json FILE]

Of each held-out image captions are compared that differ in one attribute alone, in words drawn for the image, and the
nearest one is taken; ``right`` is how often it is the image's own, ``worst`` the same of the digit that fares worst, by
the side of the images: the data's, and that of stage I. What a generator learns from `match` cannot be much better.
"""

from __future__ import annotations

import random
from typing import Any

import torch
from of_run import machine, parser, rows, training
from torch import Tensor
from torch.nn import functional as F

import gankit
from gankit.data.images import to_float
from gankit.data.text import encode_text

NAMES = ("digit", "ink", "ground", "stroke")
PART = 500
"""Captions that are read at once."""


def row(run: gankit.Run, n: int) -> dict[str, Any]:
    from gankit_plugin_stackgan import captions, chinese
    from gankit_plugin_stackgan.variant import sides

    test, networks = run.dataset("test"), run.networks(device="cpu")
    chosen = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:n]
    batch = test.batch(chosen)
    images = to_float(batch["image"])
    size, low = sides(run.spec, run.config.options.low)  # type: ignore[attr-defined]
    small = F.interpolate(F.interpolate(images, (low, low), mode="area"), (size, size), mode="bilinear")
    with torch.no_grad():
        seen = {size: networks["images"](images), low: networks["images"](small)}
        said = {"en": captions, "zh": chinese}[test.config.language]
        answers = {name: _alternatives(networks["text"], batch, name, said) for name in NAMES}
    told = {
        side: {name: (texts @ found[:, :, None])[..., 0].argmax(1) == batch[name] for name, texts in answers.items()}
        for side, found in seen.items()
    }
    digits = [batch["digit"] == digit for digit in batch["digit"].unique()]
    return {
        "quality": "text",
        "dataset": run.config.dataset,
        **training(run),
        "n": len(chosen),
        "right": {side: {name: _mean(ok) for name, ok in found.items()} for side, found in told.items()},
        "worst": {side: min(_mean(found["digit"][of]) for of in digits) for side, found in told.items()},
        **machine(run),
    }


def _alternatives(text: Any, batch: dict[str, Tensor], name: str, language: Any) -> Tensor:
    """Unit embeddings of each sample's caption with every value of the attribute `name`: (N, values, E)."""
    values = {"digit": language.DIGITS, "ink": language.INKS, "ground": language.GROUNDS, "stroke": language.STROKES}
    said, length = [], batch["text"].shape[1]
    for number, shown in enumerate(zip(*(batch[key].tolist() for key in NAMES), strict=True)):
        for value in range(len(values[name])):
            asked = [value if key == name else old for key, old in zip(NAMES, shown, strict=True)]
            pick = random.Random(number).randrange  # the same words for all alternatives
            said.append(language.caption(*asked, templates=language.SEEN, pick=pick))
    read = torch.cat([text(encode_text(said[i : i + PART], length)) for i in range(0, len(said), PART)])
    return F.normalize(read, dim=1).view(len(batch[name]), len(values[name]), -1)


def _mean(right: Tensor) -> float:
    return round(float(right.float().mean()), 4)


if __name__ == "__main__":
    rows(parser(__doc__, "held-out images", 500).parse_args(), row)
