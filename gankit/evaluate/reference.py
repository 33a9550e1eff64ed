"""What samples are compared with: the real images of both splits, who judges them, and the judge's view of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gankit.data.images import at_once
from gankit.data.opacity import resampled
from gankit.evaluate.cache import KnownJudge, judge_for
from gankit.evaluate.gathered import Gathered
from gankit.evaluate.judge import LARGEST, Judge
from gankit.evaluate.metrics import reduce_to
from gankit.evaluate.neighbours import SIDE
from gankit.evaluate.patches import Level, Patches
from gankit.evaluate.reader import KnownReader, images_of, reader_for
from gankit.evaluate.real import RealImages, subset
from gankit.events import OnEvent, progress

if TYPE_CHECKING:
    from gankit.dataset import Batch, Dataset

LIMIT = 5000
"""Most real images of a split that are compared with."""


class Views:
    """What the judge sees in images, which are shown to it a few at a time."""

    def __init__(self, judge: Judge, n: int, device: torch.device) -> None:
        self._judge, self._device = judge, device
        self._features, self._sure = Gathered(n), Gathered(n)
        self._classes = {name: Gathered(n) for name in judge.names}

    @torch.no_grad()
    def add(self, images: Tensor) -> None:
        """Shows it the next images, float (N, C, H, W)."""
        features = self._judge.features(reduce_to(images, LARGEST).to(self._device))
        best = {name: logits.softmax(1).max(1) for name, logits in self._judge.classify(features).items()}
        self._features.add(features.cpu())
        self._sure.add(torch.stack([one.values for one in best.values()]).amin(0).cpu())
        for name, one in best.items():
            self._classes[name].add(one.indices.cpu())

    def views(self) -> View:
        """Of all images."""
        classes = {name: kept.rows() for name, kept in self._classes.items()}
        return View(self._features.rows(), classes, self._sure.rows())


@dataclass(frozen=True)
class View:
    """What the judge sees in N images."""

    features: Tensor
    """(N, D)."""
    classes: dict[str, Tensor]
    """The likeliest class, int64 (N,), by class key."""
    sure: Tensor
    """Probability of that class, (N,); of several class keys the smallest."""


@dataclass(frozen=True)
class Split:
    """Real images of one split, as far as metrics need them."""

    real: RealImages
    rows: Tensor
    """Indices into `real`, int64 (N,)."""
    small: Tensor
    """float (N, C, h, w), at most 32 pixels a side."""
    view: View | None
    """What the judge sees in them; None without a judge."""
    classes: Batch
    """int64 (N,) by class key."""

    def patches(self, levels: list[Level], limit: int) -> Patches:
        """The patches of at most `limit` of the images."""
        found = Patches(levels, self.real.shape[0])
        for part in self.rows[subset(len(self.rows), limit)].split(at_once(self.real.shape)):
            found.add(self.real.floats(part, max(self.real.shape[1:]))[0])
        return found


@dataclass(frozen=True)
class Reference:
    """Both splits, the judge (None for data without classes), and the reader (None unless captions are judged)."""

    train: Split
    test: Split | None
    judged: KnownJudge[Judge] | None
    read: KnownReader | None
    captions: Mapping[bytes, bytes] = field(default_factory=dict)
    """Which image captions belong to; see :func:`gankit.evaluate.reader.images_of`."""


_last: list[tuple[Dataset[Any], Dataset[Any] | None, tuple[str, str, bool, torch.device], Reference]] = []
"""The reference made last, since a run is evaluated many times. Only that one: it holds its data."""


def reference_for(
    train: Dataset[Any],
    test: Dataset[Any] | None,
    key: str,
    device: torch.device,
    tell: OnEvent,
    *,
    text: str = "",
    classes: bool = True,
) -> Reference:
    """The reference of the images under `key`; for the same objects as the last time it is not made again.

    `text`: of captions that are judged, the key. `classes`: whether classes are judged, if there are any.
    """
    for last_train, last_test, last, known in _last:
        if last_train is train and last_test is test and last == (key, text, classes, device):
            return known
    real = RealImages(train, key)
    held_out = RealImages(test, key) if test is not None else None
    judged = judge_for(real, held_out, device=device, tell=tell) if real.heads and classes else None
    judge = judged.judge if judged else None
    seen = _split(held_out, judge, device, tell) if held_out is not None and len(held_out) else None
    read, captions = None, {}
    if text:
        told, held = RealImages(train, key, text), held_out and RealImages(held_out.data, key, text)
        read = reader_for(told, held, device=device, tell=tell)
        captions = images_of(held or told)
    made = Reference(_split(real, judge, device, tell), seen, judged, read, captions)
    _last[:] = [(train, test, (key, text, classes, device), made)]
    return made


def fit(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Float images (N, C, H, W) in the size of `shape`: averaged if larger, interpolated if smaller."""
    size = shape[1:]
    if images.shape[-2:] == size:
        return images
    if images.shape[-2] >= size[0] and images.shape[-1] >= size[1]:
        return resampled(images, lambda drawn: F.interpolate(drawn, size, mode="area"))
    return resampled(images, lambda drawn: F.interpolate(drawn, size, mode="bicubic", antialias=True)).clamp_(-1, 1)


def _split(real: RealImages, judge: Judge | None, device: torch.device, tell: OnEvent) -> Split:
    rows = subset(len(real), LIMIT)
    small, views = Gathered(len(rows)), Views(judge, len(rows), device) if judge is not None else None
    classes = {name: Gathered(len(rows)) for name in real.heads}
    for part in progress(rows.split(at_once(real.shape)), f"looking at the {real.data.split} split", tell):
        images, described = real.floats(part, max(real.shape[1:]))
        small.add(reduce_to(images, SIDE))
        for name, kept in classes.items():
            kept.add(described[name])
        if views is not None:
            views.add(images)
    known = {name: kept.rows() for name, kept in classes.items()}
    return Split(real, rows, small.rows(), views.views() if views is not None else None, known)
