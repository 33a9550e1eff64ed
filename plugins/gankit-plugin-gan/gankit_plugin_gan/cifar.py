"""Datasets ``cifar10`` and ``cifar100``, of the binary version: the Python version is a pickle and is not read.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009), and the format that its page gives.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from gankit.data.files import directory
from gankit.errors import UsageError
from gankit.files import read_regular
from gankit_plugin_gan.held import Held, RootConfig
from gankit_plugin_gan.root import names_in, not_found

if TYPE_CHECKING:
    import torch

PIXELS = 3 * 32 * 32


class _Cifar(Held):
    """Images and classes of files whose rows are one byte for each key of a class, then the pixels, plane by plane."""

    called: ClassVar[str]
    files: ClassVar[dict[str, tuple[str, ...]]]
    """By split."""
    keys: ClassVar[dict[str, tuple[int, str]]]
    """The keys of classes in the order of their bytes: how many there are, and the file that lists their names."""
    get: ClassVar[str]

    def __init__(self, config: RootConfig, split: Literal["train", "test"] = "train") -> None:
        import torch

        super().__init__(config, split)
        root = directory(config.root, "data.root", f"the binary version of {self.called}")
        there, due = set(names_in(root)), [name for names in self.files.values() for name in names]
        if not there.intersection(due):
            raise not_found(root, set(due).__contains__, self.get)
        if lacks := [name for name in due if name not in there]:
            raise UsageError(f"data.root: {root} lacks {', '.join(lacks)}. {self.get}")
        self.names = {key: _names(root / file, count) for key, (count, file) in self.keys.items()}
        parts = [_read(root / name, [len(names) for names in self.names.values()]) for name in self.files[split]]
        table = torch.cat(parts)
        self.images = table[:, len(self.keys) :].reshape(-1, 3, 32, 32).clone()
        self.classes = {key: table[:, i].long() for i, key in enumerate(self.keys)}
        self.rows = [(name, len(part)) for name, part in zip(self.files[split], parts, strict=True)]


class Cifar10(_Cifar):
    """CIFAR-10 from the directory of its binary version: 50,000 photographs 32x32 to train on, 10,000 held out.

    ``image``: uint8 (N, 3, 32, 32). ``label``: int64 (N,), 10 classes by their names.
    """

    called = "CIFAR-10"
    files: ClassVar = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
    keys: ClassVar = {"label": (10, "batches.meta.txt")}
    get = (
        "Get the binary version, cifar-10-binary.tar.gz, and unpack it: data_batch_1.bin to data_batch_5.bin and "
        "test_batch.bin"
    )


class Cifar100(_Cifar):
    """CIFAR-100 from the directory of its binary version: 50,000 photographs 32x32 to train on, 10,000 held out.

    ``image``: uint8 (N, 3, 32, 32). ``label``: int64 (N,), 100 classes; ``coarse``: the 20 that they belong to.
    """

    called = "CIFAR-100"
    files: ClassVar = {"train": ("train.bin",), "test": ("test.bin",)}
    keys: ClassVar = {"coarse": (20, "coarse_label_names.txt"), "label": (100, "fine_label_names.txt")}
    get = "Get the binary version, cifar-100-binary.tar.gz, and unpack it: train.bin and test.bin"


def _read(path: Path, counts: list[int]) -> torch.Tensor:
    """The rows of a file, uint8 (N, keys + 3072); UsageError if its length or a class is wrong."""
    import torch

    row = len(counts) + PIXELS
    try:
        content = bytearray(read_regular(path))
    except OSError as error:
        raise UsageError(f"data.root: {path} cannot be read: {error.strerror or error}") from None
    if not content or len(content) % row:
        raise UsageError(
            f"data.root: {path} has {len(content)} bytes, no multiple of {row}: it is cut off or another file"
        )
    table = torch.frombuffer(content, dtype=torch.uint8).view(-1, row)
    for i, count in enumerate(counts):
        if int(table[:, i].max()) >= count:
            at = int((table[:, i] >= count).nonzero()[0])
            raise UsageError(
                f"data.root: image {at} in {path} has the class {int(table[at, i])}; it must be 0 to {count - 1}: "
                "is it another file?"
            )
    return table


def _names(path: Path, count: int) -> tuple[str, ...]:
    """The names of the classes, a line each; their numbers if the file is missing or lists another number of them."""
    try:
        listed = tuple(read_regular(path).decode("utf-8", "replace").split())
    except OSError:
        listed = ()
    return listed if len(set(listed)) == count else tuple(map(str, range(count)))
