"""Image files as rows of uint8 tensors: decoded once, kept in memory while they fit, broken ones set aside."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gankit.data.images import Fit, ImageError, decode_resized
from gankit.errors import UsageError

__all__ = ["ImageStore"]


class ImageStore:
    """The images of `files` (below `root`), each uint8 (`channels`, height, width), by their number.

    Up to `check` files are decoded at once, on all cores: the broken ones are known and left out (of :attr:`files` too)
    before training begins. Of a longer list each is decoded when first asked for, and in place of a broken one stands
    the next that can be read; which one that is depends on the files alone, so that a resumed run sees the same.

    `budget` is how many bytes the decoded images may take. If all of them need more, none is kept. If none of `files`
    can be read, that is a :class:`UsageError`, unless it `may_be_empty`.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[str],
        *,
        size: tuple[int, int],
        channels: int = 3,
        fit: Fit = "crop",
        budget: int = 2 << 30,
        check: int = 5000,
        may_be_empty: bool = False,
    ) -> None:
        self.root, self.size, self.channels, self.fit = root, size, channels, fit
        self.files = tuple(files)
        self.unreadable: dict[str, str] = {}
        """Why, by file, of those found unreadable so far."""
        fits = len(self.files) * channels * size[0] * size[1] <= budget
        self._kept = torch.empty(len(self.files), channels, *size, dtype=torch.uint8) if fits else None
        self._have = np.zeros(len(self.files), dtype=bool)
        self._total = len(self.files)
        if self.files and len(self.files) <= check:
            self._check(may_be_empty)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def in_memory(self) -> bool:
        """Whether reading is only copying."""
        return self._kept is not None and bool(self._have.all())

    def read(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The images at `indices` (int64, (N,)): uint8 (N, channels, height, width), and which images they are.

        The second is `indices`, except where an unreadable image was replaced by another: take labels by it. May be
        called from several threads. Raises :class:`UsageError` when no image at all can be read.
        """
        if self._kept is not None and self._have[indices.numpy()].all():
            return self._kept.index_select(0, indices), indices
        found = [self._nearest(index) for index in indices.tolist()]
        return torch.stack([image for image, _ in found]), torch.tensor([index for _, index in found])

    def notes(self, most: int = 5) -> list[str]:
        """What the user should know about files that could not be read: nothing if all could."""
        if not self.unreadable:
            return []
        broken = sorted(self.unreadable.items())
        named = "; ".join(reason for _, reason in broken[:most])
        more = f"; and {len(broken) - most} more" if len(broken) > most else ""
        return [f"{len(broken)} of {self._total} image files cannot be read and are left out: {named}{more}"]

    def _check(self, may_be_empty: bool) -> None:
        """Decode everything, and forget the files of which that fails."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            readable = list(pool.map(lambda index: self._get(index) is not None, range(len(self.files))))
        if not any(readable) and not may_be_empty:
            raise self._nothing()
        if not all(readable):
            keep = np.asarray(readable)
            self.files = tuple(self.files[index] for index in np.flatnonzero(keep))
            self._kept = self._kept[torch.from_numpy(keep)] if self._kept is not None else None
            self._have = self._have[keep]

    def _nearest(self, index: int) -> tuple[Tensor, int]:
        """The image at `index`, or the next after it that can be read, and its number."""
        for offset in range(len(self.files)):
            here = (index + offset) % len(self.files)
            if (image := self._get(here)) is not None:
                return image, here
        raise self._nothing()

    def _get(self, index: int) -> Tensor | None:
        """The image at `index`, or None if it cannot be read."""
        if self._kept is not None and self._have[index]:
            return self._kept[index]
        file = self.files[index]
        if file in self.unreadable:
            return None
        try:
            image = decode_resized(self.root / file, self.size, self.channels, self.fit)
        except ImageError as error:
            self.unreadable[file] = str(error)
            return None
        if self._kept is not None:
            self._kept[index] = image
            self._have[index] = True  # only now: another thread may be looking
        return image

    def _nothing(self) -> UsageError:
        reason = self.unreadable[min(self.unreadable)]
        return UsageError(f"none of the {self._total} image files in {self.root} can be read; {reason}")
