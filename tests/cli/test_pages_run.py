"""Every command that the pages print, run: trainings for one step, on made-up pictures. Minutes: GANKIT_PAGES=1."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gankit.cli.main import main

from .test_docs import PAGES, printed

if "GANKIT_PAGES" not in os.environ:
    pytest.skip("GANKIT_PAGES=1", allow_module_level=True)

SHORT = ("--steps", "1", "--batch-size", "4", "--sample-n", "2", "--eval-every", "0", "--precision", "float32")
TEXTS = ("--text.steps", "2", "--text.image-steps", "2")
"""Of variants that draw from captions: what their encoders are trained with."""
NOT_HERE = {
    r"hf://|horse2zebra\.pth|latest_net": "weights that others published",
    r"--metrics": "weights of the standard networks",
    r"svhn|cifar-10-|CUB_200|oxford-102|MNIST/raw": "data in a format of its own, which tests of that dataset make up",
    r"^gankit (ui|bench)": "goes on until it is stopped, or measures; has tests of its own",
    r"VARIANT|NAME|FORMAT|\brings\b|\.\.\.": "stands for another",
}
ASKED = {
    "mask=": "inpaint",
    "tone=": "stargan",
    "place=": "gawwn",
    "label=bright": "stargan --dataset attribute-folder",
    "--text": "stackgan",
    "interpolate": "vae",
}
"""The run that RUN stands for, by what is asked of it; else it is of cyclegan for pictures and of cgan without."""


def commands() -> list[str]:
    """All of them once, trainings first: the others are about their runs."""
    found = dict.fromkeys(line.partition(" #")[0].partition("|")[0].strip() for page in PAGES for line in printed(page))
    return sorted(found, key=lambda line: not line.startswith("gankit run"))


def paint(path: Path, number: int, size: tuple[int, int] = (96, 72)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(rows).resize(size, Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all directories and files of pictures that the pages speak of."""
    root = tmp_path_factory.mktemp("pages")
    plain = "roses pictures photos scans horses zebras summer winter frames in edges shoes faces masks"
    for folder, number in product(plain.split(), range(12)):
        paint(root / folder / f"{number:02}.png", number)
        (root / folder / f"{number:02}.txt").write_text("a red rose\na rose that is red\n")
    for folder, side, number in product(("horse2zebra", "datasets/horse2zebra", "monet2photo"), "AB", range(8)):
        paint(root / folder / f"train{side}" / f"{number}.jpg", number)
        paint(root / folder / f"test{side}" / f"{number}.jpg", number + 50)
    for folder, number in product(("facades", "datasets/facades"), range(8)):
        paint(root / folder / ("train" if number < 6 else "test") / f"{number}.jpg", number, (160, 80))
    for season, number in product(("summer", "winter", "dim", "bright"), range(6)):
        paint(root / "seasons" / season / f"{number}.png", number)
    for number in range(12):
        paint(root / "CelebA/img_align_celeba" / f"{number:06}.jpg", number)
    names = "Black_Hair Blond_Hair Male"
    rows = [f"{n:06}.jpg {' '.join('1' if n % (2 + i) == 0 else '-1' for i in range(3))}" for n in range(12)]
    (root / "CelebA/list_attr_celeba.txt").write_text("\n".join(["12", names, *rows, ""]))
    for name in ("photo.png", "photo.jpg", "hand.png", "m.png", "holes.png", "docs/images/chalk.png"):
        paint(root / name, 1)
    paint(root / "earth.jpg", 2, (300, 150))
    return root


@pytest.fixture
def typed(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Runs a line there; what it told on the second stream, "" if all was well."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("GANKIT_CACHE", str(place / "cache"))

    def run(line: str, *more: str) -> str:
        capsys.readouterr()
        words = [os.path.expanduser(word) for word in shlex.split(line, comments=True)]
        code = main([*words[1:], *more])
        told = capsys.readouterr().err.strip()
        return "" if code == 0 else f"exit {code}: {told[-600:]}"

    return run


def run_for(line: str, place: Path, typed: Callable[..., str]) -> str:
    """`line`, with a run in place of RUN; that is trained if there is none."""
    wanted = next((variant for mark, variant in ASKED.items() if mark in line), None)
    wanted = wanted or ("cyclegan" if re.search(r"translate|photo|onnx", line) else "cgan")
    data = ["--data.root", "seasons", "--data.size", "32"] if "-folder" in wanted else []
    home = place / "of" / wanted.replace(" ", "_")
    if not home.exists():
        assert not train(" ".join(["gankit run", wanted, *data, "--out", str(home)]), typed)
    (found,) = home.iterdir()
    return re.sub(r"\bRUN\b", str(found), line)


def train(line: str, typed: Callable[..., str]) -> str:
    """A training of one step, with what its texts need; `--dry-run`, `--help` as they are."""
    if re.search(r"--help|--dry-run", line):
        return typed(line)
    texts = TEXTS if re.search(r"run (stackgan|gawwn)|captions", line) else ()
    return typed(line, *SHORT, *texts)


@pytest.mark.parametrize("line", commands())
def test_command(line: str, place: Path, typed: Callable[..., str]) -> None:
    for mark, why in NOT_HERE.items():
        if re.search(mark, line):
            pytest.skip(why)
    if "RUN" in line:
        line = run_for(line, place, typed)
    assert not (train(line, typed) if line.startswith("gankit run") else typed(line))
