"""Sheets: where samples stand, the words above them, how large they get."""

from __future__ import annotations

import pytest
import torch

from gankit.sampling.sheets import Layout, bounded, hidden_channels, page, panel_sheet, sheet


@pytest.mark.parametrize(
    ("shape", "columns", "want"),
    [
        ((4, 3, 96, 96), None, (2 * 96 + 2, 2 * 96 + 2, 3)),
        ((5, 1, 32, 32), None, (2 * 96 + 2, 3 * 96 + 4, 1)),  # 3 times as large, last row not full
        ((3, 3, 100, 50), 8, (100, 3 * 50 + 4, 3)),  # fewer images than columns
        ((1, 1, 1, 1), None, (96, 96, 1)),
        ((2, 3, 5, 7), 1, (2 * 65 + 2, 91, 3)),  # odd, not square
    ],
)
def test_sheet_sizes(shape: tuple[int, ...], columns: int | None, want: tuple[int, ...]) -> None:
    page = sheet(torch.zeros(shape), columns)
    assert page.dtype == torch.uint8
    assert tuple(page.shape) == want


def test_sheet_places_images_row_by_row() -> None:
    tones = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    page = sheet(tones.half(), 2, scale=1, gutter=1)
    assert page[:, :, 0].tolist() == [
        [0, 0, 255, 128, 128],
        [0, 0, 255, 128, 128],
        [255] * 5,
        [255] * 5,
        [255] * 5,
    ]


def test_sheet_of_nan_and_of_nothing() -> None:
    assert (sheet(torch.full((1, 1, 4, 4), float("nan"))) == 128).all()
    for shape in [(0, 3, 4, 4), (3, 4, 4)]:
        with pytest.raises(ValueError, match="images must be"):
            sheet(torch.zeros(shape))


def test_what_is_too_large_is_made_smaller_or_left_out():
    assert sheet(torch.zeros(100, 1, 8, 8), 1, most=200).shape == (198, 8, 1)  # 20 rows, at their own size
    assert sheet(torch.zeros(8, 3, 64, 64), 8, most=200).shape == (23, 198, 3)
    assert max(sheet(torch.zeros(3, 1, 300, 50), 3, most=200).shape) <= 200
    assert max(sheet(torch.zeros(500, 1, 2, 2), 500, most=100).shape) <= 100
    tones = torch.tensor([-1.0, 1.0]).repeat(32).expand(1, 1, 64, 64)
    assert (sheet(tones, most=32) == 128).all()  # the mean of what a pixel stands for, not one of them
    assert bounded(torch.zeros(10, 500, 3, dtype=torch.uint8), 100).shape == (2, 100, 3)


@pytest.mark.parametrize(("channels", "shown", "words"), [(2, 1, "the first of 2"), (5, 3, "the first 3 of 5")])
def test_of_other_channels_some_are_shown(channels, shown, words):
    assert sheet(torch.zeros(2, channels, 4, 4)).shape[2] == shown
    assert words in hidden_channels(channels)
    assert not hidden_channels(1)
    assert not hidden_channels(3)


def inked(picture):
    """Of each column of pixels, whether there is something dark in the band above the images, which are white."""
    return (picture[:, :, 0] < 128).any(0)


def test_each_column_has_its_words_above():
    images = torch.ones(16, 3, 64, 64)
    words = [f"a caption with the number {i}" for i in range(8)]
    picture = sheet(images, 8, words=words)
    plain = sheet(images, 8, scale=2)
    assert picture.shape[1] == plain.shape[1]
    assert picture.shape[0] > plain.shape[0]
    columns = inked(picture).split(130)
    assert len(columns) == 8
    assert all(bool(column.any()) for column in columns)
    blank = sheet(images, 8, words=["", "x", *[""] * 6])
    assert [bool(column.any()) for column in inked(blank).split(130)] == [False, True, *[False] * 6]


@pytest.mark.parametrize(
    "word",
    ["", " ", "Ä ö ß é", "紅い花", "\u202egnp", "a\nb\tc\0d", "\udc80", "🌺" * 40, "w" * 500, "many words " * 60],
)
def test_any_words_can_stand_above(word):
    picture = sheet(torch.ones(2, 1, 8, 8), 2, words=[word, "b"])
    assert picture.shape[1] == 2 * 96 + 2
    assert picture.shape[0] < 96 + 96
    assert not inked(picture)[96:98].any()  # it stays in its column


def test_words_without_freetype(monkeypatch):
    from PIL import ImageFont

    from gankit.sampling import sheets

    monkeypatch.setattr(sheets, "_font", lambda: ImageFont.load_default_imagefont())
    assert inked(sheet(torch.ones(1, 1, 96, 96), 1, words=["花 flower"])).any()


def test_panels_stand_side_by_side_a_row_a_sample():
    grey, small = torch.full((3, 1, 96, 96), -1.0), torch.ones(3, 3, 48, 48)
    picture = panel_sheet({"a": grey, "ab": small})
    band = picture.shape[0] - (3 * 96 + 2 * 2)
    assert band > 0
    assert picture.shape[1:] == (2 * 96 + 2, 3)
    assert (picture[band : band + 96, :96] == 0).all()
    assert (picture[band : band + 96, 98:] == 255).all()
    assert torch.equal(page(small, Layout(panels={"a": grey, "ab": small})), picture)
