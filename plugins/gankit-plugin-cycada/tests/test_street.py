"""House numbers: right labels, colours that stand out, splits apart, kept on disk, made anew where damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from gankit_plugin_cycada import glyphs, street
from gankit_plugin_cycada.composed import composed
from gankit_plugin_cycada.street import StreetDigits, StreetDigitsConfig


@pytest.fixture(scope="module")
def digits() -> StreetDigits:
    return StreetDigits(StreetDigitsConfig(number=100, size=32))


def test_ten_digits_as_often(digits: StreetDigits) -> None:
    batch = digits.batch(torch.arange(100))
    assert batch["image"].shape == (100, 3, 32, 32)
    assert batch["image"].dtype == torch.uint8
    assert batch["label"].bincount().tolist() == [10] * 10
    assert len(StreetDigits(StreetDigitsConfig(number=100), "test")) == 25


def test_a_digit_stands_in_the_middle(digits: StreetDigits) -> None:
    """The ink is of another brightness than the ground: the middle differs from what is most of the image."""
    images = digits.batch(torch.arange(100))["image"].float().mean(1)
    spread = images[:, 4:28, 8:24].flatten(1).std(1)
    assert (spread > 12).float().mean() > 0.95


def test_a_sample_follows_from_its_number_alone(digits: StreetDigits) -> None:
    more = StreetDigits(StreetDigitsConfig(number=160, size=32))
    some = torch.tensor([7, 63, 7])
    assert torch.equal(digits.batch(some)["image"], more.batch(some)["image"])
    assert digits.fingerprint() != more.fingerprint()


def test_splits_share_no_font_no_hand_and_no_photograph() -> None:
    assert not set(glyphs.FONTS["train"]) & set(glyphs.FONTS["test"])
    hands = {split: {g.tobytes() for of in glyphs.handwritten(split) for g in of} for split in ("train", "test")}
    assert not hands["train"] & hands["test"]
    for whole, part in zip(street._photographs("train"), street._photographs("test"), strict=True):
        assert (whole.width, part.width) == (480, 160)


def test_the_largest_in_both_splits() -> None:
    for split in ("train", "test"):
        data = StreetDigits(StreetDigitsConfig(number=40, size=128), split)
        assert data.batch(torch.arange(10))["image"].shape == (10, 3, 128, 128)


@pytest.mark.parametrize("printed", [0.0, 1.0])
def test_printed_or_handwritten_alone(printed: float) -> None:
    data = StreetDigits(StreetDigitsConfig(number=40, size=16, printed=printed))
    assert data.batch(torch.arange(40))["image"].float().std() > 20


def test_what_is_kept_is_made_once_and_again_if_it_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path))
    made = []

    def make() -> bytes:
        made.append(1)
        return b"digits"

    assert [composed("x", 6, make) for _ in range(3)] == [b"digits"] * 3
    assert len(made) == 1
    (file,) = (tmp_path / "composed").iterdir()
    file.write_bytes(b"d1gits" + file.read_bytes()[6:])
    assert composed("x", 6, make) == b"digits"
    assert len(made) == 2
    assert composed("x", 7, lambda: b"digits!") == b"digits!"
    os.remove(file)
    (tmp_path / "composed").rmdir()
    (tmp_path / "composed").write_text("a file in its place")
    assert composed("x", 6, make) == b"digits"
