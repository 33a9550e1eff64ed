"""The reader: it tells which of many captions an image shows, and is trained on a dataset's own real pairs.

What the judge is for classes, the reader is for captions: it sees the train split only, and shares nothing with the
encoders that a variant may train for itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.errors import UsageError
from gankit.evaluate.cache import KnownJudge, known
from gankit.evaluate.gathered import Gathered
from gankit.evaluate.judge import LARGEST, FitConfig, Judge, JudgeConfig, arrange, describe, fit
from gankit.evaluate.metrics import reduce_to
from gankit.evaluate.real import RealImages, subset
from gankit.events import Note, OnEvent, ignore
from gankit.random_state import fork_rng
from gankit.text.encoders import CharCNNRNN
from gankit.text.training import blur

if TYPE_CHECKING:
    from gankit.dataset import Batch

__all__ = [
    "AMONG",
    "KnownReader",
    "Pairs",
    "Reader",
    "ReaderConfig",
    "images_of",
    "r_precision",
    "reader_for",
    "train_reader",
]

AMONG = 100
"""Captions among which an image's own has to come first."""
CHECKED = 1000
"""Most held-out pairs that a reader is checked on."""
KNOWN = 5000
"""Most captions of a split of which it is looked up which image they belong to."""
HOTTEST = math.log(100.0)
"""Greatest logarithm of the factor on similarities."""


@dataclass(frozen=True)
class ReaderConfig(FitConfig):
    """How a reader is made. Part of its identity: a changed value makes another reader."""

    size: int = 64
    """Length of what images and captions become."""
    width: int = 32
    text_width: int = 128
    lr: float = 3e-3
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
        held_out = min(len(test), CHECKED) if test is not None else 0
        return reader, accuracy_on(reader, test, device) if test is not None and held_out else {}, held_out

    # images are distorted and seen as the judge's are
    settings = {**asdict(config), "judge": describe(JudgeConfig())}
    found = known(train, test, settings, lambda: Reader(train.shape, config), make, tell)
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

        def loss(images: Tensor, described: Batch, draw: torch.Generator) -> Tensor:
            seen, said = reader.see(images), reader.read(blur(described[train.text], draw).to(device))
            alike = reader.heat.clamp(max=HOTTEST).exp() * seen @ said.T
            target = torch.arange(len(alike), device=device)
            return F.cross_entropy(alike, target) + F.cross_entropy(alike.T, target)

        fit(reader, loss, train, config, JudgeConfig(), "training the reader", device, tell)
    tell(Note(text=f"The reader is trained ({time.perf_counter() - started:.0f} s)."))
    return reader.eval().requires_grad_(False)


class Pairs:
    """What the reader sees in images and reads in their captions, a few at a time.

    `images`: which image each caption belongs to, of those that are known; see :func:`images_of`.
    """

    def __init__(self, reader: Reader, n: int, device: torch.device, images: Mapping[bytes, bytes]) -> None:
        self._reader, self._device, self._images = reader, device, images
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
        said = torch.cat([self._reader.read(part.to(self._device)).cpu() for part in text.split(256)])
        return r_precision(self._seen.rows(), said, *self._different(text))

    def note(self) -> str:
        """What a reader should know of :meth:`precision`; "" if there is nothing."""
        images = len(set(self._different(self._said.rows())[1]))
        if images >= AMONG:
            return ""
        return f"r_precision is among the captions of {images} images, not {AMONG}: there are no more"

    def _different(self, text: Tensor) -> tuple[list[bytes], list[bytes]]:
        """Of each caption what it says, and which image it belongs to: itself, if that is not known."""
        said = [_key(row) for row in text]
        return said, [self._images.get(one, one) for one in said]


def r_precision(seen: Tensor, said: Tensor, text: Sequence[bytes], image: Sequence[bytes]) -> float:
    """Fraction of images to which, of :data:`AMONG` captions, their own comes nearest; NaN if there is one image.

    `seen`, `said`: unit vectors (N, size) of images and of their captions; `text`: the captions, and `image`: which
    image each belongs to. The others are drawn, always the same ones, from the captions of other images, one an image.
    Xu et al. 2018 (AttnGAN), section 4.
    """
    rows: dict[bytes, int] = {}
    for row, one in enumerate(image):
        rows.setdefault(one, row)  # of each image its first caption
    if len(rows) < 2:
        return math.nan
    first = torch.tensor(list(rows.values()))
    draw, right = torch.Generator().manual_seed(0), 0
    for row in range(len(seen)):
        others = first[torch.randperm(len(first), generator=draw)].tolist()
        others = [one for one in others if image[one] != image[row] and text[one] != text[row]][: AMONG - 1]
        alike = said[[row, *others]] @ seen[row]
        right += bool(others) and bool(alike[0] > alike[1:].max())
    return right / len(seen)


def images_of(data: RealImages) -> dict[bytes, bytes]:
    """Of at most :data:`KNOWN` captions of `data` the digest of the image that each belongs to."""
    found: dict[bytes, bytes] = {}
    for part in subset(len(data), KNOWN).split(64):
        batch = data.batch(part)
        for text, image in zip(batch[data.text], batch[data.key], strict=True):
            found[_key(text)] = blake2b(image.contiguous().numpy().tobytes(), digest_size=16).digest()
    return found


def _key(text: Tensor) -> bytes:
    """A caption, uint8 (bytes,), as a reader reads it: without regard to case."""
    return bytes(text.tolist()).rstrip(b"\0").lower()


def accuracy_on(reader: Reader, data: RealImages, device: torch.device | str, limit: int = CHECKED) -> dict[str, float]:
    """The `r_precision` of at most `limit` of the real pairs `data`."""
    rows = subset(len(data), limit)
    pairs = Pairs(reader, len(rows), torch.device(device), images_of(data))
    for indices in rows.split(250):
        images, described = data.floats(indices, LARGEST)
        pairs.show(images)
        pairs.ask(described[data.text])
    found = pairs.precision()
    return {"r_precision": found} if math.isfinite(found) else {}
