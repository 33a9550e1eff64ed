"""The dataset oxford-flowers, of a few flowers laid out as it is distributed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gankit_plugin_stackgan.config import PRESETS, StackGANConfig
from gankit_plugin_stackgan.flowers import OxfordFlowers
from PIL import Image

from gankit.api import make_session
from gankit.data.text import decode_text
from gankit.errors import UsageError

COUNT = 12


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Twelve flowers of three classes; the first has no captions, the second an empty file of them."""
    (tmp_path / "jpg").mkdir()
    for number in range(1, COUNT + 1):
        name, kind = f"image_{number:05d}", f"class_{number % 3 + 1:05d}"
        Image.new("RGB", (30, 20), (20 * number, 0, 0)).save(tmp_path / "jpg" / f"{name}.jpg")
        (tmp_path / "text_c10" / kind).mkdir(parents=True, exist_ok=True)
        if number > 1:
            texts = "" if number == 2 else f"flower {number}\n\nred {number}\n"
            (tmp_path / "text_c10" / kind / f"{name}.txt").write_text(texts)
    return tmp_path


def data(root: Path, split: str = "train") -> OxfordFlowers:
    return OxfordFlowers(OxfordFlowers.Config(root=str(root), size=16, text_length=32), split)  # type: ignore[arg-type]


def test_classes_that_are_named_are_held_out(flowers: Path) -> None:
    (flowers / "text_c10" / "testclasses.txt").write_text("class_00002\n")
    train, test = data(flowers), data(flowers, "test")
    assert len(test.files()) == 3  # 4, 7 and 10 of the second class; 1 has no captions
    assert len(train.files()) == COUNT - 2 - 3
    batch = test.batch(torch.arange(len(test)))
    assert decode_text(batch["text"]) == [f"{word} {k}" for k in (4, 7, 10) for word in ("flower", "red")]
    for row, number in enumerate((4, 4, 7, 7, 10, 10)):
        assert abs(int(batch["image"][row, 0].float().mean()) - 20 * number) <= 3
    notes = " ".join(train.notes())
    assert "1 images have no caption: jpg/image_00001.jpg" in notes
    assert "1 captions are empty: text_c10/class_00003/image_00002.txt" in notes
    assert not set(train.files()) & set(test.files())
    assert train.fingerprint() != test.fingerprint()


def test_without_that_list_a_part_of_the_files_is_held_out(flowers: Path) -> None:
    assert len(data(flowers, "test").files()) == 1


def test_what_is_missing_or_wrong_is_said(flowers: Path, tmp_path: Path) -> None:
    (flowers / "testclasses.txt").write_text("class_00099\n")
    with pytest.raises(UsageError, match="names none of the classes that have images"):
        data(flowers).files()
    whole = "give a directory of Oxford-102, with jpg and text_c10 in it: --data.root DIR"
    with pytest.raises(UsageError, match=rf"^data\.root: {tmp_path}/text_c10/jpg is not there; {whole}$"):
        data(tmp_path / "text_c10")
    with pytest.raises(UsageError, match=rf"^data\.root: {tmp_path}/gone is not there; {whole}$"):
        data(tmp_path / "gone")
    for path in (flowers / "text_c10").glob("*/*.txt"):
        path.write_text("")
    with pytest.raises(UsageError, match=r"no captioned images in .*; give jpg/image_00001\.jpg and its captions text"):
        data(flowers)


@pytest.mark.parametrize("name", ["image_00004.JPG", "IMAGE_00004.JPG", "image_00004.jpeg", "deep/image_00004.jpg"])
def test_classes_are_those_of_images_however_their_files_are_called(flowers: Path, name: str) -> None:
    (flowers / "jpg" / name).parent.mkdir(exist_ok=True)
    (flowers / "jpg" / "image_00004.jpg").rename(flowers / "jpg" / name)
    (flowers / "testclasses.txt").write_bytes(b"\xef\xbb\xbfclass_00002\r\n")
    assert f"jpg/{name}" in data(flowers, "test").files()
    assert len(data(flowers, "test").files()) == 3
    (flowers / "testclasses.txt").write_text("class_00099\n")
    with pytest.raises(UsageError, match="it should name some of class_00001 to class_00003"):
        data(flowers).files()


@pytest.mark.parametrize("preset", ["birds", "flowers"])
def test_presets_are_the_papers(preset: str) -> None:
    chosen = PRESETS[preset]
    options = {k: v for k, v in chosen.items() if k in StackGANConfig.model_fields}
    assert StackGANConfig(**options).blocks == 4
    assert chosen["stage1"] == chosen["stage2"]
    assert chosen["stage1"]["steps"] == pytest.approx(600 * {"birds": 8855, "flowers": 7034}[preset] / 64, rel=0.01)


def test_stackgan_trains_on_it(flowers: Path) -> None:
    small = {"z": 2, "condition": 2, "g1_width": 4, "d_width": 2, "batch_size": 4, "steps": 2, "device": "cpu"}
    text = {"size": 4, "width": 4, "steps": 1, "image_steps": 1, "batch_size": 4}
    where = {"root": str(flowers), "size": 16}
    session = make_session("stackgan", "oxford-flowers", stage=1, text=text, data=where, **small)
    session.begin()
    session.train_step(0)
    assert session.variant.metric == "r_precision"
