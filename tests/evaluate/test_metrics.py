"""Metrics: against closed forms, against other computations, and on the inputs that break careless ones."""

import math

import pytest
import torch

from gankit.evaluate import metrics as measure
from gankit.evaluate.patches import Patches, between, distance, levels


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


class TestFrechetDistance:
    def test_equals_the_closed_form_for_diagonal_covariances(self) -> None:
        # standardised samples have exactly the moments that are then given to them
        x = normal(4000, 3).double()
        x = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T.cov()), (x - x.mean(0)).T, upper=False).T
        deviations, shift = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([1.0, 0.0, -2.0]).double()
        expected = float(shift.square().sum() + (deviations - 1).square().sum())
        assert measure.frechet_distance(x, x * deviations + shift) == pytest.approx(expected, abs=1e-9)

    def test_agrees_with_the_general_square_root(self) -> None:
        linalg = pytest.importorskip("scipy.linalg")
        a, b = normal(200, 6), normal(150, 6, 1) @ normal(6, 6, 2)
        ca, cb = a.double().T.cov().numpy(), b.double().T.cov().numpy()
        means = (a.double().mean(0) - b.double().mean(0)).square().sum()
        expected = float(means) + (ca + cb - 2 * linalg.sqrtm(ca @ cb).real).trace()
        assert measure.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)

    def test_same_samples_are_at_distance_zero(self) -> None:
        x = normal(50, 8) * 100
        assert measure.frechet_distance(x, x) == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("n", [1, 2, 5])
    def test_singular_covariances_are_no_special_case(self, n: int) -> None:
        value = measure.frechet_distance(normal(n, 20), torch.ones(n, 20))
        assert math.isfinite(value)
        assert value > 0

    @pytest.mark.parametrize("shape", [(0, 4), (3, 5), (3,)])
    def test_refuses_what_has_no_answer(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="features must be"):
            measure.frechet_distance(normal(3, 4), torch.zeros(shape))


class TestPrecisionRecall:
    def test_left_out_half_lowers_recall_only(self) -> None:
        real = torch.cat([normal(100, 4), normal(100, 4, 1) + 50])
        precision, recall = measure.precision_recall(real, normal(100, 4, 2))
        assert precision > 0.8
        assert 0.35 < recall < 0.5

    def test_rubbish_lowers_precision(self) -> None:
        fake = torch.cat([normal(100, 4, 1), normal(100, 4, 2) * 0.01 + 50])
        precision, recall = measure.precision_recall(normal(200, 4), fake)
        assert precision < 0.55
        assert recall > 0.7

    def test_needs_more_than_k(self) -> None:
        with pytest.raises(ValueError, match="more than k = 3"):
            measure.precision_recall(normal(3, 4), normal(9, 4))


class TestDiversity:
    def test_one_for_the_same_spread_and_zero_for_collapse(self) -> None:
        real, label = normal(80, 64).view(80, 1, 8, 8), torch.arange(80) % 2
        other = normal(80, 64, 1).view(80, 1, 8, 8).clone()
        assert measure.diversity(real, other, label, label)[0] == pytest.approx(1, abs=0.1)
        other[label == 1] = other[1].clone()  # one of the two classes collapses
        mean, worst = measure.diversity(real, other, label, label)
        assert worst == pytest.approx(0, abs=1e-6)
        assert mean == pytest.approx(0.5, abs=0.1)

    def test_collapse_within_classes_shows_though_classes_differ(self) -> None:
        real, label = normal(80, 64).view(80, 1, 8, 8), torch.arange(80) % 2
        fake = label.float().view(-1, 1, 1, 1).expand(80, 1, 8, 8)
        assert measure.diversity(real, fake)[0] > 0.1
        assert measure.diversity(real, fake, label, label) == (0, 0)

    def test_fine_noise_is_no_variety(self) -> None:
        smooth = torch.nn.functional.interpolate(normal(40, 16).view(40, 1, 4, 4), (128, 128))
        noise = smooth[:1] + normal(40, 128 * 128, 3).view(40, 1, 128, 128)
        assert measure.diversity(smooth, noise)[0] < 0.25

    def test_undefined_is_nan(self) -> None:
        assert all(math.isnan(value) for value in measure.diversity(torch.zeros(5, 1, 8, 8), torch.zeros(1, 1, 8, 8)))
        assert all(math.isnan(value) for value in measure.diversity(torch.zeros(5, 1, 8, 8), torch.zeros(5, 1, 8, 8)))


def sliced_wasserstein(real: torch.Tensor, fake: torch.Tensor, seed: int = 0) -> dict[int, float]:
    channels, height, width = real.shape[1:]
    wanted = levels(min(len(real), len(fake)), (channels, height, width), seed)
    sides = Patches(wanted, channels), Patches(wanted, channels)
    for side, images in zip(sides, (real, fake), strict=True):
        for part in images.split(3):  # a few at a time, as samples come
            side.add(part)
    return distance(*sides)


class TestSlicedWasserstein:
    def test_zero_for_the_same_images_and_larger_for_other_textures(self) -> None:
        real = normal(40, 3 * 64 * 48).view(40, 3, 64, 48)
        fake = torch.nn.functional.avg_pool2d(real, 3, 1, 1)
        assert sliced_wasserstein(real, real) == {48: 0, 24: 0}
        again = normal(40, 3 * 64 * 48, 1).view(40, 3, 64, 48)
        alike, blurred = sliced_wasserstein(real, again), sliced_wasserstein(real, fake)
        assert blurred[48] > 1.4 * alike[48]

    def test_is_repeatable_and_depends_on_the_seed(self) -> None:
        a, b = normal(8, 16 * 16).view(8, 1, 16, 16), normal(8, 16 * 16, 1).view(8, 1, 16, 16)
        assert sliced_wasserstein(a, b) == sliced_wasserstein(a, b)
        assert sliced_wasserstein(a, b) != sliced_wasserstein(a, b, seed=1)

    def test_constant_images_give_a_number(self) -> None:
        values = sliced_wasserstein(normal(4, 7 * 9).view(4, 1, 7, 9), torch.zeros(4, 1, 7, 9))
        assert all(math.isfinite(value) and value > 0 for value in values.values())

    @pytest.mark.parametrize(("n", "shape"), [(0, (1, 16, 16)), (4, (1, 6, 16))])
    def test_refuses(self, n: int, shape: tuple[int, int, int]) -> None:
        with pytest.raises(ValueError, match="needs images of at least 7x7 pixels"):
            levels(n, shape)


class TestModes:
    def test_equals_the_closed_form(self) -> None:
        real = torch.tensor([[0]] * 30 + [[1]] * 10)
        fake = torch.tensor([[0]] * 5 + [[1]] * 15)
        likely = [30.5 / 41, 10.5 / 41]
        expected = 0.25 * math.log(0.25 / likely[0]) + 0.75 * math.log(0.75 / likely[1])
        assert measure.modes(real, fake, 2) == (2, pytest.approx(expected))

    def test_of_equal_shares_it_is_nothing(self) -> None:
        classes = torch.cartesian_prod(torch.arange(4), torch.arange(5)).repeat(50, 1)
        assert measure.modes(classes, classes[torch.randperm(1000)], 20) == (20, pytest.approx(0, abs=1e-12))

    def test_one_mode_of_many_equal_ones_is_as_far_as_there_are_modes(self) -> None:
        real = torch.arange(1000)[:, None].repeat(100, 1)
        assert measure.modes(real, torch.full((50, 1), 7), 1000) == (1, pytest.approx(math.log(1000)))

    def test_what_no_real_image_shows_is_unlikely_and_not_impossible(self) -> None:
        count, distance = measure.modes(torch.zeros(10, 1, dtype=torch.int64), torch.ones(5, 1, dtype=torch.int64), 2)
        assert (count, distance) == (1, pytest.approx(math.log(11 / 0.5)))

    def test_of_nothing_it_is_not_defined(self) -> None:
        count, distance = measure.modes(torch.zeros(3, 2, dtype=torch.int64), torch.zeros(0, 2, dtype=torch.int64), 4)
        assert count == 0
        assert math.isnan(distance)
        assert measure.modes(torch.zeros(0, 1, dtype=torch.int64), torch.zeros(4, 1, dtype=torch.int64), 2)[0] == 1

    def test_more_combinations_than_a_number_holds(self) -> None:
        classes = torch.randint(2, (100, 90), generator=torch.Generator().manual_seed(0))
        count, distance = measure.modes(classes, classes, 2**90)
        assert count == 100
        assert math.isfinite(distance)


def test_the_distance_between_two_sets_is_none_of_one_and_itself() -> None:
    images = torch.rand(20, 3, 24, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    smooth = torch.nn.functional.avg_pool2d(images, 5, 1, 2)
    assert between(images, images) == 0
    assert between(images, images.roll(1, 0)) < between(images, smooth) / 2
