from __future__ import annotations

import os
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from pictures import open_folder, paint

from gankit.data.files import held_out, lines, list_images
from gankit.data.images import ImageError, decode
from gankit.errors import UsageError
from gankit.files import open_regular, write_whole
from gankit.options.resolve import read_toml


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


def test_what_systems_make_is_passed_over(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        paint(tmp_path / name, 1)
    made = ("@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "a/@eaDir/x.png", ".AppleDouble/x.png", "$RECYCLE.BIN/x.png")
    for name in (*made, "System Volume Information/x.png", "lost+found/x.png", "#recycle/x.png", ".Trash-1000/x.png"):
        paint(tmp_path / name, 1)
    dataset = open_folder(tmp_path, test_fraction=0)
    assert dataset.spec["label"].names == ("a", "b")
    assert dataset.files() == ("a/1.png", "b/1.png")
    assert dataset.notes() == []
    paint(tmp_path / "@home" / "x.png", 1)
    assert open_folder(tmp_path, test_fraction=0).notes() == ["passed over, since systems make such names: @home/"]


def test_runs_kept_in_the_folder_are_no_data(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "runs/dcgan-folder/0001/samples/000500.png"):
        paint(tmp_path / name, 1)
    for name in ("config.toml", "environment.json"):
        (tmp_path / "runs" / "dcgan-folder" / "0001" / name).write_text("")
    assert list_images(tmp_path).files == ("a/1.png", "b/1.png")


def test_pipes_sockets_and_devices_are_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(tmp_path / "good.png", 7)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("pipe.png")
    (tmp_path / "zeros.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as opened:
        monkeypatch.chdir(tmp_path)  # the name of a socket is at most 107 bytes
        opened.bind("socket.png")
    dataset = open_folder(tmp_path, test_fraction=0)
    assert dataset.files() == ("good.png",)
    assert sorted(dataset.notes()) == [
        "link.png is a pipe, not a file, and left out",
        "pipe.png is a pipe, not a file, and left out",
        "socket.png is a socket, not a file, and left out",
        "zeros.jpg is a device, not a file, and left out",
    ]
    for name in ("pipe.png", "link.png", "socket.png", "zeros.jpg"):
        with pytest.raises(ImageError, match=rf"{name}: it is a (pipe|socket|device), not a file"):
            decode(tmp_path / name)
    with pytest.raises(UsageError, match=r"config file .*pipe\.png cannot be read: it is a pipe, not a file"):
        read_toml(tmp_path / "pipe.png")


def test_opening_a_directory_or_nothing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="it is a directory, not a file"):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "absent")


def test_links_in_a_circle_are_broken_files(tmp_path: Path) -> None:
    paint(tmp_path / "good.png", 7)
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    (tmp_path / "folder").symlink_to("folder")
    (note,) = open_folder(tmp_path, test_fraction=0).notes()
    assert "2 of 3 image files cannot be read" in note
    assert "Too many levels of symbolic links" in note


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("names are UTF-8 here")
    for name in (b"caf\xe9", b"plain"):
        for number in range(3):
            paint(tmp_path / os.fsdecode(name) / f"{number}.png", 50 * number)
    (tmp_path / os.fsdecode(b"caf\xe9") / os.fsdecode(b"\xff.png")).write_bytes(b"broken")
    train, test = (open_folder(tmp_path, split, test_fraction=0.4) for split in ("train", "test"))
    assert train.spec["label"].names == ("caf\udce9", "plain")
    assert len(train) + len(test) == 6
    assert "cannot be read" in " ".join([*train.notes(), *test.notes()])
    assert {train.source(0), test.source(0)} < set(train.files()) | set(test.files())
    assert train.fingerprint() != test.fingerprint()


def test_a_root_that_is_not_utf8_is_refused_since_config_toml_cannot_name_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"name is not UTF-8; rename it, or give a link to it"):
        open_folder(tmp_path / os.fsdecode(b"caf\xe9"))


def test_lines_end_at_newlines_only() -> None:
    assert lines("a\nb\r\nc\rd\u2028e\x0bf\x0cg\x1ch\x85i") == ["a", "b", "c", "d\u2028e\x0bf\x0cg\x1ch\x85i"]


def test_a_pipe_in_a_folder_does_not_stop_a_run(tmp_path: Path) -> None:
    paint(tmp_path / "good.png", 7)
    os.mkfifo(tmp_path / "pipe.png")
    options = ["--dataset", "folder", "--data.root", str(tmp_path), "--dry-run"]
    command = [sys.executable, "-m", "gankit", "run", "dcgan", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_new_file_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_whole(tmp_path / "a", b"one", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"one"
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "a", b"two", overwrite=False)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        write_whole(tmp_path / "b", b"two", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"one"
