"""Dataset paired-folder: pairs in one file or two, names that match or not, odd sizes; and grey-folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import paint
from PIL import Image

from gankit.data.fingerprint import difference
from gankit.data.grey import GreyFolder, GreyFolderConfig
from gankit.data.images import load, resize, to_tensor
from gankit.data.loader import Loader, check_batch
from gankit.data.paired import PairedFolder, PairedFolderConfig
from gankit.errors import UsageError


def paired(split: str = "train", **options: object) -> PairedFolder:
    return PairedFolder(PairedFolderConfig.model_validate({"size": 16, **options}), split)  # type: ignore[arg-type]


def side_by_side(path: Path, left: int, right: int, width: int = 40, height: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((height, width, 3), left, np.uint8)
    picture[:, width - width // 2 :] = right
    Image.fromarray(picture).save(path)


def tones(dataset: PairedFolder) -> list[tuple[int, int]]:
    """The middle pixel of a and of b, of each pair."""
    batch = dataset.batch(torch.arange(len(dataset)))
    return list(zip(*(batch[side][:, 0, 8, 8].tolist() for side in "ab"), strict=True))


def two(root: Path, a: dict[str, int], b: dict[str, int]) -> Path:
    for side, files in (("A", a), ("B", b)):
        for name, tone in files.items():
            paint(root / side / name, tone)
    return root


@pytest.mark.parametrize("ending", ["png", "bmp"])
def test_side_by_side_in_one_file(tmp_path: Path, ending: str) -> None:
    for number in range(5):
        side_by_side(tmp_path / f"train/{number}.{ending}", number, 100 + number)
    for number in range(2):
        side_by_side(tmp_path / f"val/{number}.{ending}", 50 + number, 150 + number)
    train, test = paired(root=str(tmp_path)), paired("test", root=str(tmp_path))
    assert tones(train) == [(n, 100 + n) for n in range(5)]
    assert tones(test) == [(50, 150), (51, 151)]
    assert train.spec["b"].of == "a"
    check_batch(train.batch(torch.tensor([3, 0])), train.spec, 2)
    back = paired(root=str(tmp_path), direction="ba")
    assert tones(back) == [(100 + n, n) for n in range(5)]
    assert train.source(4) == back.source(4) == f"train/4.{ending}"
    assert train.notes() == []


def test_jpeg_decoded_smaller_and_odd_widths(tmp_path: Path) -> None:
    """A half has nothing of the other in it; the middle column of an odd width belongs to neither."""
    for number, width in enumerate((1200, 1201, 41)):
        side_by_side(tmp_path / f"{number}.{'png' if width == 41 else 'jpg'}", 20, 220, width, width // 2)
    data = paired(root=str(tmp_path), test_fraction=0)
    batch = data.batch(torch.arange(3))
    assert (batch["a"].int() - 20).abs().max() <= 2
    assert (batch["b"].int() - 220).abs().max() <= 2


def test_halves_are_cut_and_resized_like_files(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(np.concatenate([picture, picture[:, ::-1]], 1)).save(tmp_path / "x.png")
    data = paired(root=str(tmp_path), width=24, channels_b=1)
    batch = data.batch(torch.tensor([0]))
    alone = Image.fromarray(picture)
    assert torch.equal(batch["a"][0], to_tensor(resize(alone, (16, 24))))
    assert torch.equal(batch["b"][0], to_tensor(resize(Image.fromarray(picture[:, ::-1]).convert("L"), (16, 24))))
    assert {name: key.shape for name, key in data.spec.keys.items()} == {"a": (3, 16, 24), "b": (1, 16, 24)}


def test_channels_are_those_of_the_keys_whatever_the_direction(tmp_path: Path) -> None:
    side_by_side(tmp_path / "x.png", 10, 200)
    data = paired(root=str(tmp_path), direction="ba", channels_a=1)
    assert data.spec["a"].shape == (1, 16, 16)
    assert tones(data) == [(200, 10)]


@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_equal_names_in_two_directories(tmp_path: Path, direction: str) -> None:
    two(tmp_path, {"x.png": 1, "deep/y.jpg": 2, "z.bmp": 3}, {"z.png": 103, "x.png": 101, "deep/y.png": 102})
    below = paired(root=str(tmp_path), direction=direction, test_fraction=0)
    named = paired(a=str(tmp_path / "A"), b=str(tmp_path / "B"), direction=direction, test_fraction=0)
    expected = [(2, 102), (1, 101), (3, 103)]
    for data in (below, named):
        assert sorted(tones(data)) == sorted(expected if direction == "ab" else [(b, a) for a, b in expected])
        assert data.notes() == []
    assert below.source(1) == {"ab": "A/x.png", "ba": "B/x.png"}[direction]


def test_splits_of_two_directories(tmp_path: Path) -> None:
    """Names begin anew in each split, as is usual; a side that names none is split like the other."""
    for place, tone in (("train", 0), ("test", 50)):
        for number in range(3):
            paint(tmp_path / f"usual/{place}A/{number}.png", tone + number)
            paint(tmp_path / f"usual/{place}B/{number}.png", 100 + tone + number)
            paint(tmp_path / f"one/A/{place}/{place}{number}.png", tone + number)
            paint(tmp_path / f"one/B/{place}{number}.png", 100 + tone + number)
    for root in ("usual", "one"):
        assert tones(paired(root=str(tmp_path / root))) == [(n, 100 + n) for n in range(3)]
        assert tones(paired("test", root=str(tmp_path / root))) == [(50 + n, 150 + n) for n in range(3)]


def test_pairs_held_out_are_the_same_in_both_directions(tmp_path: Path) -> None:
    two(tmp_path, {f"{n}.png": n for n in range(20)}, {f"{n}.jpg": 100 + n for n in range(20)})
    there, back = (paired("test", root=str(tmp_path), direction=way, test_fraction=0.2) for way in ("ab", "ba"))
    assert len(there) == 4
    assert tones(there) == [(a, b) for b, a in tones(back)]
    train = paired(root=str(tmp_path), test_fraction=0.2)
    assert len(train) == 16
    assert not set(train.files()) & set(there.files())


def test_names_without_a_partner_are_named_and_left_out(tmp_path: Path) -> None:
    many = {f"only{n}.png": n for n in range(7)}
    two(
        tmp_path,
        {"x.png": 1, "y.png": 2, "twice.png": 3, "twice.jpg": 4, **many},
        {"x.jpg": 101, "twice.png": 103, "z.png": 9},
    )
    data = paired(root=str(tmp_path), test_fraction=0)
    assert tones(data) == [(1, 101)]
    notes = data.notes()
    assert any(note.startswith("8 images of a have no partner of their name in b: A/only0.png") for note in notes)
    assert any("and 3 more" in note for note in notes)
    assert "1 images of b have no partner of their name in a: B/z.png" in notes
    assert "1 names belong to several images of a side, and are left out: twice" in notes


def test_accents_are_spelt_in_two_ways(tmp_path: Path) -> None:
    two(tmp_path, {"caf\u00e9.png": 1}, {"cafe\u0301.png": 101})
    assert tones(paired(root=str(tmp_path))) == [(1, 101)]


def test_a_pair_with_a_broken_image_is_left_out_as_one(tmp_path: Path) -> None:
    two(tmp_path, {f"{n}.png": n for n in range(5)}, {f"{n}.png": 100 + n for n in range(5)})
    (tmp_path / "B/1.png").write_bytes(b"")
    (tmp_path / "A/3.png").write_bytes(b"no picture")
    data = paired(root=str(tmp_path), test_fraction=0)
    assert tones(data) == [(n, 100 + n) for n in (0, 2, 4)]
    (note,) = data.notes()
    assert note.startswith("train split: 2 of 5 pairs of images cannot be read and are left out: ")
    assert "B/1.png" in note


def test_pairs_of_other_proportions_are_left_out_unless_stretched(tmp_path: Path) -> None:
    two(tmp_path, {"even.png": 1, "uneven.png": 2}, {"even.png": 101})
    paint(tmp_path / "B/uneven.png", 102, (30, 20))
    data = paired(root=str(tmp_path), test_fraction=0)
    assert tones(data) == [(1, 101)]
    assert "(20x20) and" in data.notes()[0]
    assert "(30x20) have other proportions" in data.notes()[0]
    assert len(paired(root=str(tmp_path), test_fraction=0, fit="stretch")) == 2
    paint(tmp_path / "B/uneven.png", 102, (400, 404))  # a little is rounding; another size is none
    assert len(paired(root=str(tmp_path), test_fraction=0)) == 2


def test_what_does_not_look_like_a_pair_is_told(tmp_path: Path) -> None:
    paint(tmp_path / "x.png", 5)
    data = paired(root=str(tmp_path))
    (note,) = data.notes()
    assert note.startswith("x.png is 20x20: it is taken as two pictures side by side, of 10x20 each.")
    Image.new("RGB", (1, 9)).save(tmp_path / "x.png")
    with pytest.raises(UsageError, match=r"too narrow for two pictures side by side \(1x9\)"):
        len(paired(root=str(tmp_path)))


def test_errors_say_what_was_found(tmp_path: Path) -> None:
    two(tmp_path / "other", {"x.png": 1, "y.png": 2}, {"u.png": 3})
    paint(tmp_path / "half/trainA/1.png", 3)
    (tmp_path / "empty").mkdir()
    for options, words in (
        ({}, r"data\.root is not set; give a directory of pairs of images"),
        ({"root": str(tmp_path / "empty")}, r"no images in .*empty: found no files at all"),
        ({"root": str(tmp_path / "half")}, r"no training images of b in .*: found 1 images in trainA"),
        (
            {"root": str(tmp_path / "other")},
            r"is named like one of b.*a has A/x.png, A/y.png; b has B/u.png",
        ),
        ({"a": str(tmp_path / "other")}, r"data\.b is not set"),
        ({"a": str(tmp_path / "other"), "b": str(tmp_path / "half"), "root": "/"}, "give one directory, or two"),
    ):
        with pytest.raises(UsageError, match=words):
            paired(**options)


@pytest.mark.parametrize("one_file", [True, False])
def test_kept_on_disk_and_not_kept_it_is_the_same(
    tmp_path: Path, one_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is replaced, of either side, is not found again in what was kept."""
    from gankit.data import folder

    def add(number: int, b: int) -> None:
        if one_file:
            side_by_side(tmp_path / f"p/{number}.png", number, b)
        else:
            two(tmp_path / "p", {f"{number}.png": number}, {f"{number}.png": b})

    for number in range(6):
        add(number, 100 + number)
    root = str(tmp_path / "p")
    plain = folder.store_options
    monkeypatch.setattr("gankit.data.paired.store_options", lambda *given: {**plain(*given), "memory": 0})
    for _ in range(2):
        data = paired(root=root, test_fraction=0)
        assert tones(data) == [(n, 100 + n) for n in range(6)]
        assert any("decoded images" in note for note in data.notes())
    assert tones(paired(root=root, test_fraction=0, direction="ba")) == [(100 + n, n) for n in range(6)]
    add(3, 77)
    assert tones(paired(root=root, test_fraction=0))[3] == (3, 77)
    assert tones(paired(root=root, test_fraction=0, cache=False))[3] == (3, 77)


def test_the_fingerprint_says_what_has_changed(tmp_path: Path) -> None:
    two(tmp_path, {f"{n}.png": n for n in range(4)}, {f"{n}.png": 100 + n for n in range(4)})
    first = paired(root=str(tmp_path), test_fraction=0).fingerprint()
    paint(tmp_path / "B/2.png", 7)
    assert difference(first, paired(root=str(tmp_path), test_fraction=0).fingerprint()) == "1 is replaced by another"
    side_by_side(tmp_path / "one/x.png", 1, 2)
    one = paired(root=str(tmp_path / "one")).fingerprint()
    assert one
    side_by_side(tmp_path / "one/x.png", 1, 3)
    assert difference(one, paired(root=str(tmp_path / "one")).fingerprint())


def test_threads_read_the_same_as_one(tmp_path: Path) -> None:
    two(tmp_path, {f"{n}.png": n for n in range(9)}, {f"{n}.png": 100 + n for n in range(9)})
    found = []
    for workers, cache in ((0, True), (3, False)):
        with Loader(paired(root=str(tmp_path), cache=cache), 4, seed=2, workers=workers) as loader:
            batches = [loader.next() for _ in range(6)]
        found.append(torch.stack([torch.cat([batch["a"], batch["b"]], 1) for batch in batches]))
    assert torch.equal(*found)
    assert (found[0][:, :, 3:] - found[0][:, :, :3]).unique().tolist() == [100]


def test_grey_and_colour_of_a_folder(folder: Path) -> None:
    data = GreyFolder(GreyFolderConfig(root=str(folder), size=16, width=20, fit="stretch", test_fraction=0))
    assert {name: key.shape for name, key in data.spec.keys.items()} == {"a": (1, 16, 20), "b": (3, 16, 20)}
    assert data.spec["b"].of == "a"
    batch = data.batch(torch.arange(len(data)))
    check_batch(batch, data.spec, 10)
    for row, file in enumerate(data.files()):
        colour = resize(load(folder / file, 3), (16, 20), "stretch")
        assert torch.equal(batch["b"][row], to_tensor(colour))
        assert torch.equal(batch["a"][row], to_tensor(colour.convert("L")))
    assert "truncated.png" in " ".join(data.notes())


def test_grey_and_colour_with_classes(tmp_path: Path) -> None:
    for name, tone in (("rose", 10), ("tulip", 200)):
        for number in range(3):
            paint(tmp_path / name / f"{number}.png", tone)
    data = GreyFolder(GreyFolderConfig(root=str(tmp_path), size=16, test_fraction=0))
    assert (data.spec["label_a"].of, data.spec["label_a"].like, data.spec["label_b"].of) == ("a", "label_b", "b")
    batch = data.batch(torch.tensor([0, 5]))
    check_batch(batch, data.spec, 2)
    assert batch["label_a"].tolist() == batch["label_b"].tolist() == [0, 1]
