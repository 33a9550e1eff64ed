"""Holes: where they are, how large, and that they follow from the generator alone."""

from __future__ import annotations

import pytest
import torch
from gankit_plugin_inpaint.masks import Holes, boxes, centre, draw_holes, strokes
from gankit_plugin_inpaint.variant import InpaintConfig
from pydantic import ValidationError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [(64, 64), (24, 56), (1, 9)])
@pytest.mark.parametrize("holes", [Holes(), Holes(boxes=None), Holes(strokes=None)])
def test_masks_are_ones_and_zeros_and_none_is_empty(size: tuple[int, int], holes: Holes) -> None:
    masks = draw_holes(holes, 50, size, generator())
    assert masks.shape == (50, 1, *size)
    assert masks.unique().tolist() in ([0, 1], [1])
    assert (masks.flatten(1).sum(1) > 0).all()
    assert torch.equal(masks, draw_holes(holes, 50, size, generator()))
    assert not torch.equal(masks, draw_holes(holes, 50, size, generator(1))) or min(size) == 1


def test_boxes_have_the_sides_that_are_asked_for_and_stand_anywhere() -> None:
    masks = boxes(500, (40, 80), (0.25, 0.5), generator())[:, 0]
    for there, pixels in ((masks.any(2), 40), (masks.any(1), 80)):
        extents = there.sum(1)
        assert (extents.min(), extents.max()) == (pixels // 4, pixels // 2)
        assert there[:, 0].any()
        assert there[:, -1].any()
    assert torch.equal(masks.sum((1, 2)), masks.any(2).sum(1).float() * masks.any(1).sum(1))  # filled rectangles
    assert (boxes(3, (8, 8), (1.0, 1.0), generator()) == 1).all()


def test_strokes_are_as_thick_and_as_many_as_is_asked_for() -> None:
    thin = strokes(200, (64, 64), (1, 1), (0.01, 0.01), generator())
    thick = strokes(200, (64, 64), (1, 1), (0.2, 0.2), generator())
    many = strokes(200, (64, 64), (6, 6), (0.01, 0.01), generator())
    assert 0.005 < thin.mean() < 0.05
    assert thick.mean() > 4 * thin.mean()
    assert many.mean() > 3 * thin.mean()
    assert (thick - thin).min() == 0  # along the same lines
    everywhere = strokes(400, (32, 32), (2, 4), (0.05, 0.1), generator()).mean((0, 1))
    assert everywhere.min() > 0.2 * everywhere.max()


def test_a_stroke_is_in_one_piece_and_round() -> None:
    mask = strokes(1, (64, 64), (1, 1), (0.1, 0.1), generator(3))[0, 0].bool()
    seen = torch.zeros_like(mask)
    start = mask.nonzero()[0]
    seen[start[0], start[1]] = True
    for _ in range(64 * 64):
        grown = torch.nn.functional.max_pool2d(seen[None, None].float(), 3, 1, 1)[0, 0].bool() & mask
        if torch.equal(grown, seen):
            break
        seen = grown
    assert torch.equal(seen, mask)


def test_the_centre() -> None:
    mask = centre(2, (8, 12), (2, 3), torch.device("cpu"))
    assert mask.sum().item() == 2 * 4 * 6
    assert mask[0, 0, 2:6, 3:9].all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"box": (0.5, 0.2)}, "the least and the most"),
        ({"box": (0.0, 0.2)}, "fractions above 0"),
        ({"brush": (0.1, 1.5)}, "up to 1"),
        ({"strokes": (0, 3)}, "from 1 to 64"),
        ({"network": "context-encoder", "holes": "boxes"}, "holes cannot be boxes"),
        ({"g_width": 6}, "multiple of 4"),
    ],
)
def test_odd_options_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        InpaintConfig(**options)
