"""The dataset emoji-tones: which drawings, how they are split, and that the truth is where it is said to be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gankit_plugin_emoji.tones import DOMAINS, TEXT_BYTES, EmojiTones, EmojiTonesConfig

from gankit.data.text import decode_text
from gankit.errors import UsageError


def tones(split: str = "train", **options: Any) -> EmojiTones:
    return EmojiTones(EmojiTonesConfig(**{"size": 32} | options), split)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def held_out() -> tuple[EmojiTones, dict[str, torch.Tensor]]:
    data = tones("test", cache=False)
    return data, data.batch(torch.arange(len(data)))


def test_every_drawing_has_every_tone_and_stands_on_one_side() -> None:
    sides = {split: tones(split) for split in ("train", "test")}
    drawings = {}
    for split, data in sides.items():
        assert len(data) % 6 == 0
        names = [one.untoned.name for one in data.members]
        assert all(len(set(names[row : row + 6])) == 1 for row in range(0, len(names), 6))
        assert [one.tone for one in data.members] == list(DOMAINS) * (len(data) // 6)
        drawings[split] = set(names)
    assert len(drawings["train"]) > 280
    assert 15 < len(drawings["test"]) < 40
    assert not drawings["train"] & drawings["test"]
    kin = {split: {one.kin for one in data.members} for split, data in sides.items()}
    assert not kin["train"] & kin["test"]


def test_the_name_is_the_same_in_all_tones_and_no_other_drawing_has_it() -> None:
    texts = []
    for split in ("train", "test"):
        data = tones(split)
        of_rows = decode_text(data.batch(torch.arange(len(data)))["text"])
        assert all(len(set(of_rows[row : row + 6])) == 1 for row in range(0, len(of_rows), 6))
        texts += of_rows[::6]
    assert len(set(texts)) == len(texts)
    assert not any("skin tone" in text for text in texts)
    assert max(len(text.encode()) for text in texts) <= TEXT_BYTES


def test_rows_of_the_same_drawing_in_another_tone(held_out: tuple[EmojiTones, dict[str, torch.Tensor]]) -> None:
    data, batch = held_out
    rows = torch.tensor([0, 7, len(data) - 1, 20])
    wanted = torch.tensor([5, 0, 2, 2])
    others = data.in_tone(rows, wanted)
    assert torch.equal(batch["tone"][others], wanted)
    assert torch.equal(batch["text"][others], batch["text"][rows])
    assert torch.equal(data.in_tone(rows, batch["tone"][rows]), rows)
    assert torch.equal(data.in_tone(rows, 3), data.in_tone(others, 3))


def test_tones_are_seen_and_nothing_else_changes(held_out: tuple[EmojiTones, dict[str, torch.Tensor]]) -> None:
    """Of every drawing: each two tones differ, skin gets darker from light to dark, the ground stays."""
    data, batch = held_out
    images = batch["image"].float().view(-1, 6, 3, 32, 32)
    for one in range(6):
        for other in range(one):
            assert (images[:, one] - images[:, other]).abs().mean((1, 2, 3)).min() > 0.3
    brightness = images[:, 1:].mean((0, 2, 3, 4))
    assert (brightness.diff() < 0).all()
    hand = next(i for i, one in enumerate(data.members) if one.untoned.name == "1F44D") // 6
    most = (images[hand, 1] - images[hand, 5]).sum(0).argmax()
    palm = images[hand].flatten(2)[:, :, most]
    assert palm[0, 0] > 240  # yellow
    assert palm[0, 2] < 120
    assert (palm[1:].mean(1).diff() < 0).all()
    assert (images[:, :, :, 0, 0] == 255).all()


def test_some_tones_alone_in_the_order_of_the_list() -> None:
    data = tones("test", tones=("dark", "light"), cache=False)
    assert data.spec["tone"].names == ("light", "dark")
    whole = tones("test", cache=False)
    batch, all_tones = data.batch(torch.arange(4)), whole.batch(torch.tensor([1, 5, 7, 11]))
    assert torch.equal(batch["image"], all_tones["image"])
    assert batch["tone"].tolist() == [0, 1, 0, 1]
    assert torch.equal(batch["text"], all_tones["text"])
    assert data.in_tone(torch.tensor([0, 3]), 1).tolist() == [1, 3]


@pytest.mark.parametrize(
    ("names", "said"),
    [((), "data.tones names nothing; choose from neutral, light"), (("dark",), "names dark alone; choose two or more")],
)
def test_too_few_tones_are_refused(names: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tones(tones=names)


def test_in_bed_nobody_has_a_tone() -> None:
    assert not any(one.untoned.name == "1F6CC" for split in ("train", "test") for one in tones(split).members)
