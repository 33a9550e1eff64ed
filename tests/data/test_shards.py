"""Samples packed into tar shards and read again: the same, wherever the shards are."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from training_helpers import final, train

import gankit
from gankit.data.made_up import MadeUp
from gankit.data.pack import pack
from gankit.data.shards import Shards, ShardsConfig
from gankit.data.text import encode_text
from gankit.errors import GankitError, UsageError
from gankit.plugin import Config, Dataset, DataSpec, Key

KEYS = {
    "image": Key(kind="image", shape=(3, 12, 20)),
    "grey": Key(kind="image", shape=(1, 8, 8), of="image"),
    "clear": Key(kind="image", shape=(4, 8, 8), of="image"),
    "two": Key(kind="image", shape=(2, 8, 8), of="image"),
    "many": Key(kind="image", shape=(7, 8, 8), of="image"),
    "mask": Key(kind="mask", shape=(1, 12, 20)),
    "label": Key(kind="class", names=("5", "3", "a b")),
    "tone": Key(kind="class", names=("light", "dark")),
    "text": Key(kind="text", shape=(40,)),
    "box": Key(kind="box", shape=(4,), of="image"),
    "points": Key(kind="points", shape=(3, 3), mirror=(0, 2, 1), of="image"),
    "code": Key(kind="vector", shape=(5,)),
    "number": Key(kind="vector", shape=()),
    "Black_Hair": Key(kind="class", names=("no", "yes")),
    "a.b c é" + "x" * 120: Key(kind="vector", shape=(2,)),
}


def opened(root: Path | str, split: Any = "train", **options: Any) -> Shards:
    return Shards(ShardsConfig(root=str(root), **options), split)


def test_every_kind_of_key_comes_back_as_it_was(tmp_path: Path) -> None:
    data = MadeUp(DataSpec(keys=KEYS), 70)
    data._rows["text"][:2] = encode_text(["ein grüner Kürbis 🎃", ""], 40)
    data._rows["clear"][0] = torch.tensor([90, 80, 70, 0], dtype=torch.uint8)[:, None, None]
    assert pack({"train": data}, tmp_path / "out", shard_mib=1) == {"train": {"": 70}}
    shards = opened(tmp_path / "out")
    assert shards.spec == data.spec
    assert len(shards) == 70
    assert len(opened(tmp_path / "out", "test")) == 0
    order = torch.tensor([69, 0, 1, 1, 35])
    batch, want = shards.batch(order), data.batch(order)
    assert set(batch) == set(want)
    for name, values in want.items():
        assert batch[name].dtype == values.dtype, name
        assert torch.equal(batch[name], values), name
    assert {name: values.shape for name, values in shards.batch(order[:0]).items()} == {
        name: (0, *key.shape) for name, key in KEYS.items()
    }
    assert not shards.notes()


class Apart(Dataset[Config]):
    """Two streams of images, of other lengths."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec(keys={"a": Key(kind="image", shape=(1, 4, 4)), "b": Key(kind="image", shape=(3, 4, 4))})

    def streams(self) -> dict[str, int]:
        return {"a": 5, "b": 9 if self.split == "train" else 0}

    def batch(self, indices: Any) -> dict[str, torch.Tensor]:
        return {
            name: chosen.to(torch.uint8)[:, None, None, None].expand(-1, self.spec[name].shape[0], 4, 4) * 20
            for name, chosen in indices.items()
        }


def test_streams_stay_streams(tmp_path: Path) -> None:
    pack({"train": Apart(Config()), "test": Apart(Config(), "test")}, tmp_path / "out")
    train_split, test_split = opened(tmp_path / "out"), opened(tmp_path / "out", "test")
    assert train_split.streams() == {"a": 5, "b": 9}
    assert test_split.streams() == {"a": 5, "b": 0}
    assert set(test_split.batch({"a": torch.tensor([1])})) == {"a"}
    asked = {"a": torch.tensor([4, 0]), "b": torch.tensor([8, 8, 1])}
    for name, values in Apart(Config()).batch(asked).items():
        assert torch.equal(train_split.batch(asked)[name], values)
    assert set(train_split.batch({"b": asked["b"]})) == {"b"}


def test_a_run_from_shards_is_the_run_from_the_data(tmp_path: Path) -> None:
    pack({split: Blobs(BlobsConfig(), split) for split in ("train", "test")}, tmp_path / "shards", shard_mib=1)
    plain = train(tmp_path / "plain", steps=6)
    packed = gankit.train(Tiny, opened(tmp_path / "shards"), out=tmp_path / "packed", **{**SMALL, "steps": 6})
    assert final(packed.path, 6) == final(plain.path, 6)
    assert final(plain.path, 6)


@pytest.fixture
def remote(tmp_path: Path) -> str:
    """Shards behind a URL: four of a MiB and a part."""
    data = MadeUp(DataSpec(keys={"image": Key(kind="image", shape=(3, 64, 64))}), 300)
    pack({"train": data}, tmp_path / "packed", shard_mib=1)
    system = fsspec.filesystem("memory")
    system.store.clear()
    for path in (tmp_path / "packed").iterdir():
        system.pipe_file(f"/bucket/{path.name}", path.read_bytes())
    return "memory://bucket"


@pytest.mark.parametrize("cache", [0.0, 0.0022, 1.0])
def test_shards_behind_a_url(remote: str, tmp_path: Path, cache: float, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = opened(tmp_path / "packed"), opened(remote, cache_gib=cache)
    order = torch.tensor([0, 299, 150, 3])
    want = here.batch(order)["image"]
    assert torch.equal(there.batch(order)["image"], want)
    there.load(lambda event: None)
    kept = list((Path(os.environ["GANKIT_CACHE"]) / "shards").glob("*.tar"))
    assert len(kept) == {0.0: 0, 0.0022: 2, 1.0: len(there._files[""].places)}[cache]
    assert bool(there.notes()) is (cache < 1)
    assert torch.equal(there.batch(order)["image"], want)
    again = opened(remote, cache_gib=cache)
    system = fsspec.filesystem("memory")
    for name in [name for name in system.store if name.endswith(".tar")]:
        del system.store[name]
    again.load(lambda event: None)
    if cache == 1:
        assert torch.equal(again.batch(order)["image"], want)
    else:
        with pytest.raises(UsageError, match=r"bucket/train-0000\d\.tar cannot be read \(FileNotFoundError"):
            again.batch(order)


def test_shards_that_were_packed_anew_are_fetched_anew(tmp_path: Path) -> None:
    """Both of one size, at one place."""
    system = fsspec.filesystem("memory")
    prints = []
    for value in (3, 200):
        data = MadeUp(DataSpec(keys={"image": Key(kind="image", shape=(1, 4, 4))}), 5)
        data._rows["image"][:] = value
        pack({"train": data}, tmp_path / str(value))
        system.store.clear()
        for path in (tmp_path / str(value)).iterdir():
            system.pipe_file(f"/again/{path.name}", path.read_bytes())
        shards = opened("memory://again")
        shards.load(lambda event: None)
        assert shards.batch(torch.tensor([4]))["image"].unique().tolist() == [value]
        prints.append(shards.fingerprint())
    assert prints[0] != prints[1]
    assert prints[1] == opened(tmp_path / "200").fingerprint()


def test_a_directory_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        pack({"train": Blobs(BlobsConfig())}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_to_pack_and_keys_that_name_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the training split is empty"):
        pack({"train": Blobs(BlobsConfig(count=0))}, tmp_path / "out")
    odd = MadeUp(DataSpec(keys={"a/b": Key(kind="image", shape=(1, 4, 4))}), 3)
    with pytest.raises(UsageError, match="'a/b' cannot be part of a file's name"):
        pack({"train": odd}, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_other_sizes_of_packed_images(tmp_path: Path) -> None:
    keys = {name: KEYS[name] for name in ("image", "mask", "label")}
    pack({"train": MadeUp(DataSpec(keys=keys), 5)}, tmp_path / "plain")
    batch = opened(tmp_path / "plain", size=6, width=10).batch(torch.arange(5))
    assert batch["image"].shape == (5, 3, 6, 10)
    assert batch["mask"].shape == (5, 1, 6, 10)
    assert set(batch["mask"].unique().tolist()) <= {0, 255}
    pack({"train": MadeUp(DataSpec(keys=keys | {"box": KEYS["box"]}), 5)}, tmp_path / "boxes")
    assert opened(tmp_path / "boxes", size=6, width=10).spec["image"].shape == (3, 6, 10)
    assert opened(tmp_path / "boxes", size=8, fit="stretch").spec["image"].shape == (3, 8, 8)
    with pytest.raises(UsageError, match=r"'box' does not hold of 20x12 cut to 8x8: --data\.fit stretch"):
        opened(tmp_path / "boxes", size=8)
    pack({"train": MadeUp(DataSpec(keys={"image": KEYS["image"], "grey": KEYS["grey"]}), 5)}, tmp_path / "sizes")
    with pytest.raises(UsageError, match="several sizes"):
        opened(tmp_path / "sizes", size=8)


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "out" / "train.npy"))

    monkeypatch.setattr("gankit.data.pack.np.save", full)
    with pytest.raises(GankitError, match=r"out cannot be written: No space left"):
        pack({"train": Blobs(BlobsConfig())}, tmp_path / "out")
    assert not list(tmp_path.iterdir())


BROKEN = {
    "shards.json": [b"", b"{}", b"[]", b'{"shards": 2}', b'{"shards": 1, "keys": {}, "parts": {}}', b"{" * 100000],
    "train.npy": [b"", b"\x93NUMPY", np.lib.format.magic(1, 0) + b"\x10\x00{'descr': '|O'}  "],
}


@pytest.mark.parametrize(("name", "number"), [(name, n) for name, those in BROKEN.items() for n in range(len(those))])
def test_what_is_damaged_is_named(tmp_path: Path, name: str, number: int) -> None:
    pack({"train": Blobs(BlobsConfig())}, tmp_path / "out")
    (tmp_path / "out" / name).write_bytes(BROKEN[name][number])
    with pytest.raises(UsageError, match=rf"{re.escape(name)} is damaged"):
        opened(tmp_path / "out")


@pytest.mark.parametrize("change", ["../escape.tar", "/etc/passwd", "https://127.0.0.1:1/a.tar"])
def test_a_manifest_names_no_files_outside(tmp_path: Path, change: str) -> None:
    pack({"train": Blobs(BlobsConfig())}, tmp_path / "out")
    about = json.loads((tmp_path / "out" / "shards.json").read_text())
    about["parts"]["train"][""]["shards"] = [change]
    (tmp_path / "out" / "shards.json").write_text(json.dumps(about))
    with pytest.raises(UsageError, match="outside of its directory"):
        opened(tmp_path / "out")


def test_a_shard_that_was_cut_off_or_is_gone(tmp_path: Path) -> None:
    pack({"train": Blobs(BlobsConfig())}, tmp_path / "out")
    shard = tmp_path / "out" / "train-00000.tar"
    shard.write_bytes(shard.read_bytes()[:4000])
    with pytest.raises(UsageError, match=r"train-00000\.tar is shorter"):
        opened(tmp_path / "out").batch(torch.tensor([19]))
    shard.unlink()
    with pytest.raises(UsageError, match=r"train-00000\.tar cannot be read"):
        opened(tmp_path / "out").batch(torch.tensor([0]))


@pytest.mark.parametrize("content", [b"", b"PK\3\4" + b"x" * 40, b"\x93NUMPY\1\0"])
def test_a_broken_value_has_another_in_its_place(tmp_path: Path, content: bytes) -> None:
    data = MadeUp(
        DataSpec(keys={"image": Key(kind="image", shape=(1, 4, 4)), "code": Key(kind="vector", shape=(2,))}), 3
    )
    pack({"train": data}, tmp_path / "out")
    shard = bytearray((tmp_path / "out" / "train-00000.tar").read_bytes())
    at = shard.index(b"000000001.code.npy") + 512
    shard[at : at + 136] = content.ljust(136, b"\0")
    (tmp_path / "out" / "train-00000.tar").write_bytes(shard)
    shards = opened(tmp_path / "out")
    want = data.batch(torch.tensor([0, 2, 2]))
    for name, values in shards.batch(torch.arange(3)).items():
        assert torch.equal(values, want[name])
    assert "1 sample that cannot be read" in shards.notes()[-1]
