"""The dataset placed-emoji: its boxes, points, captions and grounds are those of its pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gankit_plugin_emoji.grounds import GROUNDS, PHOTOGRAPH
from gankit_plugin_emoji.placed import TEXT_BYTES, PlacedEmoji, PlacedEmojiConfig
from PIL import Image
from pydantic import ValidationError

from gankit.data.text import decode_text
from gankit.errors import UsageError


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def data() -> PlacedEmoji:
    return PlacedEmoji(PlacedEmojiConfig(groups=("food", "animals"), number=500))


@pytest.fixture(scope="module")
def batch(data: PlacedEmoji) -> dict[str, torch.Tensor]:
    return data.batch(torch.arange(200))


def ground_of(batch: dict[str, torch.Tensor]) -> list[str]:
    texts = decode_text(batch["text"])
    grounds = {f"on {name}": name for name in GROUNDS}
    return [next(grounds[part] for part in text.split(", ") if part in grounds) for text in texts]


def test_all_that_is_drawn_is_in_the_box_and_fills_it(batch: dict[str, torch.Tensor]) -> None:
    for image, box, name in zip(batch["image"], batch["box"] * 64, ground_of(batch), strict=True):
        ground = torch.tensor(GROUNDS[name]).view(3, 1, 1)
        differs = (image.int() - ground).abs().amax(0) > 24
        assert differs.any()
        left, top, right, bottom = box.round().int().tolist()
        outside = differs.clone()
        outside[top:bottom, left:right] = False
        assert not outside.any()
        rows, columns = differs.any(1).nonzero().flatten(), differs.any(0).nonzero().flatten()
        slack = [columns[0] - left, rows[0] - top, right - 1 - columns[-1], bottom - 1 - rows[-1]]
        assert max(int(one) for one in slack) <= 4  # light drawings on light grounds


def test_points_lie_on_the_sides_of_the_box(batch: dict[str, torch.Tensor]) -> None:
    box, points = batch["box"], batch["points"]
    assert (points >= box[:, None, :2] - 1e-6).all()
    assert (points <= box[:, None, 2:] + 1e-6).all()
    for point, axis, side in ((0, 0, 0), (1, 1, 1), (2, 0, 2), (3, 1, 3)):
        assert (points[:, point, axis] - box[:, side]).abs().max() < 0.05


def test_a_caption_says_what_and_on_what(data: PlacedEmoji, batch: dict[str, torch.Tensor]) -> None:
    texts, names = decode_text(batch["text"]), data.spec["group"].names
    orders = set()
    for number, (text, group) in enumerate(zip(texts, batch["group"].tolist(), strict=True)):
        drawing = data.members[number % len(data.members)]
        parts = text.split(", ")
        assert len(parts) == 3
        assert names[group] == drawing.group
        assert names[group] in parts
        ground = f"on {ground_of(batch)[number]}"
        (name,) = (part for part in parts if part not in (names[group], ground))
        assert sorted(name.split()) == sorted(drawing.text.replace(",", "").split())
        orders.add(parts.index(names[group]))
    assert orders == {0, 1, 2}
    assert set(ground_of(batch)) == set(GROUNDS)


def test_a_sample_is_the_same_whenever_it_is_asked_for(data: PlacedEmoji, batch: dict[str, torch.Tensor]) -> None:
    again = PlacedEmoji(data.config).batch(torch.tensor([199, 3, 3]))
    for key, values in again.items():
        assert torch.equal(values, batch[key][[199, 3, 3]])
    assert PlacedEmoji(data.config).fingerprint() == data.fingerprint()
    empty = data.batch(torch.empty(0, dtype=torch.int64))
    assert empty["image"].shape == (0, 3, 64, 64)
    assert empty["text"].shape == (0, TEXT_BYTES)


def test_no_drawing_is_in_both_splits(data: PlacedEmoji) -> None:
    held_out = PlacedEmoji(data.config, "test")
    assert len(held_out) == 50
    assert not {one.kin for one in data.members} & {one.kin for one in held_out.members}
    images = held_out.batch(torch.arange(50))["image"]
    assert not torch.equal(images, data.batch(torch.arange(50))["image"])


def test_longest_caption_fits() -> None:
    data = PlacedEmoji(PlacedEmojiConfig(size=32, number=2500))
    longest = max(len(one.text) + len(str(one.group)) for one in data.members)
    assert longest + len(f", , on {PHOTOGRAPH}") <= TEXT_BYTES


def test_half_stand_on_photographs(tmp_path: Path, batch: dict[str, torch.Tensor]) -> None:
    """Each photograph of a colour of its own, by which a ground is known again; one is held out."""
    colours = {"a.png": (200, 0, 0), "b.png": (0, 200, 0), "c.png": (0, 0, 200), "d.png": (200, 200, 0)}
    for name, colour in colours.items():
        Image.new("RGB", (120, 90), colour).save(tmp_path / name)
    options = {"groups": ("food", "animals"), "number": 500, "photographs": str(tmp_path)}
    data, held_out = (PlacedEmoji(PlacedEmojiConfig(**options), split) for split in ("train", "test"))
    drawn, others = data.batch(torch.arange(200)), held_out.batch(torch.arange(40))
    photographs = torch.tensor([f"on {PHOTOGRAPH}" in text for text in decode_text(drawn["text"])])
    assert torch.equal(drawn["image"][~photographs], batch["image"][~photographs])
    assert torch.equal(drawn["box"], batch["box"])
    count = len(data.members)
    twice = [
        f"on {PHOTOGRAPH}" in text for text in decode_text(data.batch(torch.tensor([0, 1, count, count + 1]))["text"])
    ]
    assert twice[:2] == [not one for one in twice[2:]]  # each drawing stands on both kinds of ground
    assert 0.4 < photographs.float().mean() < 0.6
    again = PlacedEmoji(data.config).batch(torch.tensor([199, 3, 100]))
    assert all(torch.equal(values, drawn[key][[199, 3, 100]]) for key, values in again.items())
    assert data._photographs is not None
    train = data._photographs.files
    assert len(train) == 3
    left = {colour for name, colour in colours.items() if name not in train}
    for images, wanted in ((drawn["image"][photographs], set(colours.values()) - left), (others["image"][1::2], left)):
        corners = {tuple(int(part) for part in image[:, y, x]) for image in images for y in (0, -1) for x in (0, -1)}
        assert corners & set(colours.values()) == wanted
    assert data.fingerprint() != PlacedEmoji(PlacedEmojiConfig(groups=("food", "animals"), number=500)).fingerprint()


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "read.me").touch()
    for name, said in (("empty", r"no images in .*: found 1 \.me; looked for \.bmp"), ("nowhere", "not there")):
        with pytest.raises(UsageError, match=said):
            PlacedEmoji(PlacedEmojiConfig(photographs=str(tmp_path / name)))
    (empty / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"none of the 1 image files in .* can be read; .*broken\.jpg"):
        PlacedEmoji(PlacedEmojiConfig(photographs=str(empty))).batch(torch.arange(2))
    with pytest.raises(ValidationError, match="least"):
        PlacedEmojiConfig(least=0.8, most=0.5)
    with pytest.raises(UsageError, match="names nothing"):
        PlacedEmoji(PlacedEmojiConfig(groups=()))
