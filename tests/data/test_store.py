"""Decoded images: in memory, on disk, or nowhere; always the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import open_folder, paint
from pydantic import ValidationError

from gankit.data.folder import FolderConfig
from gankit.data.store import ImageStore
from gankit.errors import UsageError

EVERYWHERE = [{"disk": 0}, {}, {"memory": 0}]
"""Kept nowhere, in memory, on disk."""


@pytest.mark.parametrize("check", [0, 100])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_nothing_readable_is_an_error(tmp_path: Path, check: int, where: dict[str, int]) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no")
    with pytest.raises(UsageError, match=r"none of the 2 image files in .* can be read; .*a\.png: not a readable"):
        ImageStore(tmp_path, ["a.png", "b.png"], size=(4, 4), check=check, **where).read(torch.tensor([1]))
    with pytest.raises(ValidationError):
        FolderConfig(size=0)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("load", [True, False])
def test_a_long_list_is_checked_as_it_is_read(tmp_path: Path, where: dict[str, int], load: bool) -> None:
    files = [f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        paint(tmp_path / file, 10 * number)
    for broken in (2, 3, 5):
        (tmp_path / files[broken]).write_bytes(b"no")
    store = ImageStore(tmp_path, files, size=(4, 4), check=0, **where)
    assert not any("cannot be read" in note for note in store.notes())
    if load:
        store.load()
    for _ in range(2):
        images, found = store.read(torch.tensor([5, 1, 2, 3, 4]))
        assert found.tolist() == [0, 1, 4, 4, 4]
        assert images[:, 0, 0, 0].tolist() == [0, 10, 40, 40, 40]
    assert len(store) == 6
    assert not store.in_memory
    assert "3 of 6 image files" in store.notes()[0]
    assert [store.source(index) for index in range(6)] == ["0.png", "1.png", "4.png", "4.png", "4.png", "0.png"]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
def test_the_same_images_wherever_they_are_kept(folder: Path, where: dict[str, int], size: tuple[int, int]) -> None:
    files = sorted(file.name for file in folder.iterdir())
    plain = ImageStore(folder, files, size=size, disk=0)
    other = ImageStore(folder, files, size=size, **where)
    assert plain.files == other.files
    everything = torch.arange(len(plain)).flip(0)
    for _ in range(2):
        assert torch.equal(plain.read(everything)[0], other.read(everything)[0])


def test_a_folder_is_loaded_with_progress(tmp_path: Path) -> None:
    for number in range(4):
        paint(tmp_path / f"{number}.png", number)
    dataset = open_folder(tmp_path, test_fraction=0)
    told: list[Any] = []
    dataset.load(told.append)
    assert [event.done for event in told] == [0, 4]
    assert dataset.in_memory
    assert dataset.source(2) == "2.png"
    assert type(dataset).reading == {"cache", "cache_gib"}
