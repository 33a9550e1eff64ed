"""What the page asks of runs: the same as the commands, and nothing that is out of bounds."""

from __future__ import annotations

import math
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

from gankit.cli.main import main
from gankit.errors import GankitError, UsageError
from gankit.ui import asking
from gankit.ui.runs import Runs
from gankit.ui.studio import Studio

PLAIN = [None, None, None, None]
"""Of the painter's controls, nothing given: label, text, box, tone."""


@pytest.fixture
def studio(made, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Studio(Runs(made.root), scratch, "cpu")


@pytest.fixture
def draw(studio):
    def draw(values=PLAIN, n=4, seed=0, name="painter-painter-dots/0001", to=None, checkpoint="best"):
        return studio.sample(name, to, checkpoint, values, n, seed)

    return draw


def pixels(path):
    return np.asarray(Image.open(path))


def repeated(command, tmp_path, monkeypatch, capsys):
    """Runs the command that the page shows, in an empty directory; the file that it writes."""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    assert words[0] == "gankit"
    assert main([*words[1:], "--device", "cpu"]) == 0, capsys.readouterr().err
    return tmp_path / words[-1]


def test_the_controls_are_what_the_variant_asks_for(studio, made):
    run = studio.open("painter-painter-dots/0001")
    found = asking.controls(run.variant, run.spec, "image")
    assert [(one.name, one.how) for one in found] == [
        ("box", "box"),
        ("label", "classes"),
        ("text", "texts"),
        ("tone", "sliders"),
    ]
    assert asking.offers(run.variant, run.spec, "image") == asking.Offers("", False, ("codes", "captions"))
    other = studio.open("painter-negative-painter-sides/0001")
    assert asking.offers(other.variant, other.spec, "b") == asking.Offers("a", False, ())


def test_what_is_drawn_is_what_was_asked_for(draw):
    drawn = draw(["0.5,0,1,0.5", ["<b>blue</b>"], "a frame", [1.0]], n=1)
    (file, words), image = drawn.each[0], pixels(drawn.each[0][0])
    assert image[1:8, 8:15].tolist() == [[[0, 0, 255]] * 7] * 7
    assert image[12, 4].tolist() == [255, 255, 255]
    assert image[15].min() == 255
    assert "label <b>blue</b>" in words
    assert file.suffix == ".png"


@pytest.mark.parametrize(
    "values",
    [PLAIN, ["0.5,0,1,0.5", ["green", "red"], 'one\'s text\nand "a frame" $HOME', [-0.25]], [None, ["2"], "", None]],
)
def test_the_command_that_is_shown_draws_the_same(draw, tmp_path, monkeypatch, capsys, values):
    drawn = draw(values, n=6, seed=7)
    again = repeated(drawn.command, tmp_path, monkeypatch, capsys)
    assert again.read_bytes() == drawn.file.read_bytes()


@pytest.mark.parametrize("checkpoint", ["best", "latest", "step-000001", "1"])
def test_a_checkpoint_can_be_chosen(draw, checkpoint):
    wanted = "step-000001" if "1" in checkpoint else "step-000002"
    assert f"--checkpoint {wanted}" in draw(checkpoint=checkpoint).command


def test_going_between_codes_and_between_captions(studio, made, tmp_path, monkeypatch, capsys):
    name = "painter-painter-dots/0001"
    drawn = studio.interpolate(name, None, "best", [None, ["red"], None, None], "codes", "", None, 2, 3, 5)
    assert len(drawn.each) == 6
    again = repeated(drawn.command, tmp_path, monkeypatch, capsys)
    assert again.read_bytes() == drawn.file.read_bytes()
    with pytest.raises(UsageError, match="two captions or more"):
        studio.interpolate(name, None, "best", PLAIN, "captions", "one alone", None, 2, 3, 5)
    with pytest.raises(UsageError, match="between 'images': must be one of codes, captions"):
        studio.interpolate(name, None, "best", PLAIN, "images", "", ["a.png", "b.png"], 2, 3, 5)


def translate(studio, image, to="b", fit="stretch", size="input", values=(), how="translate", seed=0):
    name = "painter-negative-painter-sides/0001"
    return studio.change(name, to, "best", list(values), how, str(image), fit, size, seed)


@pytest.mark.parametrize(("wide", "high", "fit"), [(16, 16, "stretch"), (50, 23, "tiles"), (7, 90, "tiles")])
def test_an_image_of_any_size_is_translated_and_keeps_it(studio, tmp_path, monkeypatch, capsys, wide, high, fit):
    image = tmp_path / "odd name; $(x) ü.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (high, wide, 3), dtype=np.uint8)).save(image)
    done = translate(studio, image, fit=fit)
    assert (np.abs(255 - pixels(image).astype(int) - pixels(done.after)) <= 1).all()
    again = repeated_translation(done.command, tmp_path, monkeypatch, capsys)
    assert again.read_bytes() == done.file.read_bytes()


def repeated_translation(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    assert main([*words[1:], "--device", "cpu"]) == 0, capsys.readouterr().err
    return tmp_path / words[4]


def test_what_a_browser_does_not_show_is_shown_as_png(studio, tmp_path):
    deep = tmp_path / "deep.tif"
    Image.fromarray(np.full((20, 30), 40000, dtype=np.uint16)).save(deep)
    done = translate(studio, deep)
    assert done.before.suffix == ".png"
    assert pixels(done.before).shape[:2] == (20, 30)


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.png", b""), ("text.png", b"hello"), ("half.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF"), ("x.svg", b"<svg/>")],
)
def test_what_is_no_image_is_refused_by_its_name(studio, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GankitError, match=name) as told:
        translate(studio, tmp_path / name)
    assert len(str(told.value).splitlines()) <= 2


def test_an_image_that_is_too_large_is_refused_before_it_is_decoded(studio, tmp_path):
    side = math.isqrt(asking.MOST_PIXELS) + 1
    Image.new("1", (side, side)).save(tmp_path / "large.png")
    with pytest.raises(UsageError, match=rf"large.png is {side:,} x {side:,}; .* gankit translate takes larger ones"):
        translate(studio, tmp_path / "large.png")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"n": 0}, "count 0: must be a whole number from 1 to 64"),
        ({"n": 10**9}, "count 1000000000"),
        ({"n": 2.5}, "count 2.5"),
        ({"n": True}, "count True"),
        ({"n": "4"}, "count '4'"),
        ({"n": None}, "count None"),
        ({"n": math.nan}, "count nan"),
        ({"n": math.inf}, "count inf"),
        ({"n": [4]}, "count"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**64}, "seed 18446744073709551616"),
        ({"seed": 10**4000}, "seed 1000"),
        ({"checkpoint": "../../x"}, "has no checkpoint"),
        ({"checkpoint": 7}, "choose a checkpoint"),
        ({"checkpoint": "x" * 10**6}, "choose a checkpoint"),
        ({"name": "/etc"}, "there is no run '/etc' here"),
        ({"values": [None, ["4"], None, None]}, "label '4' is not one of the 3 classes"),
        ({"values": [None, [-1], None, None]}, "label -1: not a text"),
        ({"values": [None, ["red"] * 1000, None, None]}, "label: 1000 values"),
        ({"values": [None, {"a": 1}, None, None]}, "label"),
        ({"values": [None, None, "x" * 10**6, None]}, "text: 1,000,000 characters"),
        ({"values": [None, None, "x" * 41, None]}, "longer than the 40 bytes"),
        ({"values": [None, None, "x\n" * 9, None]}, "text: 9 lines"),
        ({"values": [None, None, 3, None]}, "text 3: not a text"),
        ({"values": ["0,0,2,1", None, None, None]}, "box 0,0,2,1: not a box"),
        ({"values": ["0,0,,1", None, None, None]}, "is not a number"),
        ({"values": ["nan,0,1,1", None, None, None]}, "not finite"),
        ({"values": ["1,2,3", None, None, None]}, "3 numbers; give 4 numbers"),
        ({"values": ["x" * 10**6, None, None, None]}, "box: 1,000,000 characters"),
        ({"values": [None, None, None, [1, 2]]}, "tone: 2 values"),
        ({"values": [None, None, None, [math.nan]]}, "tone nan: not a number that can be asked for"),
        ({"values": [None, None, None, ["1"]]}, "tone '1'"),
        ({"values": [None, None, None, [1e30]]}, "tone 1e\\+30"),
        ({"values": []}, "not that of this run any more"),
        ({"values": [None] * 9}, "not that of this run any more"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_no_page_sends_is_refused_in_a_line_or_two(draw, changed, said):
    with pytest.raises(UsageError, match=said) as told:
        draw(**changed)
    assert len(str(told.value)) < 500
    assert len(str(told.value).splitlines()) <= 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"to": "c"}, "to 'c': must be one of b, a"),
        ({"to": None}, "to None: must be one of b, a"),
        ({"fit": "crop"}, "fit 'crop'"),
        ({"size": "huge"}, "size 'huge'"),
        ({"how": "destroy"}, "how 'destroy'"),
        ({"how": "reconstruct"}, "cannot reconstruct"),
        ({"values": ["x"]}, "not that of this run any more"),
    ],
)
def test_a_translation_that_no_page_asks_for_is_refused(studio, tmp_path, changed, said):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=said):
        translate(studio, tmp_path / "a.png", **changed)


@pytest.mark.parametrize("image", [None, "", 7, ["a.png"], {"path": "/etc/passwd"}])
def test_without_an_image_one_is_asked_for(studio, image):
    with pytest.raises(UsageError, match="image: give an image"):
        studio.change("painter-negative-painter-sides/0001", "b", "best", [], "translate", image, "stretch", "input", 0)


def test_a_run_that_is_removed_is_said_and_one_that_is_made_anew_is_read_anew(made, tmp_path):
    root = tmp_path / "runs"
    path = shutil.copytree(made.painter, root / "painter-painter-dots" / "0001")
    (tmp_path / "scratch").mkdir()
    studio = Studio(Runs(root), tmp_path / "scratch", "cpu")
    name = "painter-painter-dots/0001"
    first = studio.sample(name, None, "best", PLAIN, 1, 0)
    shutil.rmtree(path / "checkpoints")
    with pytest.raises(UsageError, match="no checkpoint yet"):
        studio.sample(name, None, "best", PLAIN, 1, 0)
    shutil.rmtree(path)
    with pytest.raises(UsageError, match="it was removed, or lies elsewhere"):
        studio.sample(name, None, "best", PLAIN, 1, 0)
    shutil.copytree(made.painter, path)
    assert studio.sample(name, None, "best", PLAIN, 1, 0).file.read_bytes() == first.file.read_bytes()


def test_old_results_are_removed(studio, draw, monkeypatch, tmp_path):
    monkeypatch.setattr("gankit.ui.studio.KEPT", 2)
    files = [draw(n=1, seed=seed).file for seed in range(4)]
    assert [file.exists() for file in files] == [False, False, True, True]


def test_a_report_is_made_of_a_run_that_is_here(studio, made):
    page = studio.report("painter-painter-dots/0001").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "painter" in page
    with pytest.raises(UsageError, match="there is no run"):
        studio.report("../painter-painter-dots/0001")


@pytest.mark.parametrize("name", ["log.jsonl", "samples/000009.png", "samples"])
def test_no_report_shows_what_lies_elsewhere(made, tmp_path, name):
    path = shutil.copytree(made.painter, tmp_path / "runs" / "painter-painter-dots" / "0001")
    (tmp_path / "scratch").mkdir()
    if name == "samples":
        shutil.rmtree(path / name)
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(made.painter / name)
    with pytest.raises(UsageError, match="a link that leads out of the runs"):
        Studio(Runs(tmp_path / "runs"), tmp_path / "scratch", "cpu").report("painter-painter-dots/0001")
