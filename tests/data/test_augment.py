from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from gankit.data.augment import DiffAugment, Moves, geometric
from gankit.errors import UsageError

POLICIES = ["color", "translation", "cutout"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(*shape: int) -> Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).view(shape)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(5, 3, 8, 8), (4, 1, 7, 5), (2, 3, 1, 1), (0, 3, 4, 4), (3, 3, 1, 6)])
def test_geometric_only_moves_pixels(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images = numbered(*shape).remainder(250).to(dtype)
    moved = geometric(images, flip=True, crop=3, generator=generator())
    assert moved.shape == images.shape
    assert moved.dtype == dtype
    for before, after in zip(images.flatten(1), moved.flatten(1), strict=True):
        assert set(after.tolist()) <= set(before.tolist())


def test_flip_mirrors_half_of_the_images() -> None:
    images = numbered(400, 1, 2, 3)
    moved = geometric(images, flip=True, crop=0, generator=generator())
    flipped = (moved == images.flip(3)).flatten(1).all(1)
    assert ((moved == images).flatten(1).all(1) ^ flipped).all()
    assert 160 < flipped.sum() < 240


def test_crop_is_a_window_of_the_reflected_image() -> None:
    images = torch.rand(60, 2, 6, 5, generator=generator())
    wide = torch.nn.functional.pad(images, (2, 2, 2, 2), mode="reflect")
    moved = geometric(images, flip=False, crop=2, generator=generator(1))
    places = set()
    for number, image in enumerate(moved):
        fits = [
            (top, left)
            for top, left in itertools.product(range(5), repeat=2)
            if torch.equal(image, wide[number, :, top : top + 6, left : left + 5])
        ]
        assert len(fits) == 1
        places.update(fits)
    assert len(places) > 15  # of 25


def test_geometric_off_gives_the_same_tensor_and_seeds_repeat() -> None:
    images = torch.rand(4, 3, 8, 8)
    assert geometric(images, flip=False, crop=0, generator=generator()) is images
    first, second = (geometric(images, flip=True, crop=2, generator=generator(5)) for _ in range(2))
    assert torch.equal(first, second)


def test_images_that_belong_together_move_together() -> None:
    moves = Moves.draw(6, flip=True, crop=2, generator=generator())
    image, mask = torch.rand(6, 3, 9, 9), torch.rand(6, 1, 9, 9)
    both = moves(torch.cat([image, mask], 1))
    assert torch.equal(both[:, :3], moves(image))
    assert torch.equal(both[:, 3:], moves(mask))


@pytest.mark.parametrize("policy", [[], *[[name] for name in POLICIES], POLICIES])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(4, 3, 16, 16), (3, 1, 7, 9), (1, 3, 1, 1), (0, 3, 8, 8)])
def test_diff_augment_keeps_shape_type_and_layout(
    shape: tuple[int, ...], dtype: torch.dtype, policy: Sequence[str]
) -> None:
    images = torch.rand(shape, generator=generator()).mul(2).sub(1).to(dtype)
    augment = DiffAugment(policy)
    plain = augment(images, generator(1))
    last = augment(images.contiguous(memory_format=torch.channels_last), generator(1))
    assert plain.shape == images.shape
    assert plain.dtype == last.dtype == dtype
    assert not len(images) or last.is_contiguous(memory_format=torch.channels_last)
    assert plain.is_contiguous()
    torch.testing.assert_close(last, plain)
    assert torch.equal(plain, augment(images, generator(1)))


@pytest.mark.parametrize("policy", [*[[name] for name in POLICIES], POLICIES])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_first_and_second_derivatives(policy: Sequence[str], channels: int, layout: torch.memory_format) -> None:
    images = torch.rand(3, channels, 6, 5, dtype=torch.float64, generator=generator()).contiguous(memory_format=layout)
    images.requires_grad_()

    def squared(images: Tensor) -> Tensor:  # the augmentations are linear: a square gives the second order something
        return DiffAugment(policy)(images, generator(2)).square()

    assert torch.autograd.gradcheck(squared, (images,))
    assert torch.autograd.gradgradcheck(squared, (images,))


def test_color_stays_within_its_ranges() -> None:
    images = torch.rand(300, 3, 4, 4, generator=generator()) * 2 - 1
    seen = DiffAugment(["color"])(images, generator(1))
    brightness = (seen - images).mean((1, 2, 3))
    assert -0.5 <= brightness.min() < -0.4
    assert 0.4 < brightness.max() <= 0.5
    grey = torch.stack([images.mean(1), seen.mean(1)])
    contrast = grey.std((2, 3))[1] / grey.std((2, 3))[0]  # saturation leaves the mean over channels alone
    assert 0.5 <= contrast.min() < 0.55
    assert 1.45 < contrast.max() <= 1.5 + 1e-5


def test_translation_shifts_by_an_eighth_at_most_and_brings_in_zeros() -> None:
    images = torch.rand(200, 1, 16, 24, generator=generator()) + 1
    seen = DiffAugment(["translation"])(images, generator(1))
    wide = torch.nn.functional.pad(images, (3, 3, 2, 2))
    places = set()
    for number, image in enumerate(seen):
        fits = [
            (top, left)
            for top in range(5)
            for left in range(7)
            if torch.equal(image, wide[number, :, top : top + 16, left : left + 24])
        ]
        assert len(fits) == 1
        places.update(fits)
    assert len(places) == 35


def test_cutout_hides_a_box_of_half_the_sides() -> None:
    seen = DiffAugment(["cutout"])(torch.ones(500, 3, 16, 12), generator())
    hidden = seen[:, 0] == 0
    assert torch.equal(seen, (~hidden)[:, None].expand(-1, 3, -1, -1).float())
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.sum((1, 2)), rows * columns)  # a box
    assert (rows.max(), columns.max()) == (8, 6)
    assert (rows.min(), columns.min()) == (4, 3)  # centred on the border
    assert hidden.any(0).all()


def test_draws_come_from_the_generator_alone() -> None:
    images = torch.rand(4, 3, 8, 8)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    DiffAugment(POLICIES)(images, generator())
    geometric(images, flip=True, crop=1, generator=generator())
    assert torch.equal(torch.get_rng_state(), state)


def test_nan_goes_through_and_an_unknown_policy_is_named() -> None:
    images = torch.full((2, 3, 8, 8), float("nan"))
    assert DiffAugment(POLICIES)(images, generator()).isnan().any()
    with pytest.raises(UsageError, match="'colour'; it takes color, translation, cutout"):
        DiffAugment(["colour"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    images = torch.rand(4, 3, 16, 16, device="cuda", requires_grad=True)
    there = torch.Generator("cuda").manual_seed(0)
    DiffAugment(POLICIES)(geometric(images, flip=True, crop=2, generator=there), there).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
