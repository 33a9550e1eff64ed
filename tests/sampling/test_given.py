"""What users give, as they write it: classes, texts, numbers, boxes, points, images."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gankit.data.images import ImageError
from gankit.data.text import decode_text
from gankit.errors import GankitError, UsageError
from gankit.plugin import Key
from gankit.sampling.given import from_options, merged, read_given

LABEL = Key(kind="class", names=("1", "2", "3"))
IMAGE = Key(kind="image", shape=(3, 8, 8))
GREY = Key(kind="image", shape=(1, 8, 8))
BOX = Key(kind="box", shape=(4,))


@pytest.mark.parametrize(
    ("value", "chosen"),
    [("1", [0]), (1, [0]), ("3", [2]), ("0", [0]), (0, [0]), (["2", 3], [1, 2]), (torch.tensor([1, 2]), [0, 1])],
)
def test_names_come_before_numbers(value, chosen):
    assert read_given("label", LABEL, value).rows.tolist() == chosen


@pytest.mark.parametrize("value", ["4", 7, -1, "-1", "²", "", None, 1.5, "one"])
def test_what_is_no_class(value):
    with pytest.raises(UsageError, match="is not one of the 3 classes: 1, 2, 3"):
        read_given("label", LABEL, value)


def test_records_say_names():
    assert read_given("label", LABEL, [1, "3"]).records == ["1", "3"]
    assert read_given("digit", Key(kind="class", names=("0", "1")), "1").records == [1]


def test_texts():
    key = Key(kind="text", shape=(12,))
    given = read_given("text", key, ["zwölf = 12", "b"])
    assert decode_text(given.rows) == given.records == ["zwölf = 12", "b"]
    for value, words in (
        (3, "not a text, but of type int"),
        ("é" * 7, "longer than the 12 bytes"),
        ([], "an empty list"),
    ):
        with pytest.raises(UsageError, match=words):
            read_given("text", key, value)


@pytest.mark.parametrize(
    ("shape", "value", "rows"),
    [
        ((1,), "-1.5", [[-1.5]]),
        ((), ["-1.5", "2e-1"], [-1.5, 0.2]),
        ((1,), [1, 2, 3], [[1.0], [2.0], [3.0]]),
        ((), 3, [3.0]),
        ((3,), [1, 2, 3], [[1.0, 2.0, 3.0]]),
        ((3,), "1, 2 ,3", [[1.0, 2.0, 3.0]]),
        ((2,), [[1, 2], [3, 4]], [[1.0, 2.0], [3.0, 4.0]]),
        ((2,), np.array([[1, 2]]), [[1.0, 2.0]]),
        ((2,), torch.tensor([1.0, 2.0], dtype=torch.float64), [[1.0, 2.0]]),
        ((2, 2), "1,2,3,4", [[[1.0, 2.0], [3.0, 4.0]]]),
    ],
)
def test_vectors(shape, value, rows):
    given = read_given("slant", Key(kind="vector", shape=shape), value)
    assert given.rows.dtype is torch.float32
    assert torch.allclose(given.rows, torch.tensor(rows))
    assert given.rows.shape[1:] == shape
    assert len(given.records) == len(rows)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("1,2", "2 numbers; give 3 numbers"),
        ("1,2,x", "'x' is not a number"),
        ("", "'' is not a number"),
        ("nan,1,2", "not finite"),
        (float("inf"), "not 3 numbers"),
        ([1, math.inf, 3], "not finite"),
        ([[1, 2]], r"of shape \(1, 2\), not 3 numbers"),
        ([[1, 2], [3]], "not 3 numbers"),
        ({"a": 1}, "'a' is not a number"),
        (None, "not 3 numbers"),
        ([], "3 numbers"),
    ],
)
def test_what_is_no_vector(value, words):
    with pytest.raises(UsageError, match=words):
        read_given("slant", Key(kind="vector", shape=(3,)), value)


def test_boxes():
    given = read_given("box", BOX, ["0,0,.5,.5", "0,0,1,1"])
    assert given.rows.tolist() == [[0, 0, 0.5, 0.5], [0, 0, 1, 1]]
    assert given.records[0] == [0, 0, 0.5, 0.5]
    two = read_given("box", Key(kind="box", shape=(2, 4)), "0,0,1,1,0,0,.5,1")
    assert two.rows.shape == (1, 2, 4)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("nan,0,1,1", "not finite"),
        ("0.5,0,0.5,1", "0.5,0,0.5,1: not a box"),
        ("0,1,1,0", "not a box"),
        ("10,20,50,60", "fractions of the image"),
        ("0,0,1", "3 numbers; give 4 numbers: left,top,right,bottom"),
        ("0;0;1;1", "is not a number"),
        ([0.9, 0, 0.1, 1], "not a box"),
    ],
)
def test_what_is_no_box(value, words):
    with pytest.raises(UsageError, match=words):
        read_given("box", BOX, value)


def test_points():
    key = Key(kind="points", shape=(2, 3))
    assert read_given("beak", key, ".1,.2,1,-5,9,0").rows.tolist()[0][1] == [-5, 9, 0]
    for value, words in (("0,0,1,0,0,2", "1 for a visible"), ("0,0,1,0,1.5,1", "fractions")):
        with pytest.raises(UsageError, match=words):
            read_given("beak", key, value)
    with pytest.raises(UsageError, match="fractions"):
        read_given("beak", Key(kind="points", shape=(1, 2)), "3,4")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (40, 20), (255, 0, 0)).save(folder / "b.jpg")
    Image.new("L", (8, 8), 255).save(folder / "a.PNG")
    Image.new("RGBA", (5, 9), (0, 0, 0, 0)).save(folder / "deep" / "c.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_directory_of_images_comes_sorted_in_the_models_shape(photos):
    given = read_given("image", IMAGE, str(photos))
    assert given.rows.shape == (3, 3, 8, 8)
    assert given.records == [str(photos / name) for name in ("a.PNG", "b.jpg", "deep/c.png")]
    assert (given.rows[0] == 1).all()  # grey, in a colour model
    assert given.rows[1, 0].min() > 0.95
    assert given.rows[1, 1].max() < -0.95
    assert (given.rows[2] == 1).all()  # transparent, on white
    assert read_given("image", GREY, photos).rows.shape == (3, 1, 8, 8)
    assert len(read_given("image", IMAGE, photos, most=2)) == 2
    assert read_given("image", IMAGE, [photos / "b.jpg", str(photos / "a.PNG")]).records[1].endswith("a.PNG")


def test_images_in_python(photos):
    half = torch.zeros(3, 8, 8)
    for value, number in (
        (half, 1),
        (half.repeat(4, 1, 1, 1), 4),
        (np.full((6, 10, 3), 128, np.uint8), 1),
        (np.full((2, 6, 10, 1), 128, np.uint8), 2),
        (np.full((6, 10), 128, np.uint8), 1),
        (Image.new("L", (30, 30), 128), 1),
        ([half, Image.new("RGB", (4, 4), (128,) * 3)], 2),
    ):
        given = read_given("image", IMAGE, value)
        assert given.rows.shape == (number, 3, 8, 8)
        assert given.rows.abs().max() < 0.01
        assert given.records == list(range(number))
    assert read_given("image", Key(kind="image", shape=(5, 8, 8)), torch.zeros(5, 9, 9)).rows.shape == (1, 5, 8, 8)
    clear = torch.cat([torch.zeros(3, 8, 8), -torch.ones(1, 8, 8)])
    assert (read_given("image", IMAGE, clear).rows == 1).all()  # transparent


def test_masks_hold_or_do_not(tmp_path):
    Image.fromarray(np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16)).save(tmp_path / "mask.png")
    rows = read_given("mask", Key(kind="mask", shape=(1, 16, 16)), tmp_path / "mask.png").rows
    assert set(rows.unique().tolist()) == {0.0, 1.0}
    assert rows[0, 0, 0, 0] == 0
    assert rows[0, 0, -1, -1] == 1


def test_what_a_picture_says_of_a_mask(tmp_path):
    key = Key(kind="mask", shape=(1, 8, 8))
    left = np.zeros((8, 8, 4), np.uint8)
    left[:, :4] = (200, 0, 0, 255)  # red on transparency: holds where it was drawn
    bits = Image.fromarray(left[..., 3]).convert("1")
    for picture in (Image.fromarray(left), bits, Image.fromarray(left[..., 3])):
        rows = read_given("mask", key, picture).rows
        assert (rows[0, 0, :, :4] == 1).all()
        assert (rows[0, 0, :, 4:] == 0).all()
    Image.fromarray(left[..., 3]).convert("RGB").save(tmp_path / "grey.jpg")
    assert read_given("mask", key, tmp_path / "grey.jpg").rows.mean() == 0.5
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    photo.save(tmp_path / "photo.png")
    for value in (photo, tmp_path / "photo.png"):
        with pytest.raises(GankitError, match="a picture in colour, and no mask; a mask is white where it holds"):
            read_given("mask", key, value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.full((3, 8, 8), 200.0), "values from 200 to 200; images are floats in"),
        (torch.full((3, 8, 8), math.nan), "images are floats"),
        (torch.zeros(8, 8), "of shape"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "of int64"),
        (np.zeros((8, 8, 3), np.int32), "an array of int32"),
        (np.zeros((8, 8, 2)), "an image of 2 channels, where 3 are asked for"),
        (3, "no image but of type int"),
        ({"a": 1}, "no image but of type dict"),
        ("no/such.png", "no file or directory no/such.png"),
        ([], "empty list"),
        ("", "an empty path; give an image file"),
    ],
)
def test_what_is_no_image(value, words):
    with pytest.raises(UsageError, match=words):
        read_given("image", IMAGE, value)


def test_files_that_are_no_images(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no images in .*empty: found no files at all"):
        read_given("image", IMAGE, tmp_path / "empty")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    with pytest.raises(ImageError, match=r"broken\.png"):
        read_given("image", IMAGE, tmp_path)
    Image.new("L", (8, 8)).save(tmp_path / "broken.png")
    with pytest.raises(ImageError, match=r"broken\.png: not a TIFF file of 5 channels, of 8 or 16 bits each"):
        read_given("image", Key(kind="image", shape=(5, 8, 8)), tmp_path)
    with pytest.raises(UsageError, match="5 channels; give a TIFF file, or a tensor"):
        read_given("image", Key(kind="image", shape=(5, 8, 8)), Image.new("L", (8, 8)))


def test_names_that_are_no_utf8(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(folder)
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", folder + b"/\xe9.png")
    given = read_given("image", GREY, os.fsdecode(folder))
    assert os.fsencode(given.records[0]) == folder + b"/\xe9.png"


def test_options():
    assert from_options(["a=1", "b=x=y", "a=", "a=2"]) == {"a": ["1", "", "2"], "b": ["x=y"]}
    for wrong in ("label", "=3", ""):
        with pytest.raises(UsageError, match="must be KEY=VALUE"):
            from_options([wrong])
    assert merged({"a": 1}, label=None, text="x") == {"a": 1, "text": "x"}
    assert merged(None, label=0) == {"label": 0}
    with pytest.raises(UsageError, match="label is given twice"):
        merged({"label": 1}, label=2)


@pytest.mark.parametrize("value", ["9" * 5000, 10**5000, [10**5000]], ids=["text", "number", "list"])
def test_numbers_of_thousands_of_digits(value):
    with pytest.raises(UsageError, match="is not one of the 2 classes: a, b") as caught:
        read_given("label", Key(kind="class", names=("a", "b")), value)
    assert len(str(caught.value)) < 200
    with pytest.raises(UsageError, match=r"^x"):
        read_given("x", Key(kind="vector", shape=(1,)), value)
