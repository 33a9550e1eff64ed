from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from gankit.data.augment import DiffAugment, check_along, check_p
from gankit.errors import PluginError, UsageError

POLICIES = ["color", "translation", "cutout"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


@pytest.mark.parametrize("policy", [*[[name] for name in POLICIES], POLICIES, []])
@pytest.mark.parametrize("shape", [(4, 3, 16, 16), (3, 1, 7, 9), (1, 3, 1, 1), (0, 3, 8, 8)])
def test_what_goes_along_is_moved_and_cut_and_keeps_its_values(shape: tuple[int, ...], policy: Sequence[str]) -> None:
    """Maps that are the images themselves come out as the images do where no colour is changed."""
    images = torch.rand(shape, generator=generator()) + 1
    number, _, height, width = shape
    maps = torch.cat(
        [images, torch.arange(1.0, height * width + 1).view(1, 1, height, width).expand(number, -1, -1, -1)], 1
    )
    augment = DiffAugment(policy)
    seen, moved = augment(images, generator(3), maps)
    assert torch.equal(seen, augment(images, generator(3)))  # the draws are those without maps
    assert moved.shape == maps.shape
    places = DiffAugment([name for name in policy if name != "color"])
    if "color" not in policy:
        assert torch.equal(moved[:, :-1], seen)
        assert torch.equal(moved, places(maps, generator(3)))
    kept = moved != 0
    assert (kept == kept[:, :1]).all()
    for before, after in zip(maps[:, -1], moved[:, -1], strict=True):
        assert set(after.unique().tolist()) <= {0.0, *before.unique().tolist()}


def test_color_leaves_what_goes_along_alone() -> None:
    images, maps = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    seen, same = DiffAugment(["color"])(images, generator(), maps)
    assert same is maps
    assert not torch.equal(seen, images)


def test_masks_of_any_type_go_along() -> None:
    images = torch.rand(8, 3, 16, 16, generator=generator())
    mask = images[:, :1] > 0.5
    floats = DiffAugment(POLICIES)(images, generator(1), mask.float())[1]
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.float64, torch.bfloat16):
        moved = DiffAugment(POLICIES)(images, generator(1), mask.to(dtype))[1]
        assert torch.equal(moved.float(), floats)
    assert 0 < floats.sum() < mask.sum()


@pytest.mark.parametrize("policy", [*[[name] for name in POLICIES], POLICIES])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_derivatives_of_what_goes_along(policy: Sequence[str], layout: torch.memory_format) -> None:
    images, maps = (torch.rand(3, c, 6, 5, dtype=torch.float64, generator=generator(c)) for c in (3, 2))
    images, maps = (t.contiguous(memory_format=layout).requires_grad_() for t in (images, maps))

    def products(images: Tensor, maps: Tensor) -> Tensor:
        seen, along = DiffAugment(policy)(images, generator(2), maps)
        return seen[:, :2] * along.square()

    assert torch.autograd.gradcheck(products, (images, maps))
    assert torch.autograd.gradgradcheck(products, (images, maps))


@pytest.mark.parametrize("shape", [(2, 1, 8, 9), (2, 1, 4, 4), (3, 1, 8, 8), (1, 1, 8, 8), (2, 8, 8)])
def test_maps_of_other_places_are_refused(shape: tuple[int, ...]) -> None:
    images = torch.rand(2, 3, 8, 8)
    for call in (
        lambda: DiffAugment(POLICIES)(images, generator(), torch.rand(shape)),
        lambda: check_along(images, torch.rand(shape)),
    ):
        with pytest.raises(PluginError, match=r"`along` must be \(2, channels, 8, 8\) like its images, its shape is"):
            call()


def test_draws_come_from_the_generator_alone() -> None:
    images = torch.rand(4, 3, 8, 8)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    DiffAugment(POLICIES)(images, generator())
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
    DiffAugment(POLICIES)(images, there).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


@pytest.mark.parametrize("policy", [*[[name] for name in POLICIES], POLICIES])
def test_each_image_is_augmented_with_a_probability(policy: Sequence[str]) -> None:
    images = torch.rand(400, 3, 16, 16, generator=generator()) + 1
    augment = DiffAugment(policy)
    assert torch.equal(augment(images, generator(1), p=0.0), images)
    with torch.no_grad():
        state = torch.tensor(0.0)
        assert torch.equal(augment(images, generator(1), p=state), images)
        state.fill_(0.3)
        seen = augment(images, generator(1), p=state)
    assert torch.equal(seen, augment(images, generator(1), p=0.3))
    # some translations are by no pixel at all
    still = {"translation": 1 / 25}
    expected = 1.0
    for name in policy:
        expected *= 1 - 0.3 * (1 - still.get(name, 0))
    kept = (seen == images).flatten(1).all(1).float().mean()
    assert abs(kept - expected) < 0.08
    assert not (augment(images, generator(1), p=1.0) == images).flatten(1).all(1).float().mean() > 0.1


def test_what_goes_along_is_chosen_alike_and_derivatives_stand() -> None:
    images = torch.rand(50, 2, 8, 8, generator=generator()) + 1
    places = DiffAugment(["translation", "cutout"])
    seen, along = places(images, generator(1), images, p=0.5)
    assert torch.equal(seen, along)
    assert 0 < (seen == images).flatten(1).all(1).sum() < 50
    few = images[:3].double().requires_grad_()

    def squared(images: Tensor) -> Tensor:
        return DiffAugment(POLICIES)(images, generator(2), p=0.5).square()

    assert torch.autograd.gradcheck(squared, (few,))
    assert torch.autograd.gradgradcheck(squared, (few,))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("number", [0, 3])
def test_a_probability_keeps_type_and_layout(number: int, dtype: torch.dtype, layout: torch.memory_format) -> None:
    images = torch.rand(number, 3, 8, 8, generator=generator()).to(dtype).contiguous(memory_format=layout)
    seen = DiffAugment(POLICIES)(images, generator(1), p=0.5)
    assert (seen.shape, seen.dtype) == (images.shape, dtype)
    assert not number or seen.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    ("p", "text"),
    [(1.5, "not 1.5"), (-0.1, "not -0.1"), (float("nan"), "not nan"), (torch.zeros(2), r"not of shape \(2,\)")],
)
def test_what_is_no_probability_is_refused(p: Tensor | float, text: str) -> None:
    images = torch.rand(2, 3, 8, 8)
    for call in (lambda: DiffAugment(POLICIES)(images, generator(), p=p), lambda: check_p(p)):
        with pytest.raises(PluginError, match=text):
            call()
