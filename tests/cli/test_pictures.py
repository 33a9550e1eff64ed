"""Pictures of a training: on the terminal as they come, and `gankit animate`."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from gankit.cli import progress
from gankit.cli.blocks import BELOW, blocks
from gankit.errors import GankitError
from gankit.events import Sampled


def terminal(**more: object) -> Console:
    settings = {"force_terminal": True, "color_system": "truecolor", "width": 40, "height": 24, **more}
    return Console(file=io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), legacy_windows=False, **settings)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Red above blue."""
    image = Image.new("RGB", (4, 4), (255, 0, 0))
    image.paste((0, 0, 255), (0, 2, 4, 4))
    image.save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_a_character_is_two_pixels(picture: Path) -> None:
    found = [(segment.text, segment.style) for segment in blocks(picture, 80, 20).segments]
    assert [text for text, _ in found] == [*"▀▀▀▀", "\n"] * 2
    assert {str(style) for _, style in found[:4]} == {"#ff0000 on #ff0000"}
    assert {str(style) for _, style in found[5:9]} == {"#0000ff on #0000ff"}


@pytest.mark.parametrize(
    ("size", "room", "fits"),
    [((400, 100), (80, 50), (80, 10)), ((50, 300), (80, 20), (6, 20)), ((1, 1), (9, 9), (1, 1))],
)
def test_it_fits_the_terminal(tmp_path: Path, size: tuple[int, int], room: tuple[int, int], fits: object) -> None:
    Image.new("L", size).save(tmp_path / "p.png")
    lines = "".join(segment.text for segment in blocks(tmp_path / "p.png", *room).segments).splitlines()
    assert (len(lines[0]), len(lines)) == fits
    with pytest.raises(GankitError, match=r"missing\.png"):
        blocks(tmp_path / "missing.png", *room)


def shown(picture: Path, console: Console, *, show: bool = True) -> str:
    live = progress.Live(show=show)
    live.bar.live.console = console
    live.bar.start()
    for path in (picture, picture.with_suffix(".npy"), picture.with_name("missing.png")):
        live(Sampled(step=1, path=path))
    live.stop()
    console.file.seek(0)
    return console.file.read()


def test_the_newest_sheet_stands_above_the_bar(picture: Path) -> None:
    written = shown(picture, terminal())
    assert "\x1b[38;2;255;0;0;48;2;255;0;0m▀" in written
    assert "▀" not in shown(picture, terminal(), show=False)
    assert "▀" not in shown(picture, terminal(color_system=None))
    large = picture.with_name("large.png")
    Image.new("L", (500, 500), 9).save(large)
    assert shown(large, terminal()).count("▀") % (2 * (24 - BELOW)) == 0


def test_show_without_a_terminal_is_a_note(gankit, toy):
    outcome = gankit("run", toy, "--show", "--json")
    assert outcome.code == 0
    assert "note: --show draws on a terminal, and stdout is none" in outcome.err


def test_animate(gankit, run, tmp_path):
    outcome = gankit("animate", run, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.data == {"run": str(run), "out": str(run / "animation-0001.png"), "frames": 2}
    assert gankit("animate", run, "--out", "a.gif", "--rate", 2).out == "2 frames in a.gif\n"
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rate", "0"), "--rate 0: must be from 0.1 to 50"),
        (("--out", "a.avi"), "a.avi: an animation is a PNG, GIF, WebP or MP4 file"),
        (("--figure", "map"), "no pictures of 'map': it has sheet"),
    ],
)
def test_what_cannot_be_animated(gankit, run, arguments, words):
    outcome = gankit("animate", run, *arguments)
    assert (outcome.code, words in outcome.err) == (2, True), outcome.err


def test_what_is_no_film_is_said_before_anything_is_drawn(gankit, run):
    for arguments, says in {
        ("--loop",): "--loop is for a film: give --out F.mp4, or another of .mp4, .gif, .webp, .apng",
        (
            "--out",
            "a.png",
            "--rate",
            "3",
        ): "--rate is for a film: give --out F.mp4, or another of .mp4, .gif, .webp, .apng",
        ("--out", "a.gif", "--rate", "99"): "--rate 99: must be from 0.1 to 50",
        ("--out", "a.gif", "--frames", "1"): "--frames 1: must be at least 2",
        ("--out", "no/a.gif"): "there is no directory no.",
    }.items():
        outcome = gankit("interpolate", run, *arguments)
        assert (outcome.code, outcome.err) == (2, f"error: {says}\n")
