"""Dataset unpaired-folder: which directories are which side, splits, odd directories, running on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pictures import paint

from gankit.data.fingerprint import difference
from gankit.data.loader import Loader, check_batch
from gankit.data.sides import find_sides
from gankit.data.unpaired import UnpairedFolder, UnpairedFolderConfig
from gankit.errors import UsageError


def unpaired(split: str = "train", **options: object) -> UnpairedFolder:
    return UnpairedFolder(UnpairedFolderConfig.model_validate({"size": 16, **options}), split)  # type: ignore[arg-type]


def fill(root: Path, **counts: int) -> Path:
    """Directories of so many images, each of a tone of its own: trainA 0, 1, ..., trainB 100, 101, ..."""
    for at, (place, count) in enumerate(counts.items()):
        for number in range(count):
            paint(root / place.replace("__", "/") / f"{number}.png", 40 * at + number)
    return root


def test_the_usual_directories_are_sides_and_splits(tmp_path: Path) -> None:
    root = str(fill(tmp_path, trainA=7, trainB=4, testA=3, testB=5))
    train, test = unpaired(root=root), unpaired("test", root=root)
    assert (dict(train.streams()), dict(test.streams())) == ({"a": 7, "b": 4}, {"a": 3, "b": 5})
    batch = train.batch({"a": torch.tensor([6, 0]), "b": torch.tensor([1, 3])})
    check_batch(batch, train.spec, 2)
    assert batch["a"][:, 0, 0, 0].tolist() == [6, 0]
    assert batch["b"][:, 0, 0, 0].tolist() == [41, 43]
    assert test.batch({"b": torch.tensor([2])}).keys() == {"b"}
    assert test.source(2, "b") == "testB/2.png"
    assert train.notes() == []
    with Loader(train, 5, seed=1) as loader:
        assert loader.next()["a"].shape == (5, 3, 16, 16)


@pytest.mark.parametrize(
    "places",
    [
        ("train/A", "train/B", "test/A", "test/B"),
        ("A/train", "B/train", "A/test", "B/test"),
        ("train_a", "TRAINB", "val_a", "valB"),
        ("trainA/deep/er", "trainB", "testA/x", "testB/y"),
    ],
)
def test_other_names_of_the_same(tmp_path: Path, places: tuple[str, ...]) -> None:
    counts = dict(zip((place.replace("/", "__") for place in places), (6, 5, 4, 3), strict=True))
    root = str(fill(tmp_path, **counts))
    assert dict(unpaired(root=root).streams()) == {"a": 6, "b": 5}
    assert dict(unpaired("test", root=root).streams()) == {"a": 4, "b": 3}


@pytest.mark.parametrize("names", [("A", "B"), ("trainA", "trainB")])
def test_without_a_test_directory_a_part_of_each_side_is_held_out(tmp_path: Path, names: tuple[str, str]) -> None:
    root = str(fill(tmp_path, **{names[0]: 20, names[1]: 30}))
    train, test = unpaired(root=root), unpaired("test", root=root)
    for side, count in (("a", 20), ("b", 30)):
        assert len(train.files(side)) == count - count // 10
        assert set(train.files(side)) | set(test.files(side)) == {f"{names[side == 'b']}/{n}.png" for n in range(count)}
    every = unpaired(root=root, test_fraction=0), unpaired("test", root=root, test_fraction=0)
    assert every[0].files("a") == every[1].files("a")
    assert len(every[0].files("a")) == 20


def test_one_side_may_have_a_test_directory_and_the_other_none(tmp_path: Path) -> None:
    root = str(fill(tmp_path, trainA=20, trainB=20, testB=7))
    assert dict(unpaired(root=root).streams()) == {"a": 18, "b": 20}
    assert dict(unpaired("test", root=root).streams()) == {"a": 2, "b": 7}


def test_two_directories_of_any_name(tmp_path: Path) -> None:
    fill(tmp_path, horses=20, zebras__train=5, zebras__test=2)
    sides = {"a": str(tmp_path / "horses"), "b": str(tmp_path / "zebras")}
    assert dict(unpaired(**sides).streams()) == {"a": 18, "b": 5}
    test = unpaired("test", **sides)
    assert dict(test.streams()) == {"a": 2, "b": 2}
    assert test.source(1, "b") == "test/1.png"


def test_sizes_and_channels(tmp_path: Path) -> None:
    root = str(fill(tmp_path, trainA=3, trainB=3))
    data = unpaired(root=root, width=24, channels_a=1, test_fraction=0)
    assert {name: key.shape for name, key in data.spec.keys.items()} == {"a": (1, 16, 24), "b": (3, 16, 24)}
    check_batch(data.batch({"a": torch.arange(3), "b": torch.arange(3)}), data.spec, 3)
    assert unpaired(root=root, channels=1, channels_b=3).spec["a"].shape == (1, 16, 16)


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    fill(tmp_path, trainA=6, trainB=6, testA=2, testB=2, valA=3, other=2)
    paint(tmp_path / "sheet.png", 9)
    (tmp_path / "trainB/broken.png").write_bytes(b"no picture")
    (tmp_path / "trainB/empty.jpg").write_bytes(b"")
    data = unpaired(root=str(tmp_path))
    notes = "\n".join(data.notes())
    assert dict(data.streams()) == {"a": 6, "b": 6}
    assert "3 images beside the directories of the sides are left out: other/0.png, other/1.png, sheet.png" in notes
    assert "the 3 images of a in val are left out: there is a test split" in notes
    assert "train split of b: 2 of 8 image files cannot be read and are left out" in notes
    assert "broken.png" in notes


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({"trainA": 3}, r"no training images of b in .*: found 3 images in trainA\. Directories trainA and trainB"),
        ({"trainA": 3, "testB": 2}, "no training images of b in"),
        ({"cats": 3, "dogs": 2}, r"no training images of a and b in .*: found 3 images in cats, 2 images in dogs\."),
        ({}, r"no training images of a and b in .*: found no images, no files at all.* --data\.a DIR --data\.b DIR"),
    ],
)
def test_a_side_that_is_missing(tmp_path: Path, places: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        unpaired(root=str(fill(tmp_path, **places)))


def test_directories_that_cannot_be_two_sides(tmp_path: Path) -> None:
    fill(tmp_path, x=3, x__deep=2)
    (tmp_path / "none").mkdir()
    x, deep, none = (str(tmp_path / name) for name in ("x", "x/deep", "none"))
    for options, words in (
        ({}, r"data\.root is not set"),
        ({"a": x}, r"data\.b is not set; give both sides: --data\.b DIR"),
        ({"b": x}, r"data\.a is not set"),
        ({"root": x, "a": x}, r"give one directory, or two"),
        ({"a": x, "b": x}, "are the same directory"),
        ({"a": x, "b": deep}, r"data\.b: .* is inside data\.a"),
        ({"a": deep, "b": x}, r"data\.a: .* is inside data\.b"),
        ({"a": x, "b": none}, r"data\.b: no images in .*none: found no files at all; looked for"),
        ({"a": x, "b": str(tmp_path / "absent")}, "absent is not there"),
    ):
        with pytest.raises(UsageError, match=words):
            unpaired(**options)


def test_a_side_of_broken_files_is_an_error_and_a_held_out_one_is_empty(tmp_path: Path) -> None:
    fill(tmp_path, trainA=3, trainB=2, testA=1, testB=1)
    for file in (tmp_path / "testB").iterdir():
        file.write_bytes(b"")
    assert dict(unpaired("test", root=str(tmp_path)).streams()) == {"a": 1, "b": 0}
    for file in (tmp_path / "trainB").iterdir():
        file.write_bytes(b"")
    with pytest.raises(UsageError, match="none of the 2 image files"):
        unpaired(root=str(tmp_path)).streams()


def test_the_fingerprint_says_what_has_changed(tmp_path: Path) -> None:
    fill(tmp_path / "one", trainA=4, trainB=4)
    fill(tmp_path / "two", trainA=4, trainB=4)
    first = unpaired(root=str(tmp_path / "one"), test_fraction=0).fingerprint()
    assert first == unpaired(root=str(tmp_path / "two"), test_fraction=0).fingerprint()
    for root in (tmp_path / "one", tmp_path / "two"):
        sides = {side: str(root / f"train{side.upper()}") for side in "ab"}
        assert unpaired(**sides, test_fraction=0).fingerprint() == first
    (tmp_path / "two/trainA/3.png").rename(tmp_path / "two/trainB/9.png")
    assert "another side" in difference(first, unpaired(root=str(tmp_path / "two"), test_fraction=0).fingerprint())


def test_names_within_a_side(tmp_path: Path) -> None:
    sides = find_sides(str(fill(tmp_path, trainA__x=1, trainB=1)), "", "")
    assert [side.name(side.train[0]) for side in (sides.a, sides.b)] == ["x/0", "0"]


def test_options_can_be_listed_without_torch() -> None:
    modules = ("unpaired", "paired", "grey", "attributes")
    imported = ", ".join(f"gankit.data.{name}" for name in modules)
    code = f"import sys, {imported}; print({{'torch', 'numpy', 'PIL'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_gankit_has_these_datasets_and_is_no_plugin() -> None:
    from gankit.discovery.entry_points import load_dataset, owner

    assert load_dataset("unpaired-folder") is UnpairedFolder
    assert owner("gankit.data.unpaired") is None
