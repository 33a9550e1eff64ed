from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import open_folder, paint
from PIL import Image

from gankit.data.files import held_out
from gankit.data.folder import FolderConfig, ImageFolder
from gankit.data.loader import Loader, check_batch
from gankit.errors import UsageError


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
