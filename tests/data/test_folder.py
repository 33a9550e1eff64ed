from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from gankit.data.files import held_out, list_images
from gankit.data.folder import FolderConfig, ImageFolder
from gankit.data.loader import Loader, check_batch
from gankit.data.store import ImageStore
from gankit.errors import UsageError


def open_folder(root: Path, split: str = "train", **options: object) -> ImageFolder:
    return ImageFolder(FolderConfig.model_validate({"root": str(root), "size": 16, **options}), split)  # type: ignore[arg-type]


def paint(path: Path, tone: int, size: tuple[int, int] = (20, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (tone, tone, tone)).save(path)


def test_a_folder_with_broken_files(folder: Path) -> None:
    train, test = open_folder(folder, test_fraction=0.25), open_folder(folder, "test", test_fraction=0.25)
    assert len(train) + len(test) == 10
    assert not set(train.files()) & set(test.files())
    assert train.spec.image_shape == (3, 16, 16)
    check_batch(train.batch(torch.arange(len(train))), train.spec, len(train))
    notes = " ".join(train.notes() + test.notes())
    assert "EMPTY.JPG" in notes
    assert "truncated.png" in notes
    assert "image files cannot be read and are left out" in notes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("cache", [True, False])
def test_rows_are_the_files(folder: Path, cache: bool, channels: int) -> None:
    dataset = open_folder(folder, cache=cache, channels=channels, fit="stretch")
    indices = torch.tensor([3, 0, 3, 5])
    first, again = dataset.batch(indices)["image"], dataset.batch(indices)["image"]
    assert dataset.in_memory is cache
    assert first.shape == (4, channels, 16, 16)
    assert torch.equal(first, again)
    assert torch.equal(first[0], first[2])
    direct = Image.open(folder / dataset.files()[0]).convert("L" if channels == 1 else "RGB").resize((16, 16), 1)
    assert np.array_equal(first[1].permute(1, 2, 0).squeeze(2).numpy(), np.asarray(direct))


def test_one_cached_and_one_not_agree(folder: Path) -> None:
    indices = torch.arange(6)
    kept, read = (open_folder(folder, cache=cache).batch(indices)["image"] for cache in (True, False))
    assert torch.equal(kept, read)


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
    dataset = open_folder(tmp_path)
    assert "label" not in dataset.spec.keys
    assert any("1 images lie beside the 2 class directories" in note for note in dataset.notes())


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


def test_what_is_held_out_depends_on_names_alone() -> None:
    files = [f"{number}.png" for number in range(200)]
    chosen = held_out(files, 0.1)
    assert len(chosen) == 20
    assert chosen == held_out(files[::-1], 0.1)
    assert len(chosen & held_out([*files, "new.png"], 0.1)) >= 19
    names = [f"{number}\u00e9.png" for number in range(50)]  # macOS stores e and accent apart
    apart = [unicodedata.normalize("NFD", name) for name in names]
    assert {unicodedata.normalize("NFC", name) for name in held_out(apart, 0.2)} == held_out(names, 0.2)
    assert len(held_out(["a", "b"], 0.01)) == 1
    assert len(held_out(["a", "b"], 0.5)) == 1
    assert not held_out(["a"], 0.5)
    assert not held_out(files, 0)


def test_only_images_are_listed_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.tiff", "sub/c.webp", ".hidden.png", ".git/d.png", "__MACOSX/e.png", "._f.jpg"):
        paint(tmp_path / name.replace("tiff", "tif"), 1)
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "sub", target_is_directory=True)
    listing = list_images(tmp_path)
    assert listing.files == ("a.tif", "again/c.webp", "b.PNG")  # `sub` by its first name
    assert dict(listing.others) == {".md": 1}


def test_a_dangling_link_is_a_broken_file(folder: Path) -> None:
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    notes = " ".join(open_folder(folder, test_fraction=0).notes())
    assert "3 of 13" in notes
    assert "gone.png: no such file" in notes


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_directory_without_permission_is_told(folder: Path) -> None:
    (folder / "locked").mkdir(mode=0)
    try:
        assert any("locked: Permission denied" in note for note in open_folder(folder).notes())
    finally:
        (folder / "locked").chmod(0o700)


def test_errors_say_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.root is not set"):
        ImageFolder(FolderConfig())
    with pytest.raises(UsageError, match="absent is not there"):
        open_folder(tmp_path / "absent")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UsageError, match=r"a\.txt is a file; give a directory"):
        open_folder(tmp_path / "a.txt")
    with pytest.raises(UsageError, match=r"no images in .*: found 1 \.txt; looked for .*\.webp"):
        open_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="found no files at all"):
        open_folder(tmp_path / "empty")


@pytest.mark.parametrize("check", [0, 100])
def test_nothing_readable_is_an_error(tmp_path: Path, check: int) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no")
    with pytest.raises(UsageError, match=r"none of the 2 image files in .* can be read; .*a\.png: not a readable"):
        ImageStore(tmp_path, ["a.png", "b.png"], size=(4, 4), check=check).read(torch.tensor([1]))
    with pytest.raises(ValidationError):
        FolderConfig(size=0)


@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_a_long_list_is_checked_as_it_is_read(tmp_path: Path, budget: int) -> None:
    files = [f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        paint(tmp_path / file, 10 * number)
    for broken in (2, 3, 5):
        (tmp_path / files[broken]).write_bytes(b"no")
    store = ImageStore(tmp_path, files, size=(4, 4), budget=budget, check=0)
    assert store.notes() == []
    for _ in range(2):
        images, found = store.read(torch.tensor([5, 1, 2, 3, 4]))
        assert found.tolist() == [0, 1, 4, 4, 4]
        assert images[:, 0, 0, 0].tolist() == [0, 10, 40, 40, 40]
    assert len(store) == 6
    assert not store.in_memory
    assert "3 of 6 image files" in store.notes()[0]


def test_many_broken_files_are_counted_and_the_first_named(tmp_path: Path) -> None:
    paint(tmp_path / "good.png", 1)
    for number in range(9):
        (tmp_path / f"bad{number}.png").write_bytes(b"")
    (note,) = open_folder(tmp_path, test_fraction=0).notes()
    assert note.startswith("train split: 9 of 10 image files")
    assert "bad4.png" in note
    assert "bad5.png" not in note
    assert note.endswith("and 4 more")


def test_one_image_is_enough(tmp_path: Path) -> None:
    paint(tmp_path / "only.bmp", 77)
    train, test = open_folder(tmp_path), open_folder(tmp_path, "test")
    assert len(train) == len(test) == 1
    assert Loader(train, 4).next()["image"].eq(77).all()


def test_threads_read_the_same_as_one(folder: Path) -> None:
    streams = []
    for workers, cache in ((0, True), (3, False)):
        with Loader(open_folder(folder, cache=cache), 4, seed=2, workers=workers) as loader:
            streams.append(torch.stack([loader.next()["image"] for _ in range(8)]))
    assert torch.equal(*streams)


def test_the_root_is_kept_as_an_absolute_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    config = FolderConfig(root=folder.name)
    assert config.root == str(folder)
    assert FolderConfig.model_validate(config.model_dump(mode="json")) == config


def test_options_can_be_listed_without_torch() -> None:
    code = "import sys, gankit.data.folder; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_held_out_split_of_broken_files_is_empty(tmp_path: Path) -> None:
    for number in range(10):
        paint(tmp_path / f"{number}.png", number)
    (broken,) = held_out([f"{number}.png" for number in range(10)], 0.1)
    (tmp_path / broken).write_bytes(b"not an image")
    train, test = open_folder(tmp_path), open_folder(tmp_path, "test")
    assert (len(train), len(test)) == (9, 0)
    assert "1 of 1 image files cannot be read" in " ".join(test.notes())
