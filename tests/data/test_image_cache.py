"""Decoded images on disk: shared, checked, bounded, and safe against kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import paint

from gankit import cache
from gankit.data import store as store_module
from gankit.data.store import ImageStore
from gankit.events import Progress


def make(root: Path, count: int, **options: Any) -> ImageStore:
    """A store of `count` pictures, the tone of each its number (modulo 256)."""
    files = [f"{number}.png" for number in range(count)]
    for number, file in enumerate(files):
        if not (root / file).exists():
            paint(root / file, number % 256)
    return ImageStore(root, files, **{"size": (8, 8), "memory": 0, **options})


def tones(store: ImageStore, indices: list[int] | None = None) -> list[int]:
    images, _ = store.read(torch.tensor(range(len(store)) if indices is None else indices))
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


def entries() -> list[Path]:
    return sorted((cache.cache_directory() / "images").iterdir())


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(store_module, "decode_channels", refuse)


def test_the_second_opening_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    make(tmp_path, 40).load(told.append)
    assert told[0] == Progress(what="decoding images", done=0, total=40)
    assert told[-1] == Progress(what="decoding images", done=40, total=40)
    no_decoding(monkeypatch)
    again = make(tmp_path, 40)
    told.clear()
    again.load(told.append)
    assert not told
    assert tones(again) == list(range(40))
    (note,) = again.notes()
    place = cache.cache_directory() / "images"
    size = cache.byte_size(max(file.stat().st_size for file in place.iterdir()))
    assert note == (
        f"decoded images: {size} in {place}, of at most 20 GiB there (--data.cache-gib); GANKIT_CACHE moves it"
    )


def test_other_files_or_options_are_another_entry(tmp_path: Path) -> None:
    make(tmp_path, 4).load()
    make(tmp_path, 4, size=(4, 4)).load()
    make(tmp_path, 4, channels=1).load()
    make(tmp_path, 3).load()
    assert len(entries()) == 4
    status = (tmp_path / "2.png").stat()
    paint(tmp_path / "2.png", 77)
    os.utime(tmp_path / "2.png", ns=(status.st_atime_ns, status.st_mtime_ns))  # as some copies do
    assert tones(make(tmp_path, 4)) == [0, 1, 77, 3]


def test_what_was_replaced_since_the_listing_is_not_kept_for_others(tmp_path: Path) -> None:
    store = make(tmp_path, 4, check=0)
    assert tones(store, [0]) == [0]
    whole = (tmp_path / "2.png").read_bytes()
    paint(tmp_path / "2.png", 77)
    assert tones(store, [2, 2]) == [77, 77]
    (tmp_path / "2.png").write_bytes(whole)
    assert tones(store, [2]) == [2]


@pytest.mark.parametrize("damage", ["cut short", "longer", "foreign", "empty", "a pipe", "header"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, damage: str) -> None:
    make(tmp_path, 20).load()
    (entry,) = entries()
    data = entry.read_bytes()
    if damage == "a pipe":
        entry.unlink()
        os.mkfifo(entry)
    else:
        flipped = bytes([data[20] ^ 1])
        entry.write_bytes(
            {
                "cut short": data[:-100],
                "longer": data + b"x",
                "foreign": b"x" * len(data),
                "empty": b"",
                "header": data[:20] + flipped + data[21:],
            }[damage]
        )
    assert tones(make(tmp_path, 20)) == list(range(20))
    assert entry.read_bytes()[:64] == data[:64]


@pytest.mark.parametrize("part", ["an image", "a checksum", "all checksums"])
def test_a_flipped_bit_costs_one_decoding(tmp_path: Path, part: str) -> None:
    make(tmp_path, 20).load()
    (entry,) = entries()
    data = bytearray(entry.read_bytes())
    for at in {"an image": [2 * 4096 + 5 * 192 + 17], "a checksum": [4096 + 3 * 8]}.get(part, range(4096, 4096 + 160)):
        data[at] ^= 4
    entry.write_bytes(data)
    store = make(tmp_path, 20)
    store.load()
    assert tones(store) == list(range(20))
    assert tones(make(tmp_path, 20)) == list(range(20))


def fill(root: Path, count: int) -> subprocess.Popen[bytes]:
    """Another process that fills the cache with the pictures that :func:`make` made, slowly."""
    code = f"""
import time
from pathlib import Path
from gankit.data import store
decode = store.decode_channels
store.decode_channels = lambda *given: (time.sleep(0.002), decode(*given))[1]
store.ImageStore(Path({str(root)!r}), [f"{{n}}.png" for n in range({count})], size=(8, 8), memory=0).load()
"""
    return subprocess.Popen([sys.executable, "-c", code])


def known(count: int) -> int:
    """How many images the only entry has."""
    found = entries() if (cache.cache_directory() / "images").exists() else []
    if len(found) != 1:
        return 0
    sums = found[0].read_bytes()[4096 : 4096 + 8 * count]
    return sum(sums[at : at + 8] != bytes(8) for at in range(0, len(sums), 8))


def test_a_kill_while_filling_costs_only_what_was_missing(tmp_path: Path) -> None:
    make(tmp_path, 500, disk=0)
    process = fill(tmp_path, 500)
    while known(500) < 50:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    had = known(500)
    assert 50 <= had < 500
    told: list[Any] = []
    store = make(tmp_path, 500)
    store.load(told.append)
    assert told[-1].total == 500 - had
    assert tones(store) == [number % 256 for number in range(500)]
    assert len(entries()) == 1


def test_two_processes_fill_one_entry(tmp_path: Path) -> None:
    make(tmp_path, 200, disk=0)
    both = [fill(tmp_path, 200), fill(tmp_path, 200)]
    assert [process.wait() for process in both] == [0, 0]
    assert known(200) == 200
    assert tones(make(tmp_path, 200)) == list(range(200))


def test_threads_read_what_one_does(tmp_path: Path) -> None:
    make(tmp_path, 100)
    for _ in range(2):  # while it is filled, and when it is full
        wanted = [[number, 99 - number, number] for number in range(50)]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(partial(tones, make(tmp_path, 100, check=0)), wanted)) == wanted


def test_the_oldest_entry_goes_first_and_none_in_use(tmp_path: Path) -> None:
    one = 2 * 4096 + 4 * 192  # bytes of an entry
    found: list[Path] = []
    for name in ("a", "b", "c"):
        make(tmp_path / name, 4, disk=3 * one).load()
        found += set(entries()) - set(found)
    used = make(tmp_path / "a", 4, disk=3 * one)
    used.load()
    for entry, date in zip(found, (-5, 1, 2), strict=True):  # by its date the first would go, but it is in use
        os.utime(entry, (date, date))
    make(tmp_path / "d", 4, disk=3 * one).load()
    assert [entry.exists() for entry in found] == [True, False, True]
    assert sum(entry.stat().st_size for entry in entries()) <= 3 * one
    assert tones(used) == [0, 1, 2, 3]


def test_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    make(tmp_path, 4).load()
    (cache.cache_directory() / "images" / ".tmp-0123").write_bytes(b"x" * 100)
    make(tmp_path, 3).load()
    assert not any(entry.name.startswith(".tmp-") for entry in entries())


@pytest.mark.parametrize("memory", [0, 1000])
@pytest.mark.parametrize("why", ["too large", "disk full", "no directory"])
def test_without_room_images_are_the_same_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, memory: int
) -> None:
    disk = 20 << 30
    if why == "too large":
        disk = 500
    elif why == "disk full":
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage(1 << 40, (1 << 40) - 100, 100))
    else:
        monkeypatch.setenv("GANKIT_CACHE", str(tmp_path / "0.png"))
    store = make(tmp_path, 4, disk=disk, without_disk=memory)
    assert tones(store) == [0, 1, 2, 3]
    (note,) = store.notes()
    kept = "in memory" if memory else "nowhere, and decoded each time"
    assert note.startswith(f"decoded images are kept {kept}: no cache on disk (")
    assert store.in_memory is bool(memory)


def test_a_disk_that_fills_up_midway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    store = make(tmp_path, 4, check=0)
    assert tones(store, [0]) == [0]
    monkeypatch.setattr(os, "pwrite", full)
    store.load()
    assert tones(store) == [0, 1, 2, 3]
    assert "could not all be written (No space left on device)" in store.notes()[-1]


def test_another_users_entry_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, 4).load()
    opened = os.open

    def read_only(path: Any, flags: int, *rest: int) -> int:
        if flags & os.O_RDWR and str(path).endswith(".rows"):
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *rest)

    monkeypatch.setattr(os, "open", read_only)
    no_decoding(monkeypatch)
    assert tones(make(tmp_path, 4)) == [0, 1, 2, 3]


def test_ctrl_c_while_decoding_ends_at_once(tmp_path: Path) -> None:
    make(tmp_path, 600, disk=0)

    def interrupt(event: Any) -> None:
        if event.done:
            raise KeyboardInterrupt

    store = make(tmp_path, 600)
    with pytest.raises(KeyboardInterrupt):
        store.load(interrupt)
    assert 0 < known(600) < 600
