from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gankit.data.faults import fault, spec_fault
from gankit.data.kinds import KINDS, describe, kind_of
from gankit.data.text import encode_text
from gankit.plugin import DataSpec, Key

KEYS = {
    "image": Key(kind="image", shape=(3, 5, 7)),
    "pixel": Key(kind="image", shape=(1, 1, 1), of="image"),
    "mask": Key(kind="mask", shape=(1, 9, 4)),
    "box": Key(kind="box", shape=(4,)),
    "boxes": Key(kind="box", shape=(2, 3, 4)),
    "points": Key(kind="points", shape=(3, 2), mirror=(1, 0, 2)),
    "seen": Key(kind="points", shape=(1, 3)),
    "label": Key(kind="class", names=("a", "b", "c")),
    "one": Key(kind="class", names=("only",)),
    "text": Key(kind="text", shape=(11,)),
    "letter": Key(kind="text", shape=(1,)),
    "vector": Key(kind="vector", shape=(2, 3)),
    "number": Key(kind="vector"),
}
SPEC = DataSpec(keys=KEYS)


def made_up(name: str, number: int = 200, seed: int = 0) -> Tensor:
    return kind_of(KEYS[name]).made_up(KEYS[name], number, torch.Generator().manual_seed(seed))


def test_every_kind_of_the_contract_has_a_row() -> None:
    from typing import get_args

    from gankit.dataset import Kind

    assert set(KINDS) == set(get_args(Kind)) == {key.kind for key in KEYS.values()}
    assert spec_fault(SPEC) == ""


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("number", [0, 1, 200])
def test_what_is_made_up_is_valid_and_becomes_what_a_step_gets(name: str, number: int) -> None:
    key, values = KEYS[name], made_up(name, number)
    assert fault(key, values, number) == ""
    assert torch.equal(values, made_up(name, number))
    if number > 1 and name != "one":
        assert not torch.equal(values, made_up(name, number, seed=1))
    got = kind_of(key).to_step(values)
    assert got.dtype == kind_of(key).step_dtype
    assert got.shape == values.shape
    assert torch.equal(values, made_up(name, number))  # which has not changed what it was given


def test_made_up_values_cover_their_range() -> None:
    left, top, right, bottom = made_up("boxes").unbind(-1)
    assert ((left < right) & (top < bottom)).all()
    assert 0 <= min(left.min(), top.min()) < max(right.max(), bottom.max()) <= 1
    assert set(made_up("label").tolist()) == {0, 1, 2}
    assert set(made_up("mask").unique().tolist()) == {0, 255}
    assert set(made_up("seen")[..., 2].unique().tolist()) == {0, 1}
    assert 0 <= made_up("points").min() < 0.1 < 0.9 < made_up("points").max() <= 1
    assert {len(bytes(row).rstrip(b"\0")) for row in made_up("text").numpy()} == set(range(1, 12))


def test_images_and_masks_are_converted_exactly() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    image, mask = KINDS["image"].to_step(every), KINDS["mask"].to_step(every)
    assert (image.min(), image.max()) == (-1, 1)
    assert torch.equal(mask, every / 255)
    assert (mask.min(), mask.max()) == (0, 1)


def test_words() -> None:
    assert describe(SPEC) == {
        "image": "image 3x5x7",
        "pixel": "image 1x1x1",
        "mask": "mask 1x9x4",
        "box": "box",
        "boxes": "2x3 boxes",
        "points": "3 points",
        "seen": "1 point, visible or not",
        "label": "class, one of 3",
        "one": "class, one of 1",
        "text": "text of up to 11 bytes",
        "letter": "text of up to 1 bytes",
        "vector": "vector 2x3",
        "number": "number",
    }


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("key", "values", "text"),
    [
        (KEYS["label"], torch.tensor([0, 3]), "has classes 0 to 3; there are 3, counted from 0"),
        (KEYS["label"], torch.tensor([-1, 2]), "has classes -1 to 2"),
        (KEYS["label"], torch.tensor([0, 2], dtype=torch.int32), "is int32 (2,); its spec says int64 (2,)"),
        (KEYS["label"], torch.tensor([[0], [2]]), "is int64 (2, 1); its spec says int64 (2,)"),
        (KEYS["label"], torch.tensor([0]), "is int64 (1,); its spec says int64 (2,)"),
        (KEYS["label"], [0, 1], "is a list, not a tensor"),
        (KEYS["label"], torch.empty(2, dtype=torch.int64, device="meta"), "is on meta; batch() returns CPU tensors"),
        (KEYS["number"], torch.tensor([0.0, NAN]), "is not finite"),
        (KEYS["box"], torch.tensor([[0, 0, 1, INF], [0, 0, 1, 1]]), "is not finite"),
        (KEYS["box"], torch.tensor([[0.5, 0, 0.4, 1], [0, 0, 1, 1]]), "left side is right of its right side"),
        (KEYS["box"], torch.tensor([[0, 0, 1, 1], [0, 0.5, 1, 0.4]]), "top is below its bottom"),
        (KEYS["box"], torch.tensor([[0.5, 0.5, 0.5, 0.5], [-1, -1, 2, 2]]), ""),
        (KEYS["seen"], torch.tensor([[[0, 0, 0.5]], [[0, 0, 1]]]), "visibility that is neither 0 nor 1"),
        (KEYS["seen"], torch.tensor([[[-1, 2, 0.0]], [[0, 0, 1]]]), ""),
        (KEYS["text"], encode_text(["grüß", ""], 11), ""),
        (KEYS["text"], torch.tensor([[195] + [0] * 10, [97] * 11], dtype=torch.uint8), "is not UTF-8"),
        (KEYS["text"], torch.tensor([[97, 0, 97] + [0] * 8, [97] * 11], dtype=torch.uint8), "zero byte inside"),
    ],
)
def test_what_is_wrong_with_values_is_said(key: Key, values: Any, text: str) -> None:
    said = fault(key, values, 2)
    assert text in said if text else said == ""


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (Key(kind="photo"), "unknown kind 'photo'; there are image, mask"),  # type: ignore[arg-type]
        (Key(kind="image", shape=(8, 8)), "3 dimensions, its shape says (8, 8)"),
        (Key(kind="image", shape=(3, 0, 8)), "shape (3, 0, 8) has an empty dimension"),
        (Key(kind="mask", shape=(3, 8, 8)), "(1, H, W), not (3, 8, 8)"),
        (Key(kind="box"), "ends in 4, not ()"),
        (Key(kind="box", shape=(4, 2)), "ends in 4, not (4, 2)"),
        (Key(kind="points", shape=(2,)), "(K, 2) or (K, 3), not (2,)"),
        (Key(kind="points", shape=(5, 4)), "(K, 2) or (K, 3), not (5, 4)"),
        (Key(kind="points", shape=(2, 2), mirror=(1,)), "has the mirror (1,)"),
        (Key(kind="points", shape=(3, 2), mirror=(1, 2, 0)), "has the mirror (1, 2, 0)"),
        (Key(kind="points", shape=(2, 2), mirror=(-1, -2)), "has the mirror (-1, -2)"),
        (Key(kind="class", shape=(1,), names=("a",)), "0 dimensions, its shape says (1,)"),
        (Key(kind="class"), "needs the names of its classes"),
        (Key(kind="text"), "1 dimension, its shape says ()"),
        (Key(kind="box", shape=(4,), of="photo"), "it is of 'photo', which is no image; there are image, pixel"),
        (Key(kind="box", shape=(4,), of="label"), "it is of 'label', which is no image"),
        (
            Key(kind="class", names=("a", "b"), like="label"),
            "it is like 'label', which is no key with the same classes",
        ),
        (Key(kind="class", names=("a", "b"), like="colour"), "it is like 'colour', which is no key"),
        (Key(kind="image", shape=(1, 2, 2), of="key"), "`of` leads in a circle, to 'key'"),
    ],
)
def test_what_is_wrong_with_a_key_is_said(key: Key, text: str) -> None:
    said = spec_fault(DataSpec(keys={**KEYS, "key": key}))
    assert said.startswith("key 'key'")
    assert text in said


def test_a_circle_of_images_is_said_and_a_chain_is_not() -> None:
    def chain(last: str | None) -> DataSpec:
        return DataSpec(
            keys={
                "a": Key(kind="image", shape=(1, 2, 2), of=last),
                "b": Key(kind="image", shape=(1, 2, 2), of="a"),
                "c": Key(kind="image", shape=(1, 2, 2), of="b"),
                "box": Key(kind="box", shape=(4,), of="c"),
            }
        )

    assert spec_fault(chain(None)) == ""
    assert chain(None).moves_with("box") == "a"
    assert "circle" in spec_fault(chain("c"))
