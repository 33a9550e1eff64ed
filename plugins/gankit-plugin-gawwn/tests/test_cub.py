"""The dataset cub, of a few birds written in its format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gankit_plugin_gawwn.cub import CUB, CUBConfig
from PIL import Image

import gankit
from gankit.data.text import decode_text
from gankit.errors import UsageError

PARTS = ("back", "left eye", "right eye", "tail")


def write(root: Path, number: int = 12) -> Path:
    rows: dict[str, list[str]] = {
        name: []
        for name in (
            "images",
            "classes",
            "train_test_split",
            "image_class_labels",
            "bounding_boxes",
            "part_locs",
            "parts",
        )
    }
    rows["classes"] = ["1 001.Black_footed_Albatross", "2 002.Crow"]
    rows["parts"] = [f"{k + 1} {name}" for k, name in enumerate(PARTS)]
    for one in range(1, number + 1):
        kind = "001.Black_footed_Albatross" if one % 2 else "002.Crow"
        name = f"{kind}/bird_{one}"
        for folder in ("images", "text_c10"):
            (root / folder / kind).mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (80, 40), "white")
        image.paste("black", (20, 10, 60, 30))
        image.save(root / "images" / f"{name}.jpg")
        if one != 3:
            (root / "text_c10" / f"{name}.txt").write_text(f"a bird, number {one}\n\nit is black\n")
        rows["images"].append(f"{one} {name}.jpg")
        rows["train_test_split"].append(f"{one} {int(one <= number - 4)}")
        rows["image_class_labels"].append(f"{one} {2 - one % 2}")
        rows["bounding_boxes"].append(f"{one} 20.0 10.0 40.0 20.0")
        places = ((40, 10), (20, 20), (60, 20), (0, 0))
        rows["part_locs"] += [f"{one} {k + 1} {x}.0 {y}.0 {int(k < 3)}" for k, (x, y) in enumerate(places)]
    (root / "parts").mkdir()
    for name, content in rows.items():
        (root / ("parts" if name in ("parts", "part_locs") else "") / f"{name}.txt").write_text(
            "\n".join(content) + "\n"
        )
    return root


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    (tmp_path / "CUB_200_2011").mkdir()
    return write(tmp_path / "CUB_200_2011")


def test_boxes_parts_and_captions_are_those_of_the_files(birds: Path) -> None:
    data = CUB(CUBConfig(root=str(birds), size=32))
    assert len(data) == 16  # eight images, two captions
    batch = data.batch(torch.arange(len(data)))
    torch.testing.assert_close(batch["box"], torch.tensor([[0.25, 0.25, 0.75, 0.75]]).expand(16, -1))
    want = torch.tensor([[0.5, 0.25, 1], [0.25, 0.5, 1], [0.75, 0.5, 1], [0, 0, 0]])
    torch.testing.assert_close(batch["points"], want.expand(16, -1, -1))
    assert batch["label"].tolist() == [0, 1] * 8
    texts = decode_text(batch["text"])
    assert texts[0] == "a bird, number 1"
    assert texts[8] == "it is black"
    assert texts[2] == texts[10] == "black footed albatross"
    assert batch["image"][0, :, 16, 16].max() < 20
    assert batch["image"][0, :, 2, 2].min() > 235
    assert data.spec["points"].mirror == (0, 2, 1, 3)
    assert len(CUB(CUBConfig(root=str(birds), size=32), "test")) == 8
    assert "1 images have no captions" in " ".join(data.notes())
    assert "cut" not in " ".join(data.notes())


def test_captions_that_are_cut_are_told_of(birds: Path) -> None:
    (birds / "text_c10" / "001.Black_footed_Albatross" / "bird_1.txt").write_text("a bird with a red crown\nshort\n")
    (birds / "text_c10" / "002.Crow" / "bird_12.txt").write_text("of the test split, another\n")
    cut = [note for note in CUB(CUBConfig(root=str(birds), size=32, text_length=22)).notes() if "cut" in note]
    assert cut == [
        "train split: 1 of 15 captions are cut after 22 bytes; the longest has 23: --data.text-length BYTES",
    ]


@pytest.mark.parametrize("place", ["box", "points"])
def test_it_is_trained_on(birds: Path, tmp_path: Path, place: str) -> None:
    options = {"steps": 1, "batch_size": 4, "sample_n": 2, "width": 2, "d_width": 2, "told": 2, "eval_every": 0}
    text = {"steps": 1, "image_steps": 0, "size": 4, "width": 4, "batch_size": 4}
    data = {"root": str(birds), "size": 32}
    run = gankit.train(
        "gawwn", "cub", out=tmp_path / "runs", place=place, text=text, data=data, device="cpu", **options
    )
    assert run.sample(2, given={"text": "a crow"}).images.shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("images.txt", None, r"images\.txt: cannot be read"),
        ("images.txt", "1\n", r"images\.txt, line 1: '1' has too few words"),
        ("bounding_boxes.txt", "1 a b c d\n", "1 a b c d: not 4 numbers"),
        ("bounding_boxes.txt", "1 1 2 3\n", "1 1 2 3: not 4 numbers"),
        ("bounding_boxes.txt", "2 1 1 1 1\n", "image 1 .* has no box, or one without a side: none"),
        (
            "image_class_labels.txt",
            "\n".join(f"{one} 7" for one in range(1, 13)),
            "image 1 .* has no class, or none of 2: 7",
        ),
        ("image_class_labels.txt", "1 0\n", "image 1 .* has no class, or none of 2: 0"),
        ("image_class_labels.txt", "1 99999999999999999999\n", "none of 2: 99999999999999999999"),
        ("bounding_boxes.txt", "1 nan 1 1 1\n", "1 nan 1 1 1: not 4 numbers"),
        ("bounding_boxes.txt", "1 5 5 -1 1\n", "image 1 .* has no box, or one without a side"),
        ("parts/part_locs.txt", "1 1 nan 2 0\n", "1 1 nan 2 0: not 3 numbers"),
        ("parts/parts.txt", "", "not numbered from 1 on: all missing"),
        ("classes.txt", "1 001.A\n3 003.B\n", "not numbered from 1 on: 2 missing"),
        ("train_test_split.txt", "1 5\n", "no images for split train"),
    ],
)
def test_what_is_wrong_is_named(birds: Path, file: str, content: str | None, words: str) -> None:
    (birds / file).unlink()
    if content is not None:
        (birds / file).write_text(content)
    with pytest.raises(UsageError, match=words):
        CUB(CUBConfig(root=str(birds), size=32)).batch(torch.arange(2))


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("bounding_boxes.txt", "1 20.0", "1 21.0"),
        ("image_class_labels.txt", "1 1\n", "1 2\n"),
        ("parts/part_locs.txt", "1 1 40.0", "1 1 41.0"),
    ],
)
def test_what_it_is_changes_with_its_tables(birds: Path, file: str, before: str, after: str) -> None:
    known = CUB(CUBConfig(root=str(birds), size=32)).fingerprint()
    assert CUB(CUBConfig(root=str(birds), size=32)).fingerprint() == known
    text = (birds / file).read_text()
    (birds / file).write_text(text.replace(before, after, 1))
    assert (birds / file).read_text() != text
    assert CUB(CUBConfig(root=str(birds), size=32)).fingerprint() != known


def test_classes_in_another_order_keep_their_names(birds: Path) -> None:
    lines = (birds / "classes.txt").read_text().splitlines()
    (birds / "classes.txt").write_text("\n".join(reversed(lines)))
    assert CUB(CUBConfig(root=str(birds), size=32)).spec["label"].names == ("Black_footed_Albatross", "Crow")


def test_a_picture_that_goes_later_costs_nothing_else(birds: Path) -> None:
    data = CUB(CUBConfig(root=str(birds), size=32))
    assert len(data._store) == 8  # looked at, and kept
    (birds / "images" / "002.Crow" / "bird_2.jpg").unlink()
    assert data.batch(torch.arange(8))["label"].tolist() == [0, 1] * 4


def test_a_broken_picture_is_left_out(birds: Path) -> None:
    (birds / "images" / "002.Crow" / "bird_2.jpg").write_bytes(b"no picture")
    data = CUB(CUBConfig(root=str(birds), size=32))
    assert len(data) == 14
    assert data.batch(torch.arange(14))["label"].tolist() == [0, 0, 1, 0, 1, 0, 1] * 2
    assert "bird_2.jpg" in " ".join(data.notes())
