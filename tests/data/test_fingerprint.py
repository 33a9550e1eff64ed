from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from pictures import open_folder

from gankit.cache import cache_directory
from gankit.data import fingerprint as module
from gankit.data.fingerprint import difference, fingerprint


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for number in range(10):
            (root / label / f"{number}.png").write_bytes(f"{label}{number}".encode() * 100)
    return root


def of(root: Path) -> str:
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    return fingerprint(root, files, [file.split("/")[0] for file in files])


def test_a_copy_is_the_same(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "a" / "1.png", (1, 1))
    assert of(root) == of(tmp_path / "copy")
    assert difference(of(root), of(tmp_path / "copy")) == ""


@pytest.mark.parametrize("whole", [True, False])
def test_each_kind_of_change_is_told(root: Path, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    monkeypatch.setattr(module, "_WHOLE", 1 << 30 if whole else 0)
    then = of(root)
    for number in range(3):
        (root / "a" / f"new{number}.png").write_bytes(b"%d" % number)
    (root / "b" / "9.png").unlink()
    (root / "b" / "8.png").write_bytes(b"A" * 200)  # of the same length
    (root / "a" / "0.png").rename(root / "a" / "zero.png")
    for number in (1, 2):
        (root / "a" / f"{number}.png").rename(root / "b" / f"moved{number}.png")
    assert difference(then, of(root)) == (
        "3 are new, 1 is gone, 1 is replaced by another, 1 is renamed, 2 have another class"
    )
    assert difference(of(root), of(root)) == ""


def test_labels_that_are_no_directories(root: Path) -> None:
    then = fingerprint(root, ["a/1.png", "a/2.png"], ["one", "two"], "caption")
    now = fingerprint(root, ["a/1.png", "a/2.png"], ["one", "2"], "caption")
    assert difference(then, now) == "1 has another caption"


def test_large_files_are_read_in_three_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WHOLE", 1000)
    content = bytearray(100_000)
    (tmp_path / "a").write_bytes(content)
    then = fingerprint(tmp_path, ["a"], [None])
    for at in (0, 50_000, 99_999):
        changed = content.copy()
        changed[at] = 1
        (tmp_path / "a").write_bytes(changed)
        assert difference(then, fingerprint(tmp_path, ["a"], [None])) == "1 is replaced by another"


def test_many_files_are_told_apart_up_to_a_number(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ONE_BY_ONE", 5)
    then = of(root)
    assert len(then) < 150
    (root / "a" / "more.png").write_bytes(b"more")
    assert difference(then, of(root)).startswith("there were 20 and are 21")
    (root / "a" / "more.png").unlink()
    for number in range(10):
        (root / "a" / f"{number}.png").write_bytes(b"others")
        (root / "b" / f"{number}.png").write_bytes(b"others")
    assert difference(then, of(root)) == "some have changed; of 5 looked at one by one: 5 are replaced by others"


def test_of_many_files_it_is_kept_until_one_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = of(root)
    monkeypatch.setattr(module, "_KEPT_FROM", 1)
    assert of(root) == plain
    (entry,) = (cache_directory() / "fingerprints").iterdir()
    monkeypatch.setattr(module, "_content", lambda *_: pytest.fail("a file was read"))
    assert of(root) == plain
    monkeypatch.undo()
    monkeypatch.setattr(module, "_KEPT_FROM", 1)
    monkeypatch.setenv("GANKIT_CACHE", str(entry.parent.parent))
    entry.write_bytes(entry.read_bytes().replace(b"files class 20", b"files class 21"))
    assert of(root) == plain  # damaged: made anew
    status = (root / "a" / "1.png").stat()
    (root / "a" / "1.png").write_bytes(b"z1" * 100)
    os.utime(root / "a" / "1.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert difference(plain, of(root)) == "1 is replaced by another"


@pytest.mark.parametrize("other", ["anything", "files class 1 ab 00", "files class x ab ", "files 1 2"])
def test_what_others_made_is_only_compared(root: Path, other: str) -> None:
    assert difference(other, other) == ""
    assert difference(other, of(root)) == "they were changed since"
    assert difference("", of(root)) == ""


def test_a_folder_and_a_file_that_is_gone(folder: Path) -> None:
    dataset = open_folder(folder, test_fraction=0)
    then = dataset.fingerprint()
    (folder / "03.png").unlink()
    assert difference(then, dataset.fingerprint()) == "1 is replaced by another"  # by nothing
    assert difference(then, open_folder(folder, test_fraction=0).fingerprint()) == "1 is gone"
