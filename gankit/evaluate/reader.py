"""The reader: it tells which of many captions an image shows, and is trained on a dataset's own real pairs.

What the judge is for classes, the reader is for captions: it sees the train split only, and shares nothing with the
encoders that a variant may train for itself.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.errors import UsageError
from gankit.evaluate.cache import KnownJudge, known
from gankit.evaluate.gathered import Gathered
from gankit.evaluate.judge import LARGEST, Judge, JudgeConfig, arrange, distort, ramp, small
from gankit.evaluate.metrics import reduce_to
from gankit.evaluate.real import RealImages, subset
from gankit.events import Note, OnEvent, ignore, progress
from gankit.random_state import fork_rng
from gankit.text.encoders import CharCNNRNN
from gankit.text.training import blur

__all__ = ["AMONG", "KnownReader", "Reader", "ReaderConfig", "r_precision", "reader_for", "train_reader"]

AMONG = 100
"""Captions among which an image's own has to come first."""
HOTTEST = math.log(100.0)
"""Greatest logarithm of the factor on similarities."""


@dataclass(frozen=True)
class ReaderConfig:
    """How a reader is made. Part of its identity: a changed value makes another reader."""

    size: int = 64
    """Length of what images and captions become."""
    width: int = 32
    text_width: int = 128
    steps: int = 700
    batch_size: int = 64
    lr: float = 3e-3
    weight_decay: float = 0.05
    seed: int = 0
    version: int = 1
    """Raised when the code below changes what comes out."""


class Reader(nn.Module):
    """Images and captions to unit vectors that are alike where the one shows the other.

    Args:
        shape: (channels, height, width) of the images it is made for; it takes others too.
    """

    def __init__(self, shape: tuple[int, int, int], config: ReaderConfig) -> None:
        super().__init__()
        self.images = Judge(shape, {"caption": config.size}, config.width)
        self.text = CharCNNRNN(config.size, config.text_width)
        self.heat = nn.Parameter(torch.tensor(2.7))

    def see(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] to unit vectors (N, size)."""
        return F.normalize(self.images(images)["caption"].float(), dim=1)

    def read(self, text: Tensor) -> Tensor:
        """Captions, uint8 (N, bytes), to unit vectors (N, size)."""
        return F.normalize(self.text(text), dim=1)


KnownReader = KnownJudge[Reader]


def reader_for(
    train: RealImages,
    test: RealImages | None,
    config: ReaderConfig | None = None,
    device: torch.device | str = "cpu",
    tell: OnEvent = ignore,
) -> KnownReader:
    """The reader of these images and their captions: from the cache if there is one, else trained now and kept."""
    config = config or ReaderConfig()

    def make() -> tuple[Reader, dict[str, float], int]:
        reader = train_reader(train, config, device, tell)
        held_out = len(subset(len(test), 5000)) if test is not None else 0
        return reader, accuracy_on(reader, test, device) if test is not None and held_out else {}, held_out

    found = known(train, test, asdict(config), lambda: Reader(train.shape, config), make, tell)
    arrange(found.judge.images, device)
    found.judge.to(device)
    return found


def train_reader(
    train: RealImages,
    config: ReaderConfig | None = None,
    device: torch.device | str = "cpu",
    tell: OnEvent = ignore,
) -> Reader:
    """A reader in eval mode, trained on the pairs of `train`. The same seed on the same machine gives the same reader.

    Raises:
        UsageError: there are fewer than two pairs.
    """
    config = config or ReaderConfig()
    if len(train) < 2:
        raise UsageError("A reader needs two image-text pairs or more, and the train split has fewer.")
    started = time.perf_counter()
    device = torch.device(device)
    with fork_rng(device):
        torch.manual_seed(config.seed)
        reader = Reader(train.shape, config).to(device)
        arrange(reader.images, device)
        tell(Note(text="Training a reader of captions on real image-text pairs, once for this data ..."))
        _fit(reader, train, config, device, tell)
    tell(Note(text=f"The reader is trained ({time.perf_counter() - started:.0f} s)."))
    return reader.eval().requires_grad_(False)


def _fit(reader: Reader, train: RealImages, config: ReaderConfig, device: torch.device, tell: OnEvent) -> None:
    count, read = small(train, tell)
    optimizer = torch.optim.AdamW(
        reader.parameters(), config.lr, weight_decay=config.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    draw = torch.Generator().manual_seed(config.seed)  # on the CPU, so that the images do not depend on the device
    size, order = min(config.batch_size, count), torch.empty(0, dtype=torch.int64)
    target = torch.arange(size, device=device)
    for step in progress(range(config.steps), "training the reader", tell):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * ramp(step / config.steps)
        if len(order) < size:
            order = torch.cat([order, torch.randperm(count, generator=draw)])
        indices, order = order[:size], order[size:]
        images, described = read(indices)
        images = distort(images, JudgeConfig(), draw).to(device)
        seen = reader.see(images.contiguous(memory_format=torch.channels_last))
        said = reader.read(blur(described[train.text], draw).to(device))
        alike = reader.heat.clamp(max=HOTTEST).exp() * seen @ said.T
        optimizer.zero_grad(set_to_none=True)
        (F.cross_entropy(alike, target) + F.cross_entropy(alike.T, target)).backward()
        optimizer.step()


class Pairs:
    """What the reader sees in images and reads in their captions, a few at a time."""

    def __init__(self, reader: Reader, n: int, device: torch.device) -> None:
        self._reader, self._device = reader, device
        self._seen, self._said = Gathered(n), Gathered(n)

    @torch.no_grad()
    def show(self, images: Tensor) -> None:
        """The next images, float (N, C, H, W)."""
        self._seen.add(self._reader.see(reduce_to(images, LARGEST).to(self._device)).cpu())

    def ask(self, text: Tensor) -> None:
        """The next images' captions, uint8 (N, bytes)."""
        self._said.add(text.cpu())

    @torch.no_grad()
    def precision(self) -> float:
        """See :func:`r_precision`."""
        text = self._said.rows()
        said = [self._reader.read(part.to(self._device)).cpu() for part in text.split(256)]
        return r_precision(self._seen.rows(), torch.cat(said), text) if said else math.nan


def r_precision(seen: Tensor, said: Tensor, text: Tensor) -> float:
    """Fraction of images to which, of :data:`AMONG` captions, their own comes nearest; NaN if all say the same.

    `seen`, `said`: unit vectors (N, size) of images and of their captions, `text`, uint8 (N, bytes). The others are
    drawn from the captions of the other images, none twice, none like the image's own; always the same ones. Xu et al.
    2018 (AttnGAN), section 4.
    """
    different, which = torch.unique(text, dim=0, return_inverse=True)
    if len(different) < 2:
        return math.nan
    first = torch.zeros(len(different), dtype=torch.int64)
    first[which.flip(0)] = torch.arange(len(which)).flip(0)  # of each caption the first image that has it
    draw, right = torch.Generator().manual_seed(0), 0
    for row in range(len(seen)):
        others = torch.randperm(len(different), generator=draw)
        others = first[others[others != which[row]][: AMONG - 1]]
        right += bool((said[row] @ seen[row]) > (said[others] @ seen[row]).max())
    return right / len(seen)


def accuracy_on(reader: Reader, data: RealImages, device: torch.device | str, limit: int = 1000) -> dict[str, float]:
    """The `r_precision` of at most `limit` of the real pairs `data`."""
    rows = subset(len(data), limit)
    pairs = Pairs(reader, len(rows), torch.device(device))
    for indices in rows.split(250):
        images, described = data.floats(indices, LARGEST)
        pairs.show(images)
        pairs.ask(described[data.text])
    found = pairs.precision()
    return {"r_precision": found} if math.isfinite(found) else {}
