"""How near translations come to what they should be, where held-out data has the same thing in several domains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan

import torch
from torch import Tensor

__all__ = ["Held", "known_pairs", "relative_error"]

MOST = 2000
"""Pairs that are looked at, drawn at random from more."""
AT_ONCE = 32


class Held:
    """Held-out rows, gathered batch by batch: images as bytes, labels, and what says which are the same thing."""

    def __init__(self) -> None:
        self._images: list[Tensor] = []
        self._labels: list[Tensor] = []
        self.names: list[bytes] = []

    def add(self, images: Tensor, labels: Tensor, same: Tensor) -> None:
        """Rows as in a step. Images of 8 bits a channel lose nothing."""
        self._images.append(images.add(1).mul(127.5).round().to(torch.uint8).cpu())
        self._labels.append(labels.cpu())
        self.names += [row.tobytes() for row in same.cpu().numpy()]

    @property
    def images(self) -> Tensor:
        return torch.cat(self._images)

    @property
    def labels(self) -> Tensor:
        return torch.cat(self._labels)


def known_pairs(names: Sequence[bytes], labels: Tensor) -> Tensor:
    """Rows (i, j) of the same thing in two domains, int64 (P, 2): equal in `names`, different in `labels` (N, ...).

    None if one thing is there twice in a domain: then the name does not say what an image looks like.
    """
    things: dict[bytes, dict[bytes, int]] = {}
    for row, (name, label) in enumerate(zip(names, labels.numpy(), strict=True)):
        if things.setdefault(name, {}).setdefault(label.tobytes(), row) != row:
            return torch.empty(0, 2, dtype=torch.int64)
    pairs = [(i, j) for rows in things.values() for i in rows.values() for j in rows.values() if i != j]
    return torch.tensor(pairs, dtype=torch.int64).view(-1, 2)


def relative_error(held: Held, translate: Callable[[Tensor, Tensor], Tensor], generator: torch.Generator) -> float:
    """Mean absolute error of ``translate(images, labels)``, over that of the images as they were; NaN without a truth.

    0 is what the other image of each pair looks like, 1 no better than nothing done. `generator` draws which pairs are
    looked at of many; what is translated goes to its device.
    """
    images, labels, device = held.images, held.labels, generator.device
    pairs = known_pairs(held.names, labels)
    if len(pairs) > MOST:
        pairs = pairs[torch.randperm(len(pairs), generator=generator, device=device)[:MOST].cpu()]
    wrong = before = 0.0
    for part in pairs.split(AT_ONCE):
        given, truth = (images[rows].to(device).float().div(127.5).sub(1) for rows in part.unbind(1))
        drawn = translate(given, labels[part[:, 1]].to(device)).float()
        wrong += float((drawn - truth).abs().double().sum())
        before += float((given - truth).abs().double().sum())
    return wrong / before if before else nan
