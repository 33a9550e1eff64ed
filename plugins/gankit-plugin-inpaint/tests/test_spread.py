"""Colours around a hole spread into it: known pixels stay, holes are smooth, and a filler begins there."""

from __future__ import annotations

import pytest
import torch
from gankit_plugin_inpaint.gated import GatedFiller
from gankit_plugin_inpaint.spread import spread_into


def box(height: int, width: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, height, width)
    mask[..., height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = 1
    return mask


@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 24), (13, 47), (5, 1), (1, 1)])
def test_known_pixels_stay_and_what_is_hidden_counts_for_nothing(height: int, width: int) -> None:
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = box(height, width).expand(2, -1, -1, -1)
    filled = spread_into(images * (1 - mask), mask)
    known = (mask == 0).expand_as(images)
    assert torch.equal(filled[known], images[known])
    assert torch.equal(filled, spread_into(torch.where(mask > 0, 9.0, images), mask))
    assert filled.isfinite().all()
    if known.any():
        assert filled.min() >= images[known].min()
        assert filled.max() <= images[known].max()


def test_a_ramp_goes_on_through_a_hole() -> None:
    """The mean of neighbours is what a ramp is made of."""
    images = torch.linspace(-1, 1, 64).expand(1, 1, 64, 64)
    filled = spread_into(images * (1 - box(64, 64)), box(64, 64))
    assert (filled - images).abs().max() < 0.1  # without: up to 1
    assert (filled - images).abs().mean() < 0.005


def test_one_colour_fills_a_hole_with_itself() -> None:
    images = torch.full((1, 3, 40, 40), 0.25)
    torch.testing.assert_close(spread_into(images * (1 - box(40, 40)), box(40, 40)), images)


def test_of_nothing_known_comes_grey() -> None:
    assert torch.equal(spread_into(torch.zeros(1, 3, 16, 16), torch.ones(1, 1, 16, 16)), torch.zeros(1, 3, 16, 16))


def test_a_filler_begins_with_what_spreads_and_learns_what_to_change() -> None:
    torch.manual_seed(0)
    filler = GatedFiller(3, 8, spread=True)
    mask = box(32, 32).expand(2, -1, -1, -1)
    images = (mask - 0.5).expand(-1, 3, -1, -1)  # what is hidden is another colour, which no surroundings tell
    expected = spread_into(images * (1 - mask), mask)
    for stage in filler(images, mask):
        torch.testing.assert_close(stage, expected)
    optimizer = torch.optim.Adam(filler.parameters(), 3e-3)
    errors = []
    for _ in range(35):
        loss = sum(filler.errors(filler(images, mask), images, mask).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert errors[-1] < 0.7 * errors[0]


def test_a_dark_image_is_judged_as_a_bright_one_is() -> None:
    torch.manual_seed(0)
    filler, mask = GatedFiller(3, 8, spread=True), box(32, 32).expand(2, -1, -1, -1)
    images, drawn = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    seen, along = filler.judged(drawn, images, mask)
    dark, _ = filler.judged(drawn * 0.1 - 0.9, images * 0.1 - 0.9, mask)
    torch.testing.assert_close(dark, seen, rtol=1e-3, atol=1e-3)
    assert along is mask
    grey, _ = filler.judged(*torch.full((2, 2, 3, 32, 32), 0.5), mask)  # no contrast at all
    assert torch.equal(grey, torch.zeros_like(grey))


def test_there_is_nothing_to_be_gained_beyond_the_colours_that_are_shown() -> None:
    filler, mask = GatedFiller(3, 8, spread=True), box(32, 32)
    images, drawn = torch.rand(2, 1, 3, 32, 32) * 2 - 1
    drawn = (9 * drawn.sign()).requires_grad_()
    seen, _ = filler.judged(drawn, images, mask)
    assert torch.equal(seen, filler.judged(drawn.sign(), images, mask)[0])
    (slope,) = torch.autograd.grad(seen.square().sum(), drawn)
    assert not slope.any()
