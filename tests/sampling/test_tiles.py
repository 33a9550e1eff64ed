"""Large images in tiles: every pixel is covered, joined without seams, at any size."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from gankit.sampling.tiles import Tiles, starts


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 100, 101])
@pytest.mark.parametrize("overlap", [0, 2, 4])
def test_tiles_cover_a_side_and_overlap(length: int, overlap: int) -> None:
    places = starts(length, 8, overlap)
    assert places[0] == 0
    if length <= 8:
        assert places == [0]
        return
    assert places[-1] == length - 8
    assert all(0 < b - a <= 8 - overlap for a, b in pairwise(places))
    assert len(places) <= -(-(length - overlap) // (8 - overlap))


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (8, 8), (8, 9), (31, 23), (64, 50)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_what_a_model_does_pixel_by_pixel_is_done_to_the_whole(size: tuple[int, int], overlap: float) -> None:
    image = torch.rand(3, *size)
    tiles = Tiles(image, (8, 8), overlap)
    for tile in tiles:
        assert tile.shape == (3, 8, 8)
        assert not tiles.complete
        tiles.add(1 - tile[:1])
    assert tiles.complete
    torch.testing.assert_close(tiles.joined(), 1 - image[:1])


def test_tiles_that_differ_meet_without_a_step() -> None:
    """A model that makes every tile lighter or darker than the one beside it: over the overlap the greys run across."""
    image = torch.zeros(1, 64, 64)
    steps = {}
    for overlap in (0.0, 0.5):
        tiles = Tiles(image, (16, 16), overlap)
        for number, tile in enumerate(tiles):
            tiles.add(tile + number % 2)
        joined = tiles.joined()
        assert joined.min() >= 0
        assert joined.max() <= 1
        steps[overlap] = max(joined.diff(dim=1).abs().max().item(), joined.diff(dim=2).abs().max().item())
    assert steps[0.0] == 1
    assert steps[0.5] <= 2 / 16


def test_where_tiles_overlap_what_is_invisible_tints_nothing() -> None:
    """One tile draws a red that is there, its neighbour a green that is not: between them stands red."""
    tiles = Tiles(torch.zeros(4, 8, 12), (8, 8), 0.5)
    assert len(list(tiles)) == 2
    red, green = torch.full((4, 8, 8), -1.0), torch.full((4, 8, 8), -1.0)
    red[0], red[3], green[1] = 1.0, 1.0, 1.0
    tiles.add(red)
    tiles.add(green)
    joined = tiles.joined()
    seen = joined[3] > -0.99
    assert 8 * 4 < int(seen.sum()) <= 8 * 8
    assert (joined[0, seen] > 0.999).all()
    assert (joined[1:3, seen] < -0.999).all()
    assert float(joined[3, 0, 5]) < 1  # it fades
