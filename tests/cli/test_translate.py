"""`gankit translate`, `reconstruct` and `interpolate`, and `gankit sample --given`, as they are typed."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image

from .conftest import GOOD

NEGATIVE = GOOD.replace(
    'conditions = frozenset({"label"})',
    'conditions = frozenset({"image"})\n    random = False',
).replace(
    "    def sample(",
    '    def sample(self, networks, request):\n        return -request.batch["image"]\n\n    def unused(',
)
CODES = GOOD.replace(
    "    def sample(",
    """    def codes(self, request):
        return request.noise(request.n, 4)

    def decode(self, networks, codes, request):
        return networks["generator"](self.told(codes, request.batch["label"]))

    def unused(""",
)


@pytest.fixture
def negative(gankit, site, tmp_path):
    outcome = gankit("run", site.add("negative", NEGATIVE), "--json")
    assert outcome.code == 0, outcome.err
    return tmp_path / outcome.data["run"]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (30, 20), "white").save(folder / "a.png")
    Image.new("L", (7, 9), 0).save(folder / "deep" / "b.jpg")
    return folder


def test_a_picture_much_larger_than_the_model_is_said_to_be_shrunk(gankit, negative, tmp_path):
    Image.new("RGB", (200, 40)).save(tmp_path / "wide.png")
    outcome = gankit("translate", negative, tmp_path / "wide.png", tmp_path / "out.png")
    assert outcome.err.startswith("wide.png: shrunk to "), outcome.err
    assert "--fit tiles translates pieces of that size" in outcome.err
    tiles = gankit("translate", negative, tmp_path / "wide.png", tmp_path / "tiles.png", "--fit", "tiles")
    assert (tiles.code, tiles.err) == (0, "")


def test_translate(gankit, negative, photos, tmp_path):
    outcome = gankit("translate", negative, photos, "out")
    assert (outcome.code, outcome.out) == (0, "2 images in out\n"), outcome.err
    assert np.asarray(Image.open(tmp_path / "out" / "a.png")).max() == 0
    assert Image.open(tmp_path / "out" / "a.png").size == (30, 20)
    assert np.asarray(Image.open(tmp_path / "out" / "deep" / "b.jpg")).min() > 250
    refused = gankit("translate", negative, photos, "out")
    assert (refused.code, "exists already. Give another OUT, --resume to do" in refused.err) == (2, True)
    os.remove(tmp_path / "out" / "a.png")
    rest = gankit("translate", negative, photos, "out", "--resume")
    assert (rest.code, rest.out) == (0, "1 image in out\n")
    assert "1 of 2 are there already, and left as they are" in rest.err
    assert gankit("translate", negative, photos, "out", "--resume").out == "0 images in out\n"
    assert "give one of the two" in gankit("translate", negative, photos, "out", "--resume", "--overwrite").err
    assert (
        "from 0 to 0.5, got 0.7" in gankit("translate", negative, photos, "x", "--fit", "tiles", "--overlap", 0.7).err
    )
    assert gankit("translate", negative, photos, "tiled", "--fit", "tiles").code == 0
    assert np.asarray(Image.open(tmp_path / "tiled" / "a.png")).shape == (20, 30)

    (photos / "c.png").write_text("no image")
    outcome = gankit("translate", negative, photos, "out", "--overwrite", "--size", "model", "--json")
    assert outcome.code == 1
    assert outcome.err.count("c.png") == 1
    assert outcome.data["n"] == 2
    assert [bool(file["error"]) for file in outcome.data["files"]] == [False, True, False]
    assert Image.open(tmp_path / "out" / "a.png").size == (8, 8)


def test_sample_with_images(gankit, negative, photos, tmp_path):
    refused = gankit("translate", negative, photos, "new", "--given", "image=x.png")
    assert (refused.code, "is what the images themselves are (IN)" in refused.err) == (2, True)
    refused = gankit("sample", negative, "--given", "image=")
    assert (refused.code, "image: an empty path" in refused.err) == (2, True)

    outcome = gankit("sample", negative, "--given", f"image={photos}", "--out", "drawn", "--json")
    assert outcome.code == 0, outcome.err
    assert [sample["image"] for sample in outcome.data["samples"]] == [
        str(photos / "a.png"),
        str(photos / "deep" / "b.jpg"),
    ]
    rows = [json.loads(line) for line in (tmp_path / "drawn" / "samples.jsonl").read_text().splitlines()]
    assert rows[1]["image"].endswith("b.jpg")
    assert gankit("sample", negative, "--n", "5", "--json").data["n"] == 5  # of held-out images


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("sample", "--given", "label"), "--given label: must be KEY=VALUE"),
        (("sample", "--given", "box=nan,0,1,1"), "cannot be asked for 'box'; it can be asked for label (a class"),
        (("sample", "--given", "label=pink"), "'pink' is not one of the 2 classes"),
        (("sample", "--given", "label=dark", "--label", "light"), "label is given twice"),
        (("sample", "--to", "b"), "Toy cannot draw 'b': it draws image"),
        (("translate", "photos", "out"), "Toy cannot translate: to draw 'image' it asks for no image"),
        (("reconstruct", "photos", "out"), "Toy cannot reconstruct"),
        (("interpolate",), "Toy cannot interpolate"),
        (("interpolate", "--frames", "1"), "--frames 1: must be at least 2"),
    ],
)
def test_what_a_variant_cannot(gankit, run, photos, command, words):
    outcome = gankit(command[0], run, *command[1:])
    assert (outcome.code, words in outcome.err) == (2, True), outcome.err
    assert len(outcome.err.strip().splitlines()) <= 2


def test_interpolate(gankit, site, tmp_path):
    path = tmp_path / gankit("run", site.add("coded", CODES), "--json").data["run"]
    outcome = gankit("interpolate", path, "--n", 3, "--frames", 5, "--given", "label=light", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.data["files"] == [str(path / "interpolation-0001.png")]
    assert Image.open(path / "interpolation-0001.png").size == (5 * 98 - 2, 3 * 98 - 2)
    assert {sample["label"] for sample in outcome.data["samples"]} == {"light"}
    assert gankit("interpolate", path, "--out", "steps", "--n", 1).out == "1 x 8 samples of step-000006 in steps\n"
    assert len(list((tmp_path / "steps").glob("*.png"))) == 8
    outcome = gankit("interpolate", path, "--out", "a.gif", "--n", 2, "--frames", 4, "--loop", "--rate", 10, "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.data["out"], outcome.data["frames"]) == ("a.gif", 6)
    assert Image.open(tmp_path / "a.gif").info["duration"] == 100
