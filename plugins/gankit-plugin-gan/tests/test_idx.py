"""IDX files from a directory: what is read, and what is said of files that are not as they should be."""

from __future__ import annotations

import gzip
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from gankit_plugin_gan.idx import read_idx
from gankit_plugin_gan.mnist import Mnist, MnistConfig
from pydantic import ValidationError

from gankit.errors import UsageError


def idx(values: np.ndarray) -> bytes:
    """An IDX file of bytes."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def images(count: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, 28, 28), each with a bright upper right corner."""
    made = np.random.default_rng(seed).integers(0, 60, (count, 28, 28), dtype=np.uint8)
    made[:, 2:6, 20:26] = 250
    return made


def write_set(root: Path, prefix: str = "", test: str = "t10k", classes: int = 10, first: int = 0) -> None:
    """Four files of 30 and 20 images whose labels go in turn; those of training are gzipped."""
    root.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 30), (test, 20)):
        labels = np.arange(count, dtype=np.uint8) % classes + first
        for what, values in (("images-idx3", images(count, count)), ("labels-idx1", labels)):
            content, name = idx(values), f"{prefix}{split}-{what}-ubyte"
            if split == "train":
                (root / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (root / name).write_bytes(content)


def opened(root: Path, split: str = "train", **options: object) -> Mnist:
    return Mnist(MnistConfig(root=str(root), **options), split)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_set(tmp_path / "set")
    return tmp_path / "set"


@pytest.mark.parametrize("pack", [lambda content: content, gzip.compress])
@pytest.mark.parametrize("values", [images(3), np.arange(5, dtype=np.uint8)])
def test_reads_what_was_written_packed_or_not(pack: object, values: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "file.gz"  # the content tells, not the name
    path.write_bytes(pack(idx(values)))  # type: ignore[operator]
    assert np.array_equal(read_idx(path, values.ndim), values)


def test_a_directory_is_read_as_it_is(root: Path) -> None:
    train, test = opened(root), opened(root, "test")
    assert (len(train), len(test)) == (30, 20)
    batch = test.batch(torch.tensor([7, 11]))
    assert torch.equal(batch["image"][:, 0], torch.from_numpy(images(20, 20))[[7, 11]])
    assert batch["label"].tolist() == [7, 1]
    assert test.source(7) == "t10k-images-idx3-ubyte#7"
    assert train.spec == test.spec
    assert train.spec["label"].names == tuple("0123456789")


def test_names_with_a_dot_are_read_and_the_unpacked_of_two(root: Path) -> None:
    for path in list(root.iterdir()):
        path.rename(root / path.name.replace("-idx", ".idx"))
    (root / "t10k-images.idx3-ubyte.gz").write_bytes(b"not looked at")
    assert len(opened(root)) == 30
    assert len(opened(root, "test")) == 20


@pytest.mark.parametrize(
    ("part", "classes", "first", "names"),
    [("letters", 26, 1, "abcdefghijklmnopqrstuvwxyz"), ("digits", 10, 0, "0123456789")],
)
def test_emnist_is_turned_and_named(part: str, classes: int, first: int, names: str, tmp_path: Path) -> None:
    write_set(tmp_path, f"emnist-{part}-", "test", classes, first)
    dataset = opened(tmp_path)
    assert dataset.spec["label"].names == tuple(names)
    batch = dataset.batch(torch.arange(30))
    assert torch.equal(batch["image"][:, 0], torch.from_numpy(images(30, 30)).transpose(1, 2))
    assert batch["label"].tolist() == [i % classes for i in range(30)]


def test_a_part_of_emnist_without_files_is_refused() -> None:
    with pytest.raises(ValidationError, match="give root, too"):
        MnistConfig(emnist="letters")


def test_emnist_in_several_parts_asks_which_and_takes_it(tmp_path: Path) -> None:
    write_set(tmp_path, "emnist-letters-", "test", 26, 1)
    write_set(tmp_path, "emnist-balanced-", "test", 47)
    with pytest.raises(
        UsageError, match=r"EMNIST balanced, EMNIST letters: choose one, such as --data.emnist balanced"
    ):
        opened(tmp_path)
    assert opened(tmp_path, emnist="balanced").spec.classes() == 47
    with pytest.raises(UsageError, match=r"data.emnist = 'byclass': .* not EMNIST byclass"):
        opened(tmp_path, emnist="byclass")
    write_set(tmp_path)
    assert opened(tmp_path).spec.classes() == 10  # the one that no part is named in
    with pytest.raises(UsageError, match=r"data.stack = 3 stacks sets of 10 classes"):
        opened(tmp_path, emnist="balanced", stack=3)


def test_classes_without_images_are_told_of(tmp_path: Path) -> None:
    write_set(tmp_path, "emnist-balanced-", "test", 47)
    assert opened(tmp_path, "test").notes() == ["no image of the test split shows K, L, M, N, O and 22 more"]
    write_set(tmp_path)
    assert opened(tmp_path).notes() == []


def test_another_content_has_another_fingerprint(root: Path) -> None:
    before = opened(root).fingerprint()
    assert opened(root).fingerprint() == before
    changed = images(30, 30)
    changed[29, 27, 27] ^= 1
    (root / "train-images-idx3-ubyte.gz").write_bytes(idx(changed))
    assert opened(root).fingerprint() != before


WHOLE = idx(images(3))
HUGE = struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 65_535, 65_535)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no IDX file: it is empty"),
        (b"\0\0", "begins with 00 00"),
        (b"<html>not found", "is no IDX file: it begins with 3c 68 74 6d"),
        (b"\0\0\x0d\x03" + WHOLE[4:], "numbers of type 0x0d, not bytes"),
        (idx(np.arange(3, dtype=np.uint8)), "1 dimensions where 3 are due: are images and labels mixed up"),
        (WHOLE[:9], "ends within its header"),
        (WHOLE[:-1], "ends early: its header says 3x28x28 bytes, and 2351 are there"),
        (WHOLE + b"\0", "is too long: its header says 3x28x28 bytes"),
        (idx(images(3)[:0]), "holds nothing: its header says 0x28x28"),
        (HUGE + b"abc", "is damaged: its header says 4294967295x65535x65535"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 5_000_000, 28, 28), "ends early: .* and 0 are there"),
        (gzip.compress(WHOLE)[:-9], "ends early, within its gzip stream"),
        (gzip.compress(WHOLE)[:-8] + bytes(8), "is a damaged gzip file"),
        (b"\x1f\x8b" + bytes(40), "is a damaged gzip file"),
        (gzip.compress(WHOLE)[:20] + bytes(40), "gzip"),
        (gzip.compress(b"text"), "is no IDX file"),
        (gzip.compress(HUGE), "is damaged"),
        (idx(np.zeros((30, 32, 32))), "holds images of 32x32; those of MNIST have 28x28"),
        (idx(images(29)), "holds 29 images, but train-labels-idx1-ubyte.gz 30 labels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",  # gzip writes the time of day
)
def test_what_is_wrong_with_a_file_is_said_in_a_line_that_names_it(content: bytes, said: str, root: Path) -> None:
    path = root / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        opened(root)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_beyond_the_classes_are_refused(root: Path) -> None:
    labels = np.arange(30, dtype=np.uint8) % 10
    labels[4] = 10
    (root / "train-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    with pytest.raises(UsageError, match=r"label 4 in .*train-labels-idx1-ubyte.gz is 10; it must be 0 to 9"):
        opened(root)


def test_a_missing_file_of_either_split_is_named(root: Path) -> None:
    (root / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UsageError, match=r"lacks the labels of the test split. Get the IDX files"):
        opened(root)


@pytest.mark.parametrize("name", ["mnist.pkl.gz", "training.pt", "mnist.npz", "data.pickle", "train.NPY"])
def test_pickles_are_refused_by_name_with_what_to_get(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"never opened")
    with pytest.raises(UsageError, match=rf"{re.escape(name)} in .* is a pickle .* Get .*train-images-idx3-ubyte.gz"):
        opened(tmp_path)


def test_a_directory_below_that_has_the_files_is_named(tmp_path: Path) -> None:
    write_set(tmp_path / "MNIST" / "raw")
    with pytest.raises(UsageError, match=f"but in .*: give --data.root {tmp_path}/MNIST/raw"):
        opened(tmp_path)


def test_what_else_a_directory_holds_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds nothing. Get"):
        opened(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"holds notes.txt. Get"):
        opened(tmp_path)
    with pytest.raises(UsageError, match=r"notes.txt is a file; give a directory of IDX files: --data.root DIR"):
        opened(tmp_path / "notes.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(root: Path) -> None:
    path = root / "train-images-idx3-ubyte.gz"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UsageError, match="it is a pipe, not a file"):
        opened(root)
