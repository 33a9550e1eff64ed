from __future__ import annotations

from pathlib import Path

import torch
from pictures import open_folder, paint

from gankit.data.layout import lay_out


def test_class_directories_become_labels(tmp_path: Path) -> None:
    for number in range(6):
        paint(tmp_path / "dark" / "deep" / f"{number}.png", 10)
        paint(tmp_path / "light" / f"{number}.JPeG", 240)
    (tmp_path / "empty").mkdir()
    dataset = open_folder(tmp_path, test_fraction=0)
    assert dataset.spec["label"].names == ("dark", "light")
    batch = dataset.batch(torch.arange(12))
    assert torch.equal(batch["label"], (batch["image"].float().mean((1, 2, 3)) > 128).long())
    test = open_folder(tmp_path, "test", test_fraction=0)
    assert test.files() == dataset.files()


def test_one_class_directory_is_no_label_and_loose_images_are_told(tmp_path: Path) -> None:
    paint(tmp_path / "a" / "1.png", 1)
    paint(tmp_path / "a" / "2.png", 1)
    assert "label" not in open_folder(tmp_path).spec.keys
    paint(tmp_path / "b" / "1.png", 1)
    paint(tmp_path / "loose.png", 1)
    paint(tmp_path / "lost.png", 1)
    dataset = open_folder(tmp_path)
    assert "label" not in dataset.spec.keys
    assert any("2 images lie beside the 2 class directories" in note for note in dataset.notes())


def test_train_and_test_directories_are_the_splits(tmp_path: Path) -> None:
    for name, count in (("Train/a", 3), ("Train/b", 2), ("val/b", 1), ("val/c", 1), ("test/a", 2)):
        for number in range(count):
            paint(tmp_path / name / f"{number}.png", number)
    train, test = open_folder(tmp_path), open_folder(tmp_path, "test")
    assert [len(train), len(test)] == [5, 2]
    assert train.spec == test.spec
    assert train.spec["label"].names == ("a", "b")
    assert test.batch(torch.arange(2))["label"].tolist() == [0, 0]
    assert train.notes() == ["val/ is left out: test/ is the test split"]


def test_a_class_that_only_the_test_split_has(tmp_path: Path) -> None:
    for name in ("train/a", "test/a", "test/b"):
        paint(tmp_path / name / "1.png", 1)
    dataset = open_folder(tmp_path)
    assert dataset.spec["label"].names == ("a", "b")
    assert dataset.notes() == ["class 'b' has no training images"]


def test_a_train_directory_alone_is_divided(tmp_path: Path) -> None:
    for number in range(10):
        paint(tmp_path / "train" / f"{number % 2}" / f"{number}.png", number)
    train, test = open_folder(tmp_path, test_fraction=0.2), open_folder(tmp_path, "test", test_fraction=0.2)
    assert [len(train), len(test)] == [8, 2]
    assert train.spec["label"].names == ("0", "1")


def test_train_beside_other_classes_is_a_class(tmp_path: Path) -> None:
    for name in ("bus", "train", "tram"):
        paint(tmp_path / name / "1.png", 1)
    assert open_folder(tmp_path, test_fraction=0).spec["label"].names == ("bus", "train", "tram")


def test_a_stray_image_takes_no_labels_away(tmp_path: Path) -> None:
    for number in range(6):
        paint(tmp_path / "dark" / f"{number}.png", 10)
        paint(tmp_path / "light" / f"{number}.png", 240)
    paint(tmp_path / "preview.png", 100)
    train, test = open_folder(tmp_path, test_fraction=0.25), open_folder(tmp_path, "test", test_fraction=0.25)
    assert train.spec["label"].names == ("dark", "light")
    assert train.notes() == ["1 images beside the 2 class directories are left out: preview.png"]
    assert len(train) + len(test) == 12
    assert "preview.png" not in (*train.files(), *test.files())


def test_strays_beside_and_in_the_splits() -> None:
    inside = [f"{split}/{name}/{n}.png" for split in ("train", "val") for name in ("a", "b") for n in range(4)]
    layout = lay_out(["sheet.png", *inside, "train/x.png", "val/y.png"], 0.1)
    assert layout.classes == ("a", "b")
    assert (len(layout.train), len(layout.test)) == (8, 8)
    assert layout.notes == (
        "1 images beside the directories of the splits are left out: sheet.png",
        "2 images beside the 2 class directories are left out: train/x.png, val/y.png",
    )


def test_a_test_split_without_classes_is_left_out_where_training_has_them() -> None:
    inside = [f"train/{name}/{n}.png" for name in ("cat", "dog") for n in range(10)]
    layout = lay_out([*inside, *(f"test/{n}.png" for n in range(30))], 0.1)
    assert layout.classes == ("cat", "dog")
    assert (len(layout.train), len(layout.test)) == (18, 2)
    assert layout.notes == (
        "30 images beside the 2 class directories are left out: "
        "test/0.png, test/1.png, test/2.png, test/3.png, test/4.png and 25 more",
    )


def test_one_directory_of_training_images_is_no_class() -> None:
    layout = lay_out([*(f"train/all/{n}.png" for n in range(4)), "test/1.png"], 0.1)
    assert layout.classes == ()
    assert (len(layout.train), layout.test, layout.notes) == (4, ("test/1.png",), ())
