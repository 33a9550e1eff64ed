"""What samples are compared with: the real images of both splits, the judge, and its view of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gankit.evaluate.cache import Judged, judge_for
from gankit.evaluate.judge import Judge, class_keys, subset
from gankit.evaluate.metrics import reduce_to
from gankit.events import OnEvent, progress

if TYPE_CHECKING:
    from gankit.plugin import Batch, Dataset

LIMIT = 5000
"""Most real images of a split that are compared with."""


@dataclass(frozen=True)
class Split:
    """Real images of one split, as far as metrics need them."""

    data: Dataset[Any]
    rows: Tensor
    """Indices into `data`, int64 (N,)."""
    small: Tensor
    """float (N, C, h, w), at most 32 pixels a side."""
    features: Tensor | None
    """The judge's, float (N, D); None without a judge."""
    classes: Batch
    """int64 (N,) by class key."""

    def images(self, limit: int) -> Tensor:
        """At most `limit` of the images, float (n, C, H, W) in [-1, 1]."""
        rows = self.rows[subset(len(self.rows), limit)]
        return torch.cat([_float(self.data.batch(part)["image"]) for part in rows.split(64)])


@dataclass(frozen=True)
class Reference:
    """Both splits, and the judge (None for data without classes)."""

    train: Split
    test: Split | None
    judged: Judged | None


_last: list[tuple[Dataset[Any], Dataset[Any] | None, torch.device, Reference]] = []
"""The reference made last, since a run is evaluated many times. Only that one: it holds its data."""


def reference_for(train: Dataset[Any], test: Dataset[Any] | None, device: torch.device, tell: OnEvent) -> Reference:
    """The reference of a dataset; for the same objects as the last time it is not made again."""
    for last_train, last_test, last_device, known in _last:
        if last_train is train and last_test is test and last_device == device:
            return known
    judged = judge_for(train, test, device=device, tell=tell) if class_keys(train.spec) else None
    judge = judged.judge if judged else None
    held_out = _split(test, judge, device, tell) if test is not None and len(test) else None
    made = Reference(_split(train, judge, device, tell), held_out, judged)
    _last[:] = [(train, test, device, made)]
    return made


@torch.no_grad()
def look(judge: Judge, images: Tensor, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
    """The judge's features (N, D) and predicted classes (N,) by key, on the CPU, of float images (N, C, H, W)."""
    features, classes = [], []
    for part in images.split(250):
        seen = judge.features(part.to(device))
        features.append(seen.cpu())
        classes.append({name: logits.argmax(1).cpu() for name, logits in judge.classify(seen).items()})
    return torch.cat(features), {name: torch.cat([part[name] for part in classes]) for name in judge.names}


def fit(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Float images (N, C, H, W) in the size of `shape`: averaged if larger, interpolated if smaller."""
    size = shape[1:]
    if images.shape[-2:] == size:
        return images
    if images.shape[-2] >= size[0] and images.shape[-1] >= size[1]:
        return F.interpolate(images, size, mode="area")
    return F.interpolate(images, size, mode="bicubic", antialias=True).clamp_(-1, 1)


def _split(data: Dataset[Any], judge: Judge | None, device: torch.device, tell: OnEvent) -> Split:
    keys = list(class_keys(data.spec))
    rows = subset(len(data), LIMIT)
    small, features, classes = [], [], []
    for part in progress(rows.split(64), f"looking at the {data.split} split", tell):
        batch = data.batch(part)
        images = _float(batch["image"])
        small.append(reduce_to(images, 32))
        classes.append([batch[key] for key in keys])
        if judge is not None:
            features.append(look(judge, images, device)[0])
    together = {key: torch.cat([part[i] for part in classes]) for i, key in enumerate(keys)}
    return Split(data, rows, torch.cat(small), torch.cat(features) if features else None, together)


def _float(images: Tensor) -> Tensor:
    from gankit.data.images import to_float

    return to_float(images)
