"""Pictures given beside the images to translate: which goes with which, what is missing, what is kept of each file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from holes import Anywhere, Chosen, Filler, Holes, Labelled, Photos
from PIL import Image
from tiny_gan import SMALL, Blobs, BlobsConfig

import gankit
from gankit.errors import UsageError
from gankit.events import Note

SIDES = {"a": (0, 8), "b": (8, 16), "c": (0, 16)}
"""Columns that the mask of each photo hides."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    options = {**SMALL, "steps": 1, "sample_n": 2}
    return gankit.train(Filler, Holes(BlobsConfig()), out=tmp_path_factory.mktemp("run"), **options)


def save(path: Path, columns: tuple[int, int], size: int = 16) -> None:
    values = np.zeros((size, size), np.uint8)
    values[:, columns[0] : columns[1]] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 200, (16, 16), np.uint8)
    for name in ("a.png", "deep/b.png", "deep/c.png"):
        (tmp_path / "photos" / "deep").mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def filled(path: Path) -> list[bool]:
    """Of each column of an image, whether it is white, but for what stretching does."""
    return (np.asarray(Image.open(path)) > 220).all(0).tolist()


def test_a_directory_is_paired_by_names_whatever_its_order(run, photos, tmp_path):
    save(tmp_path / "masks" / "a.bmp", SIDES["a"])
    save(tmp_path / "masks" / "deep" / "c.png", SIDES["c"])
    save(tmp_path / "masks" / "0.png", (0, 1))  # comes first, and goes with none
    notes: list[Note] = []
    tell = lambda event: notes.append(event) if isinstance(event, Note) else None  # noqa: E731
    given = {"mask": [str(tmp_path / "masks")]}
    pairs = run.change_files("translate", photos, tmp_path / "out", given=given, on_event=tell)
    assert [pair.name for pair in pairs if pair.error] == ["deep/b.png"]
    assert "has none of that name (deep/b.*)" in pairs[1].error
    assert not pairs[1].target.exists()
    assert all(filled(pairs[0].target)[:7])
    assert not any(filled(pairs[0].target)[9:])
    assert all(filled(pairs[2].target))
    assert [pair.conditions["mask"] for pair in pairs] == [
        str(tmp_path / "masks" / "a.bmp"),
        None,
        str(tmp_path / "masks" / "deep" / "c.png"),
    ]
    assert [note.text for note in notes] == ["mask: no image goes with 0.png"]


def test_a_broken_partner_costs_its_image_alone(run, photos, tmp_path):
    for name in ("a.png", "deep/c.png"):
        save(tmp_path / "masks" / name, SIDES["c"])
    (tmp_path / "masks" / "deep" / "b.png").write_bytes(b"nothing")
    pairs = run.change_files("translate", photos, tmp_path / "out", given={"mask": tmp_path / "masks"})
    assert [bool(pair.error) for pair in pairs] == [False, True, False]
    assert pairs[1].error.startswith("deep/b.png: its mask: ")


def test_one_serves_all_and_several_are_as_many(run, photos, tmp_path):
    save(tmp_path / "m.png", SIDES["c"])
    pairs = run.change_files("translate", photos, tmp_path / "out", given={"mask": [str(tmp_path / "m.png")]})
    assert all(all(filled(pair.target)) for pair in pairs)
    two = {"mask": [str(tmp_path / "m.png")] * 2}
    with pytest.raises(UsageError, match="mask: 2 of them for 3 images; give one for all, as many as images"):
        run.change_files("translate", photos, tmp_path / "more", given=two)
    save(tmp_path / "others" / "z.png", SIDES["c"])
    with pytest.raises(UsageError, match=r"mask: of z\.png in .*others none is named like an image \(a\.png"):
        run.change_files("translate", photos, tmp_path / "more", given={"mask": tmp_path / "others"})
    assert not (tmp_path / "more").exists()


def test_what_the_mask_leaves_out_is_the_files_own(run, photos, tmp_path):
    save(tmp_path / "m.png", (0, 4))
    (pair,) = run.change_files("translate", photos / "a.png", tmp_path / "x.png", given={"mask": tmp_path / "m.png"})
    before, after = (np.asarray(Image.open(path)) for path in (photos / "a.png", pair.target))
    assert (after[:, 6:] == before[:, 6:]).all()  # but for a pixel of the model, two of the file
    assert (after[:, :3] > 220).all()


def test_in_python(run, photos, tmp_path):
    save(tmp_path / "masks" / "a.png", SIDES["a"])
    save(tmp_path / "masks" / "deep" / "b.png", SIDES["b"])
    files = [photos / "a.png", photos / "deep" / "b.png"]
    with pytest.raises(UsageError, match=r"b\.png: mask=.* has none of that name"):
        run.translate(files, given={"mask": tmp_path / "masks"})
    with pytest.raises(UsageError, match="these images have no names"):
        run.translate(torch.zeros(1, 8, 8), given={"mask": tmp_path / "masks"})
    samples = run.translate(torch.zeros(2, 1, 8, 8), given={"mask": -torch.ones(1, 8, 8)})
    assert [record["mask"] for record in samples.records] == [0, 0]
    assert samples.images.abs().max() < 0.1


def test_what_must_come_from_the_user(run, photos, tmp_path):
    asked = r"Filler asks for a mask with each image.*: give --given mask=FILE \(an image file, white where it holds"
    with pytest.raises(UsageError, match=asked):
        run.change_files("translate", photos, tmp_path / "out")
    with pytest.raises(UsageError, match="'image' is what the images themselves are"):
        run.translate(torch.zeros(1, 8, 8), given={"image": photos})


def test_a_sheet_of_what_is_given_has_the_variants_own_panels(run, tmp_path):
    given = {"image": torch.zeros(1, 8, 8), "mask": -torch.ones(1, 8, 8)}
    assert list(run.sample(given=given).layout.panels) == ["mask", "hole", "filled"]
    assert run.sample(given=given).layout.panels["hole"].abs().max() == 0  # of what was given
    assert list(run.sample(2).layout.panels) == ["hole", "filled"]
    assert len(run.sample(20, given=given).layout.panels["filled"]) == 16
    other = gankit.train(Labelled, Holes(BlobsConfig()), out=tmp_path, **{**SMALL, "steps": 1, "sample_n": 2})
    assert list(other.sample(2).layout.panels) == ["label"]
    assert list(other.sample(given=given).layout.panels) == ["image", "mask", "sample"]


def test_a_mask_to_keep_by_must_be_given_with_files_though_the_data_has_none(photos, tmp_path):
    options = {**SMALL, "steps": 1, "sample_n": 2}
    run = gankit.train(Anywhere, Blobs(BlobsConfig()), out=tmp_path / "run", **options)
    with pytest.raises(UsageError, match=r"Anywhere asks for a mask with each image: give --given mask=FILE"):
        run.change_files("translate", photos, tmp_path / "out")
    save(tmp_path / "m.png", SIDES["c"])
    pairs = run.change_files("translate", photos, tmp_path / "out", given={"mask": tmp_path / "m.png"})
    assert all(all(filled(pair.target)) for pair in pairs)
    assert list(run.sample(2).layout.panels) == ["before", "after"]


def test_a_variant_may_say_itself_which_images_it_works_on(tmp_path):
    options = {**SMALL, "steps": 1, "sample_n": 2}
    run = gankit.train(Chosen, Photos(BlobsConfig()), out=tmp_path / "run", **options)
    shown = run.sample(2).layout.panels
    assert (shown["after"][..., :4] == 1).all()
    assert torch.allclose(shown["after"][..., 4:], shown["before"][..., 4:] / 2)
    with pytest.raises(UsageError, match="has no photo, which Chosen requires"):
        gankit.train(Chosen, Holes(BlobsConfig()), out=tmp_path / "other", **options)
