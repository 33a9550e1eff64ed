"""Samples as they are judged: what is kept of each, as they are drawn a few at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.data.images import at_once, to_float, to_uint8
from gankit.errors import PluginError
from gankit.evaluate.gathered import Gathered
from gankit.evaluate.metrics import reduce_to
from gankit.evaluate.neighbours import SHOWN, SIDE
from gankit.evaluate.patches import Level, Patches
from gankit.evaluate.reader import Pairs
from gankit.evaluate.real import subset
from gankit.evaluate.reference import Reference, View, Views, fit
from gankit.evaluate.wanted import captions_held_to, held_to
from gankit.events import OnEvent
from gankit.sampling.conditions import Asked, conditions
from gankit.sampling.draw import draw_parts

if TYPE_CHECKING:
    from torch import nn

    from gankit.dataset import Batch, Dataset, DataSpec
    from gankit.plugin import Variant

SHEET = 12
"""Most samples on the sheet of neighbours."""
INVERTED = -0.2
"""Correlation of what is seen in samples with what should be, below which one is taken for the other."""


@dataclass(frozen=True)
class JudgedSamples:
    """What is known of `n` samples; the images themselves are gone but for a few."""

    small: Tensor
    """float (n, C, h, w) of 8-bit precision, at most 32 pixels a side."""
    wanted: dict[str, Tensor]
    """Class that a sample is held to, int64 (n,), by the judge's heads."""
    view: View | None
    """What the judge sees in them; None without a judge."""
    pairs: Pairs | None
    """What the reader sees in them, and their captions; None without a reader."""
    patches: Patches | None
    """Those of the first samples, if they are asked for."""
    agreement: float
    """Part of the pixels in which the data sees in samples what the masks of their sources say; NaN without those."""
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
    rows: Sequence[Dataset[Any]],
    n: int,
    *,
    seed: int,
    device: torch.device,
    levels: list[Level] | None,
    tell: OnEvent,
) -> tuple[JudgedSamples, list[str]]:
    """Draws `n` samples, asking with samples of `rows`; looks at each, and says what a reader should know of them."""
    real = reference.train.real
    spec, to = real.data.spec, real.key
    sources = held_to(variant, real.data, to, real.heads)
    seen = _Seen(reference, n, levels, device, sources)
    text = captions_held_to(variant, real.data, to)

    def ask(start: int, stop: int) -> Batch:
        asked = conditions(variant, spec, stop - start, to=to, rows=lambda: rows, seed=seed, first=start)
        for head, source in sources.items():
            seen.wanted[head].add(_classes(asked, source, spec))
        seen.ask(asked.held)
        if seen.pairs is not None:
            seen.pairs.ask(asked.batch[text])
        return asked.batch

    for part in draw_parts(variant, networks, spec, ask, n, seed=seed, device=device, to=to, tell=tell):
        for images in part.split(at_once(real.shape)):
            seen.add(images)
    return seen.samples(), seen.notes()


class _Seen:
    """Collects what :class:`JudgedSamples` holds."""

    def __init__(
        self, reference: Reference, n: int, levels: list[Level] | None, device: torch.device, heads: Iterable[str]
    ) -> None:
        self.real, self.n = reference.train.real, n
        self._views = Views(reference.judged.judge, n, device) if reference.judged else None
        self.pairs = Pairs(reference.read.judge, n, device, reference.captions) if reference.read else None
        self.patches = Patches(levels, self.real.shape[0]) if levels else None
        self.wanted = {head: Gathered(n) for head in heads}
        self._small = Gathered(n)
        self._keep = set(subset(n, SHEET).tolist())
        self._shown = Gathered(len(self._keep))
        self._count = self._broken = 0
        self._masks: list[Batch] = []
        self._agreed = _Agreement()
        self._size: tuple[int, ...] = self.real.shape[1:]

    def ask(self, masks: Batch) -> None:
        """What the next samples are to show, uint8 (N, 1, H, W), by mask."""
        count = len(next(iter(masks.values()), ()))
        self._masks += [{name: rows[i] for name, rows in masks.items()} for i in range(count)]

    def _hold(self, images: Tensor) -> None:
        """Holds the next samples, as a user sees them, to their masks."""
        masks, self._masks = self._masks[: len(images)], self._masks[len(images) :]
        if not masks:
            return
        data = self.real.data
        seen = data.seen(to_uint8(images), self.real.key)
        for name in masks[0]:
            like = data.spec[name].like
            if like not in seen:
                continue
            said = torch.stack([one[name] for one in masks]) >= 128
            if seen[like].dtype != torch.bool or seen[like].shape != said.shape:
                got = f"{seen[like].dtype} {tuple(seen[like].shape)}"
                wanted = f"torch.bool {tuple(said.shape)}"
                raise PluginError(f"{type(data).__name__}.seen() returned {got} for {like!r}; it must be {wanted}.")
            self._agreed.add(seen[like], said)

    def add(self, images: Tensor) -> None:
        """Looks at the next samples, float (N, C, H, W)."""
        self._broken += int((~images.isfinite()).flatten(1).any(1).sum())
        self._size = tuple(images.shape[2:])
        images = fit(to_float(to_uint8(images)), self.real.shape)  # as a user sees them: 8 bits a channel
        self._hold(images)
        self._small.add(reduce_to(images, SIDE))
        if self._views is not None:
            self._views.add(images)
        if self.pairs is not None:
            self.pairs.show(images)
        if self.patches is not None:
            self.patches.add(images)
        if kept_rows := [i for i in range(len(images)) if self._count + i in self._keep]:
            self._shown.add(reduce_to(images[kept_rows], SHOWN))
        self._count += len(images)

    def samples(self) -> JudgedSamples:
        return JudgedSamples(
            self._small.rows(),
            {head: kept.rows() for head, kept in self.wanted.items()},
            self._views.views() if self._views is not None else None,
            self.pairs,
            self.patches,
            self._agreed.part,
            self._shown.rows(),
        )

    def notes(self) -> list[str]:
        notes, (_, height, width) = [], self.real.shape
        if self._broken:
            told = f"{self._broken} of {self.n} samples hold NaN or infinite values"
            notes.append(f"{told}; those pixels count as mid-grey")
        if self._agreed.correlation < INVERTED:
            told = f"the masks of what they are made of in {self._agreed.part:.0%} of the pixels alone"
            notes.append(f"samples agree with {told}: what they show is inverted")
        if self.pairs is not None and (note := self.pairs.note()):
            notes.append(note)
        if self._size != (height, width):
            drawn = f"{self._size[1]}x{self._size[0]}"
            notes.append(f"samples of {drawn} were resized to the data's {width}x{height}")
        return notes


class _Agreement:
    """Counts pixels by whether something is seen there, and whether it should be."""

    def __init__(self) -> None:
        self._counts = torch.zeros(4, dtype=torch.int64)

    def add(self, seen: Tensor, said: Tensor) -> None:
        self._counts += torch.bincount((2 * seen.long() + said.long()).flatten(), minlength=4)

    @property
    def part(self) -> float:
        """Of the pixels in which both are the same; NaN of none."""
        neither, _, _, both = self._counts.tolist()
        total = int(self._counts.sum())
        return (neither + both) / total if total else math.nan

    @property
    def correlation(self) -> float:
        """Of what is seen and what should be, phi; 0 where one of them is the same everywhere."""
        neither, missed, wrong, both = (float(count) for count in self._counts.tolist())
        spread = (neither + missed) * (wrong + both) * (neither + wrong) * (missed + both)
        return (neither * both - missed * wrong) / math.sqrt(spread) if spread else 0.0


def _classes(asked: Asked, source: str, spec: DataSpec) -> Tensor:
    """The classes under the key `source`, int64 (n,): of what is asked for, or of the samples that it came from."""
    if source in asked.batch:
        return asked.batch[source]
    names = {name: i for i, name in enumerate(spec[source].names)}
    return torch.tensor([names[str(record[source])] for record in asked.records])
