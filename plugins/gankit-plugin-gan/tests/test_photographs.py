"""CIFAR and SVHN, from small files of the same format."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from gankit_plugin_gan.cifar import Cifar10, Cifar100
from gankit_plugin_gan.held import RootConfig
from gankit_plugin_gan.svhn import Svhn
from scipy.io import savemat

from gankit.data.kinds import describe
from gankit.errors import UsageError

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def pixels(count: int, seed: int) -> np.ndarray:
    """uint8 (count, 3, 32, 32)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def rows(images: np.ndarray, *labels: np.ndarray) -> bytes:
    """The binary version's form: the labels of an image, then its planes."""
    head = [column.astype(np.uint8)[:, None] for column in labels]
    return np.hstack([*head, images.reshape(len(images), -1)]).tobytes()


def opened(cls: type, root: Path, split: str = "train") -> Cifar10 | Cifar100 | Svhn:
    return cls(RootConfig(root=str(root)), split)


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(rows(pixels(4, number), (np.arange(4) + number) % 10))
    (tmp_path / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    return tmp_path


@pytest.fixture
def svhn(tmp_path: Path) -> Path:
    for seed, split in enumerate(("train", "test")):
        images = pixels(12, seed).transpose(2, 3, 1, 0)
        savemat(tmp_path / f"{split}_32x32.mat", {"X": images, "y": np.arange(1, 13)[:, None] % 10 + 1})
    return tmp_path


def test_cifar10_is_read_from_its_five_files(cifar10: Path) -> None:
    train, test = opened(Cifar10, cifar10), opened(Cifar10, cifar10, "test")
    assert (len(train), len(test)) == (20, 4)
    assert train.spec == test.spec
    assert train.spec["label"].names == tuple(CLASSES)
    batch = train.batch(torch.tensor([5, 0]))
    assert torch.equal(batch["image"][0], torch.from_numpy(pixels(4, 1)[1]))
    assert batch["label"].tolist() == [2, 0]
    assert train.source(5) == "data_batch_2.bin#1"
    assert train.fingerprint() != test.fingerprint()
    batch["image"].zero_()
    assert train.batch(torch.tensor([5]))["image"].any()


def test_cifar100_has_both_of_its_labels(tmp_path: Path) -> None:
    for number, name in enumerate(("train.bin", "test.bin")):
        (tmp_path / name).write_bytes(rows(pixels(6, number), np.arange(6) % 20, np.arange(6) + 90))
    (tmp_path / "coarse_label_names.txt").write_text("\n".join(f"group{i}" for i in range(20)))
    dataset = opened(Cifar100, tmp_path)
    assert {key: dataset.spec.classes(key) for key in ("coarse", "label")} == {"coarse": 20, "label": 100}
    assert dataset.spec["coarse"].names[3] == "group3"
    assert dataset.spec["label"].names[3] == "3"  # the file of their names is not there
    batch = dataset.batch(torch.tensor([2]))
    assert (batch["coarse"].item(), batch["label"].item()) == (2, 92)
    assert torch.equal(batch["image"][0], torch.from_numpy(pixels(6, 0)[2]))
    assert set(describe(dataset.spec)) == {"image", "coarse", "label"}


def test_the_python_version_is_refused_with_the_file_to_get(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": [1]}))
    with pytest.raises(UsageError, match=r"data_batch_1 in .* is a pickle .*Get .*cifar-10-binary.tar.gz"):
        opened(Cifar10, tmp_path)
    (tmp_path / "data_batch_1").rename(tmp_path / "meta")
    with pytest.raises(UsageError, match=r"meta in .* is a pickle .*Get .*cifar-100-binary.tar.gz"):
        opened(Cifar100, tmp_path)


def test_files_of_cifar_that_are_not_as_they_should_be(cifar10: Path) -> None:
    path = cifar10 / "data_batch_3.bin"
    whole = path.read_bytes()
    for content, said in ((whole[:-5], "12287 bytes, no multiple of 3073"), (b"", "0 bytes")):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=rf"data_batch_3.bin has {said}"):
            opened(Cifar10, cifar10)
    path.write_bytes(whole[:3073] + b"\x0a" + whole[3074:])
    with pytest.raises(UsageError, match=r"image 1 in .*data_batch_3.bin has the class 10; it must be 0 to 9"):
        opened(Cifar10, cifar10)
    path.unlink()
    with pytest.raises(UsageError, match=r"lacks data_batch_3.bin. Get the binary version"):
        opened(Cifar10, cifar10)
    path.mkdir()
    with pytest.raises(UsageError, match=r"data_batch_3.bin cannot be read: it is a directory"):
        opened(Cifar10, cifar10)


@pytest.mark.parametrize(
    ("cls", "of"),
    [(Cifar10, "the binary version of CIFAR-10"), (Cifar100, "CIFAR-100"), (Svhn, "the cropped digits of SVHN")],
)
def test_without_a_root_it_is_said_what_to_give(cls: type, of: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"data.root is not set; give a directory of .*{of}: --data.root DIR"):
        cls(RootConfig())
    with pytest.raises(UsageError, match=r"holds nothing. Get"):
        opened(cls, tmp_path)
    (tmp_path / "deeper").mkdir()
    for name in ("data_batch_1.bin", "train.bin", "train_32x32.mat"):
        (tmp_path / "deeper" / name).touch()
    with pytest.raises(UsageError, match=f"give --data.root {tmp_path}/deeper"):
        opened(cls, tmp_path)


def test_svhn_is_read_and_its_10_is_a_0(svhn: Path) -> None:
    train, test = opened(Svhn, svhn), opened(Svhn, svhn, "test")
    assert (len(train), len(test)) == (12, 12)
    batch = train.batch(torch.arange(12))
    assert torch.equal(batch["image"], torch.from_numpy(pixels(12, 0)))
    assert batch["label"].tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3]
    assert test.source(3) == "test_32x32.mat#3"


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((3, 1))}, "holds 4 images, but 3 labels"),
        ({"X": np.zeros((28, 28, 3, 4), np.uint8), "y": np.ones((4, 1))}, r"X in .* is uint8 \(28, 28, 3, 4\)"),
        ({"X": np.zeros((32, 32, 3, 4)), "y": np.ones((4, 1))}, "X in .* is float64"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[0], [1]])}, "labels from 1 to 10"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[1], [11]])}, "labels from 1 to 10"),
        ({"digitStruct": np.ones(3)}, "does not hold X and y"),
    ],
)
def test_svhn_of_another_content_is_refused(held: dict[str, np.ndarray], said: str, svhn: Path) -> None:
    savemat(svhn / "train_32x32.mat", held)
    with pytest.raises(UsageError, match=said):
        opened(Svhn, svhn)


@pytest.mark.parametrize("cut", [0, 10, 126, 200, 3000])
def test_damaged_mat_files_are_refused_in_a_line(cut: int, svhn: Path) -> None:
    path = svhn / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UsageError, match=r"train_32x32.mat") as caught:
        opened(Svhn, svhn)
    assert "\n" not in str(caught.value)


def test_one_image_is_read_though_matlab_drops_its_last_dimension(svhn: Path) -> None:
    savemat(svhn / "train_32x32.mat", {"X": pixels(1, 5)[0].transpose(1, 2, 0), "y": np.array([[10]])})
    batch = opened(Svhn, svhn).batch(torch.tensor([0]))
    assert torch.equal(batch["image"], torch.from_numpy(pixels(1, 5)))
    assert batch["label"].tolist() == [0]
