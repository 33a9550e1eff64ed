"""Flips and shifts of pictures, boxes and points: what belongs together stays together."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from gankit.data.moves import Grid, Moves


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(*shape: int) -> Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).view(shape)


def draw(number: int, size: tuple[int, int], *, flip: bool = False, crop: float = 0.0, seed: int = 0) -> Moves:
    return Moves.draw(number, flip=flip, grid=Grid.of([size], crop), generator=generator(seed))


def moves(flip: list[bool], shift: list[tuple[int, int]], sides: tuple[int, int]) -> Moves:
    return Moves(torch.tensor(flip), torch.tensor(shift), Grid(sides, (3, 3)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(5, 3, 8, 8), (4, 1, 7, 5), (2, 3, 1, 1), (0, 3, 4, 4), (3, 3, 1, 6)])
def test_pixels_only_move(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images = numbered(*shape).remainder(250).to(dtype)
    moved = draw(shape[0], shape[2:], flip=True, crop=0.4).pixels(images)
    assert moved.shape == images.shape
    assert moved.dtype == dtype
    for before, after in zip(images.flatten(1), moved.flatten(1), strict=True):
        assert set(after.tolist()) <= set(before.tolist())


def test_flip_mirrors_half_of_the_images() -> None:
    images = numbered(400, 1, 2, 3)
    moved = draw(400, (2, 3), flip=True).pixels(images)
    flipped = (moved == images.flip(3)).flatten(1).all(1)
    assert ((moved == images).flatten(1).all(1) ^ flipped).all()
    assert 160 < flipped.sum() < 240


@pytest.mark.parametrize(("height", "width", "crop"), [(6, 5, 0.34), (8, 16, 0.125), (16, 8, 0.49), (10, 10, 0.1)])
def test_a_shift_is_a_window_of_the_reflected_image(height: int, width: int, crop: float) -> None:
    down, right = int(crop * height), int(crop * width)
    images = torch.rand(600, 2, height, width, generator=generator())
    wide = torch.nn.functional.pad(images, (right, right, down, down), mode="reflect")
    moved = draw(600, (height, width), crop=crop, seed=1).pixels(images)
    places = set()
    for number, image in enumerate(moved):
        fits = [
            (top, left)
            for top, left in itertools.product(range(2 * down + 1), range(2 * right + 1))
            if torch.equal(image, wide[number, :, top : top + height, left : left + width])
        ]
        assert len(fits) == 1
        places.update(fits)
    assert len(places) >= 0.9 * (2 * down + 1) * (2 * right + 1)
    assert {top for top, _ in places} == set(range(2 * down + 1))
    assert {left for _, left in places} == set(range(2 * right + 1))


@pytest.mark.parametrize(("crop", "side", "reach"), [(0.29, 100, 29), (0.1, 30, 3), (0.7 / 7, 10, 1), (0.124, 8, 0)])
def test_the_reach_is_in_whole_pixels_of_the_smallest(crop: float, side: int, reach: int) -> None:
    grid = Grid.of([(4 * side, 4 * side), (side, side), (2 * side, side)], crop)
    assert grid == Grid((side, side), (reach, reach))


def test_seeds_repeat_and_layouts_stay() -> None:
    images = torch.rand(6, 3, 8, 8)
    first, second = (draw(6, (8, 8), flip=True, crop=0.25, seed=5).pixels(images) for _ in range(2))
    assert torch.equal(first, second)
    last = draw(6, (8, 8), flip=True, crop=0.25, seed=5).pixels(images.contiguous(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, first)


@pytest.mark.parametrize("factor", [(2, 2), (4, 3), (1, 1)])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 9), (1, 1)])
def test_pictures_of_two_sizes_stay_aligned(size: tuple[int, int], factor: tuple[int, int]) -> None:
    """A pixel of the smaller is a block of the larger, before and after."""
    small = torch.randint(0, 256, (64, 1, *size), dtype=torch.uint8, generator=generator())
    large = small.repeat_interleave(factor[0], 2).repeat_interleave(factor[1], 3)
    both = Moves.draw(64, flip=True, grid=Grid.of([large.shape[2:], size], 0.4), generator=generator())
    moved_small, moved_large = both.pixels(small), both.pixels(large)
    again = moved_small.repeat_interleave(factor[0], 2).repeat_interleave(factor[1], 3)
    for number in range(64):  # where the border is mirrored a block is mirrored, not its pixel: compare what is inside
        shift = (0, 0) if both.shift is None else both.shift[number].tolist()
        mirrored = both.flip is not None and bool(both.flip[number])
        down, right = shift[0] * factor[0], (-1 if mirrored else 1) * shift[1] * factor[1]
        rows = slice(max(down, 0), large.shape[2] + min(down, 0))
        columns = slice(max(right, 0), large.shape[3] + min(right, 0))
        assert torch.equal(moved_large[number, :, rows, columns], again[number, :, rows, columns])


def test_sizes_without_a_common_ratio_are_within_half_a_pixel() -> None:
    ramp = torch.arange(9.0).add(0.5).div(9).expand(64, 1, 9, 9)  # each pixel says where it was
    small = torch.arange(6.0).add(0.5).div(6).expand(64, 1, 6, 6)
    both = Moves.draw(64, flip=False, grid=Grid.of([(9, 9), (6, 6)], 0.34), generator=generator())
    large_moved, small_moved = both.pixels(ramp)[:, 0, 4, 4], both.pixels(small)[:, 0, 3, 2:4].mean(1)
    assert (large_moved - small_moved).abs().max() <= 0.5 / 9 + 1e-6


def spots(size: tuple[int, int], cells: Tensor) -> Tensor:
    """Black pictures (N, 1, H, W) with one white pixel each, at row, column of `cells` (N, 2)."""
    images = torch.zeros(len(cells), 1, *size)
    images[torch.arange(len(cells)), 0, cells[:, 0], cells[:, 1]] = 1
    return images


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (5, 3), (32, 32)])
@pytest.mark.parametrize(("flip", "crop"), [(True, 0.0), (False, 0.34), (True, 0.34)])
def test_boxes_and_points_move_with_what_they_mark(size: tuple[int, int], flip: bool, crop: float) -> None:
    """A box around one white pixel, and a point in its middle, are around and in it afterwards."""
    number, (height, width) = 64, size
    cells = torch.stack([torch.randint(0, side, (number,), generator=generator(side)) for side in size], 1)
    images = spots(size, cells)
    scale = torch.tensor([width, height, width, height])
    box = torch.stack([cells[:, 1], cells[:, 0], cells[:, 1] + 1, cells[:, 0] + 1], 1) / scale
    point = torch.cat([(box[:, :2] + box[:, 2:]) / 2, torch.ones(number, 1)], 1)[:, None]
    both = draw(number, size, flip=flip, crop=crop)
    moved, boxes, points = both.pixels(images), both.boxes(box), both.points(point)
    inside = 0
    for image, (left, top, right, bottom), (x, y, seen) in zip(moved[:, 0], boxes, points[:, 0], strict=True):
        if left == right or top == bottom:  # the pixel is gone, unless its mirror image came in
            assert seen == 0
            assert not (0 <= x <= 1 and 0 <= y <= 1)
            continue
        corners = torch.tensor([left * width, top * height, right * width, bottom * height]).round().int().tolist()
        assert (corners[2] - corners[0], corners[3] - corners[1]) == (1, 1)
        assert image[corners[1], corners[0]] == 1
        assert (int(y * height), int(x * width)) == (corners[1], corners[0])
        assert seen == 1
        inside += 1
    assert inside > number // 4
    assert inside == number or crop


def test_a_box_is_cut_at_the_frame_and_stays_ordered() -> None:
    box = torch.tensor([[[0.0, 0.25, 0.5, 1.0], [0.75, 0.0, 1.0, 0.25]]]).expand(4, -1, -1)
    both = moves([False, False, True, True], [(0, 0), (1, 2), (1, 2), (-3, -1)], (4, 4))
    cut = both.boxes(box)
    assert cut[0].tolist() == box[0].tolist()
    assert cut[1].tolist() == [[0.5, 0.5, 1.0, 1.0], [1.0, 0.25, 1.0, 0.5]]  # the second: empty, at the border
    assert cut[2].tolist() == [[0.0, 0.5, 0.5, 1.0], [0.0, 0.25, 0.0, 0.5]]
    assert cut[3].tolist() == [[0.75, 0.0, 1.0, 0.25], [0.25, 0.0, 0.5, 0.0]]
    many = torch.rand(500, 3, 2, 4, generator=generator()).sort(-1)[0]
    left, top, right, bottom = draw(500, (9, 9), flip=True, crop=0.45).boxes(many).unbind(-1)
    assert ((left <= right) & (top <= bottom)).all()
    assert min(left.min(), top.min()) >= 0
    assert max(right.max(), bottom.max()) <= 1


def test_points_change_places_under_a_flip_only() -> None:
    points = torch.tensor([[[0.25, 0.5], [0.75, 0.5], [0.5, 0.0]]]).expand(2, -1, -1)  # left eye, right eye, nose
    both = Moves(torch.tensor([False, True]), None, Grid((4, 4), (0, 0)))
    assert both.points(points, (1, 0, 2))[0].tolist() == points[0].tolist()
    assert both.points(points, (1, 0, 2))[1].tolist() == [[0.25, 0.5], [0.75, 0.5], [0.5, 0.0]]
    turned = torch.tensor([[[0.0, 0.5, 1.0], [0.625, 0.5, 0.0], [0.5, 0.0, 1.0]]]).expand(2, -1, -1)
    assert both.points(turned, (1, 0, 2))[1].tolist() == [[0.375, 0.5, 0.0], [1.0, 0.5, 1.0], [0.5, 0.0, 1.0]]


def test_points_that_leave_the_frame_are_no_longer_visible() -> None:
    points = torch.tensor([[[0.5, 0.5, 1.0], [0.875, 0.5, 1.0], [0.5, 0.5, 0.0]]]).expand(3, -1, -1)
    both = moves([False, True, False], [(0, 1), (0, 1), (3, 0)], (4, 4))
    moved = both.points(points, (0, 1, 2))
    assert moved[0].tolist() == [[0.75, 0.5, 1.0], [1.125, 0.5, 0.0], [0.75, 0.5, 0.0]]
    assert moved[1].tolist() == [[0.25, 0.5, 1.0], [-0.125, 0.5, 0.0], [0.25, 0.5, 0.0]]
    assert moved[2].tolist() == [[0.5, 1.25, 0.0], [0.875, 1.25, 0.0], [0.5, 1.25, 0.0]]
    assert both.points(points[..., :2])[0].tolist() == [[0.75, 0.5], [1.125, 0.5], [0.75, 0.5]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    there = torch.Generator("cuda").manual_seed(0)
    both = Moves.draw(4, flip=True, grid=Grid.of([(8, 8)], 0.25), generator=there)
    assert both.pixels(torch.rand(4, 3, 8, 8, device="cuda")).is_cuda
    assert both.boxes(torch.rand(4, 2, 4, device="cuda")).is_cuda
    assert both.points(torch.rand(4, 2, 3, device="cuda"), (1, 0)).is_cuda
