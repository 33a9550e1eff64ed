"""The dataset captioned-emoji: its captions, the colours that they name, and the order of its samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gankit_plugin_emoji.captioned import CAPTIONS, INKS, CaptionedEmoji, CaptionedEmojiConfig, inks_of

from gankit.api import make_session
from gankit.data.text import decode_text
from gankit.errors import UsageError
from gankit.events import Event


def captioned(split: str = "train", **options: Any) -> CaptionedEmoji:
    return CaptionedEmoji(CaptionedEmojiConfig(**{"size": 24, "groups": ("food",)} | options), split)  # type: ignore[arg-type]


def test_every_drawing_has_four_captions_that_differ() -> None:
    data = captioned("test")
    batch = data.batch(torch.arange(len(data)))
    count = len(data.members)
    assert len(data) == CAPTIONS * count
    texts = decode_text(batch["text"])
    for number, drawing in enumerate(data.members):
        own = texts[number::count]
        assert own[0] == drawing.text
        assert own[1] == f"{drawing.text}, food"
        assert own[2].endswith(drawing.text)
        assert len(set(own)) == CAPTIONS
        assert set(own[2].removesuffix(drawing.text).split()) <= {*INKS, "and"}
        assert all(torch.equal(batch["image"][number], batch["image"][number + k * count]) for k in range(CAPTIONS))
        assert data.source(number + count) == data.source(number)


def test_captions_that_are_cut_are_told_of() -> None:
    assert captioned("test").notes() == []
    (note,) = captioned("test", text_length=16).notes()
    assert note.startswith("test split: ")
    assert "captions are cut after 16 bytes" in note


def test_a_batch_depends_on_its_indices_alone_and_splits_share_no_drawing() -> None:
    train, test = captioned(), captioned("test")
    some = torch.tensor([len(train) - 1, 0, 3])
    one, again = train.batch(some), captioned().batch(some)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not {drawing.kin for drawing in train.members} & {drawing.kin for drawing in test.members}
    assert train.fingerprint() != test.fingerprint()
    assert train.batch(torch.empty(0, dtype=torch.int64))["image"].shape == (0, 3, 24, 24)


def test_named_are_the_colours_that_fill_most() -> None:
    image = np.full((3, 10, 10), 255, np.uint8)
    assert inks_of(image) == []
    image[:, :6] = np.frombuffer(bytes.fromhex(INKS["red"][0]), np.uint8).reshape(3, 1, 1)
    image[:, 6:8, :5] = np.frombuffer(bytes.fromhex(INKS["green"][0]), np.uint8).reshape(3, 1, 1)
    image[:, 9] = 0
    assert inks_of(image) == ["red"]  # green fills a tenth, and black is the outline
    image[:, 6:8] = np.frombuffer(bytes.fromhex(INKS["green"][0]), np.uint8).reshape(3, 1, 1)
    assert inks_of(image) == ["red", "green"]
    assert inks_of(np.zeros((3, 4, 4), np.uint8)) == ["black"]


def test_captions_do_not_depend_on_how_it_is_drawn() -> None:
    one, other = captioned("test"), captioned("test", background="#00ff80", size=40, zoom=1.3, cache=False)
    some = torch.arange(len(one))
    assert torch.equal(one.batch(some)["text"], other.batch(some)["text"])
    assert not torch.equal(one.batch(some[:1])["image"][..., 0, 0], other.batch(some[:1])["image"][..., 0, 0])


def test_all_is_drawn_before_the_first_batch_and_no_group_is_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.groups"):
        captioned(groups=())
    data = captioned("test", cache=False)
    told: list[Event] = []
    assert not data.in_memory
    data.load(told.append)
    assert data.in_memory
    assert told


def test_stackgan_trains_on_it_and_keeps_its_best_by_captions() -> None:
    session = make_session(
        "stackgan",
        "captioned-emoji",
        device="cpu",
        stage=1,
        steps=2,
        batch_size=8,
        eval_every=0,
        text={"steps": 2, "image_steps": 1},
        g1_width=4,
        d_width=4,
        data={"size": 32, "groups": ("food",)},
    )
    session.begin()
    session.train_step(0)
    assert session.variant.metric == "r_precision"
