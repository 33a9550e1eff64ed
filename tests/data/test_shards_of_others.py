"""Tar shards that gankit did not pack: as WebDataset writes them, odd, damaged, hostile."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gankit.data.shards import Shards, ShardsConfig
from gankit.data.text import decode_text
from gankit.errors import UsageError


def opened(root: Path | str, split: Any = "train", **options: Any) -> Shards:
    return Shards(ShardsConfig(root=str(root), **options), split)


def png(value: int, size: tuple[int, int] = (10, 14)) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(data, "PNG")
    return data.getvalue()


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            file.addfile(about, io.BytesIO(data))
    return path


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Two shards as others pack them, eight samples, with what is of no use."""
    root = tmp_path / "others"
    root.mkdir()
    for shard in range(2):
        members: dict[str, bytes] = {"README": b"hello", ".hidden.png": png(0)}
        for number in range(shard * 4, shard * 4 + 4):
            members |= {
                f"dir/{number:04}.PNG": png(number * 20),
                f"dir/{number:04}.cls": b"%d\n" % (number % 3),
                f"dir/{number:04}.txt": f"number {number}".encode(),
                f"dir/{number:04}.json": b"{}",
            }
        members["dir/none.txt"] = b"a caption of nothing"
        tar(root / f"part-{shard:04}.tar", members)
    return root


def test_shards_of_others(others: Path) -> None:
    shards = opened(others, size=16, width=24, test_fraction=0.0, text_length=20)
    assert shards.spec.keys["image"].shape == (3, 16, 24)
    assert shards.spec.keys["label"].names == ("0", "1", "2")
    batch = shards.batch(torch.arange(8))
    assert batch["label"].tolist() == [n % 3 for n in range(8)]
    assert decode_text(batch["text"]) == [f"number {n}" for n in range(8)]
    assert batch["image"][:, 0, 8, 12].tolist() == [n * 20 for n in range(8)]
    assert shards.source(5) is not None
    notes = " ".join(shards.notes())
    assert "2 of 10 samples hold no image" in notes
    assert "json" in notes
    part = opened(f"{others}/part-{{0001..0001}}.tar", test_fraction=0.0)
    assert part.batch(torch.tensor([0]))["label"].tolist() == [1]


def test_patterns_of_several_ranges(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        tar(tmp_path / str(number) / "x-7.tar", {"0.png": png(10 + 190 * number)})
    shards = opened(f"{tmp_path}/{{0..1}}/x-{{7..7}}.tar", test_fraction=0.0, size=8)
    assert shards.batch(torch.arange(2))["image"][:, 0, 0, 0].tolist() == [10, 200]
    with pytest.raises(UsageError, match=r"2/x-7\.tar cannot be read"):
        opened(f"{tmp_path}/{{0..2}}/x-7.tar")
    with pytest.raises(UsageError, match="names no files, or more than"):
        opened(f"{tmp_path}/{{0..2000000}}/x-7.tar")


def test_what_is_held_out_of_them(others: Path) -> None:
    both = [opened(others, split, test_fraction=0.5) for split in ("train", "test")]
    texts = [decode_text(one.batch(torch.arange(len(one)))["text"]) for one in both]
    assert sorted(texts[0] + texts[1]) == [f"number {n}" for n in range(8)]
    assert texts[0]
    assert texts[1]
    (others / "part-0001.tar").rename(others / "test-0001.tar")
    assert decode_text(opened(others, "test").batch(torch.arange(4))["text"]) == [f"number {n}" for n in range(4, 8)]


def test_an_image_that_cannot_be_read_has_another_in_its_place(tmp_path: Path) -> None:
    members = {f"{n}.png": png(n * 20) for n in range(4)} | {"1.png": png(20)[:30]}
    tar(tmp_path / "a.tar", members)
    shards = opened(tmp_path, test_fraction=0.0, size=8)
    assert shards.batch(torch.tensor([0, 1, 2]))["image"][:, 0, 0, 0].tolist() == [0, 40, 40]
    assert "1 sample that cannot be read" in shards.notes()[0]
    tar(tmp_path / "a.tar", {"1.png": b"nothing"})
    with pytest.raises(UsageError, match="none of the 1 samples"):
        opened(tmp_path, test_fraction=0.0).batch(torch.tensor([0]))


@pytest.mark.parametrize(
    ("classes", "names", "note"),
    [
        (["2", "0", "2"], ("0", "1", "2"), ""),
        (["b", "a c", "b"], ("a c", "b"), ""),
        (["1\nfoo", "0", " 1 "], ("0", "1"), ""),
        (["1", "", "2"], None, "1 of 3 samples have no class"),
        (["1", "x" * 2000, "2"], None, "1 of 3 samples have no class"),
        (["123456", "7", "7"], ("7", "123456"), ""),
    ],
)
def test_classes_of_others(tmp_path: Path, classes: list[str], names: tuple[str, ...] | None, note: str) -> None:
    members = {}
    for number, said in enumerate(classes):
        members |= {f"{number}.jpg": png(number), f"{number}.cls": said.encode()}
    tar(tmp_path / "a.tar", members)
    shards = opened(tmp_path, test_fraction=0.0)
    assert (shards.spec.keys["label"].names if "label" in shards.spec.keys else None) == names
    assert note in " ".join(shards.notes())
    if names:
        said = [names[n] for n in shards.batch(torch.arange(3))["label"].tolist()]
        assert said == [one.split("\n")[0].strip() for one in classes]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no uncompressed tar file"),
        (b"not a tar" * 200, "is no uncompressed tar file"),
        (b"\0" * 10240, "no images"),
    ],
)
def test_what_is_no_shard(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        opened(tmp_path)


@pytest.mark.parametrize("root", ["", "nowhere", "nosuch://bucket", "memory://empty"])
def test_a_place_without_shards(tmp_path: Path, root: str) -> None:
    with pytest.raises(UsageError, match=r"data\.root|cannot be reached"):
        opened(root if "://" in root or not root else tmp_path / root)


def whole(tmp_path: Path) -> bytearray:
    members = {f"{n}.png": png(n * 20) for n in range(6)}
    return bytearray(tar(tmp_path / "whole.tar.bak", members).read_bytes())


def sparse() -> bytes:
    """A member that says it has 1.5 GiB of zeros."""
    about = tarfile.TarInfo("0.png")
    about.type, about.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(about.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o\0" % (3 << 29)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    return bytes(block) + b"\0" * 10240


@pytest.mark.parametrize("what", ["flipped", "cut header", "cut data", "negative", "huge", "gzip", "sparse"])
def test_damaged_and_hostile_shards(tmp_path: Path, what: str) -> None:
    data = whole(tmp_path)
    header = data.index(b"3.png")
    if what == "flipped":
        data[header + 200] ^= 1
    elif what == "cut header":
        data = data[: header + 100]
    elif what == "cut data":
        data = data[: header + 520]
    elif what in ("negative", "huge"):
        number = -1024 if what == "negative" else 1 << 80
        data[header + 124 : header + 136] = (number % (1 << 95) | 1 << 95).to_bytes(12, "big")
        if what == "negative":
            data[header + 124] = 0xFF
        data[header + 148 : header + 156] = b" " * 8
        data[header + 148 : header + 156] = b"%06o\0 " % sum(data[header : header + 512])
    elif what == "gzip":
        import gzip

        data = bytearray(gzip.compress(bytes(data)))
    else:
        data = bytearray(sparse())
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(UsageError, match=r"a\.tar is no uncompressed tar file, is damaged|no images to train on"):
        opened(tmp_path)
