"""Samples as they are judged: what is kept of each, as they are drawn a few at a time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.data.images import at_once, to_float, to_uint8
from gankit.errors import PluginError
from gankit.evaluate.metrics import reduce_to
from gankit.evaluate.neighbours import SHOWN, SIDE
from gankit.evaluate.patches import Level, Patches
from gankit.evaluate.real import subset
from gankit.evaluate.reference import Reference, fit, look
from gankit.evaluate.wanted import held_to
from gankit.events import OnEvent
from gankit.sampling.draw import conditions, draw_parts

if TYPE_CHECKING:
    from torch import nn

    from gankit.dataset import Dataset
    from gankit.plugin import Variant

SHEET = 12
"""Most samples on the sheet of neighbours."""


@dataclass(frozen=True)
class JudgedSamples:
    """What is known of `n` samples; the images themselves are gone but for a few."""

    small: Tensor
    """float (n, C, h, w) of 8-bit precision, at most 32 pixels a side."""
    wanted: dict[str, Tensor]
    """Class that a sample is held to, int64 (n,), by the judge's heads."""
    predicted: dict[str, Tensor]
    """Class that the judge sees, int64 (n,), by its heads."""
    features: Tensor | None
    """The judge's, (n, D)."""
    patches: Patches | None
    """Those of the first samples, if they are asked for."""
    shown: Tensor
    """A few of the samples, for the sheet, at most 256 pixels a side."""

    @property
    def group(self) -> str | None:
        """The class key by which samples are grouped."""
        return next(iter(self.wanted), None)


def draw_judged(
    variant: Variant[Any],
    networks: Mapping[str, nn.Module],
    reference: Reference,
    rows: Dataset[Any],
    n: int,
    *,
    seed: int,
    device: torch.device,
    levels: list[Level] | None,
    tell: OnEvent,
) -> tuple[JudgedSamples, list[str]]:
    """Draws `n` samples, asking with samples of `rows`; looks at each, and says what a reader should know of them."""
    real, judge = reference.train.real, reference.judged.judge if reference.judged else None
    spec = real.data.spec
    batch, records = conditions(variant, spec, n, rows=lambda: rows, seed=seed)
    patches = Patches(levels, real.shape[0]) if levels else None
    keep = set(subset(n, SHEET).tolist())
    small, features, shown, predicted = [], [], [], []
    drawn, broken, size = 0, 0, real.shape[1:]
    with closing(draw_parts(variant, networks, spec, batch, n, seed=seed, device=device, tell=tell)) as parts:
        for part in parts:
            if part.shape[1] != real.shape[0]:
                wants = f"the data's {real.key!r} has {real.shape[0]}"
                raise PluginError(f"sample() of {type(variant).__name__} draws {part.shape[1]} channels; {wants}.")
            broken += int((~part.isfinite()).flatten(1).any(1).sum())
            size = (part.shape[-2], part.shape[-1])
            for some in part.split(at_once(real.shape)):
                images = fit(to_float(to_uint8(some)), real.shape)  # as a user sees them: 8 bits a channel
                small.append(reduce_to(images, SIDE))
                if judge is not None:
                    seen, classes = look(judge, images, device)
                    features.append(seen)
                    predicted.append(classes)
                if patches is not None:
                    patches.add(images)
                shown += [reduce_to(images[i : i + 1], SHOWN) for i in range(len(images)) if drawn + i in keep]
                drawn += len(images)
    wanted = {}
    for head, source in held_to(variant, real.data, real.key, real.heads).items():
        if source in batch:
            wanted[head] = batch[source]
        else:
            names = {name: i for i, name in enumerate(spec[source].names)}
            wanted[head] = torch.tensor([names[str(record[source])] for record in records])
    samples = JudgedSamples(
        torch.cat(small),
        wanted,
        {head: torch.cat([one[head] for one in predicted]) for head in real.heads},
        torch.cat(features) if features else None,
        patches,
        torch.cat(shown),
    )
    notes = []
    if broken:
        notes.append(f"{broken} of {n} samples hold NaN or infinite values; those pixels count as mid-grey")
    if size != real.shape[1:]:
        theirs = f"the data's {real.shape[2]}x{real.shape[1]}"
        notes.append(f"samples of {size[1]}x{size[0]} were resized to {theirs}")
    return samples, notes
