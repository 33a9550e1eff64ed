"""What a run of ``gawwn`` draws, and where, against what it was asked for: a JSON row a run.

    python benchmarks/quality_gawwn.py RUN... [--n 1000] [--json FILE]

Held-out captions and places are drawn: `overlap` is the variant's metric, the intersection over union of the box and of
what differs from the ground, of the samples whose real image says the same; `overlap_real` that of all real images;
`classes` the part in which a judge, which saw real images only, sees the class of the caption, and `classes_real` the
same of the real images. `centres`: with text and noise held and the place moved to a random one, how the centre of what
is drawn goes with that of the place: Pearson's correlation, across and down.
"""

from __future__ import annotations

from typing import Any

import torch
from of_run import machine, parser, rows, training
from torch import Tensor

import gankit
from gankit.data.images import to_float
from gankit.evaluate import RealImages, judge_for

PART = 100
"""Images that are drawn at once."""
SIDE = 0.5
"""Of the places to which things are moved."""


def classes_seen(judge: Any, images: Tensor) -> dict[str, Tensor]:
    """The classes that the judge sees, by key, int64 (N,) each."""
    with torch.no_grad():
        found = [{name: logits.argmax(1) for name, logits in judge(part).items()} for part in images.split(PART)]
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def row(run: gankit.Run, n: int) -> dict[str, Any]:
    from gankit_plugin_gawwn.placing import moved
    from gankit_plugin_gawwn.seen import drawn_box, overlap
    from gankit_plugin_gawwn.variant import TOLD

    variant: Any = run.variant
    test, networks = run.dataset("test"), run.networks(device="cpu")
    batch = test.batch(torch.arange(min(n, len(test))))
    count, place = len(batch["text"]), batch[variant.place]
    noise = torch.Generator().manual_seed(0)
    z = torch.randn(count, variant.config.z, generator=noise)
    corner = torch.rand(count, 2, generator=noise) * (1 - SIDE)

    def draw(where: Tensor) -> Tensor:
        parts = zip(batch["text"].split(PART), z.split(PART), where.split(PART), strict=True)
        with torch.no_grad():
            return torch.cat([networks["generator"](networks["text"](text), one, at) for text, one, at in parts])

    drawn, real, known = draw(place), to_float(batch["image"]), judge_for(RealImages(run.dataset()), RealImages(test))
    seen, seen_real = classes_seen(known.judge, drawn), classes_seen(known.judge, real)
    of_real = overlap(drawn_box(real), batch["box"])
    box = drawn_box(draw(moved(place, corner, SIDE)))
    centre = (box[:, :2] + box[:, 2:]) / 2
    there = box.sum(1) > 0
    return {
        "quality": "gawwn",
        "dataset": run.config.dataset,
        "place": variant.config.place,
        **training(run),
        "n": count,
        "overlap": round(float(overlap(drawn_box(drawn), batch["box"])[of_real >= TOLD].mean()), 4),
        "overlap_real": round(float(of_real.mean()), 4),
        "classes": {name: round(float((found == batch[name]).float().mean()), 4) for name, found in seen.items()},
        "classes_real": {name: round(float((one == batch[name]).float().mean()), 4) for name, one in seen_real.items()},
        "centres": [
            round(float(torch.corrcoef(torch.stack([centre[there, axis], corner[there, axis]]))[0, 1]), 4)
            for axis in (0, 1)
        ],
        "nothing_drawn": round(1 - float(there.float().mean()), 4),
        **machine(run),
    }


if __name__ == "__main__":
    rows(parser(__doc__, "held-out captions and places", 1000).parse_args(), row)
