from __future__ import annotations

import math

import pytest
import torch
from gankit_plugin_theory.densities import Densities, DensitiesConfig
from gankit_plugin_theory.measures import compare, density, ideal, jensen_shannon, quantiles
from gankit_plugin_theory.mixture import Mixture


def mixture(*means: float, deviation: float = 0.5) -> Mixture:
    count = len(means)
    return Mixture(
        torch.full((count,), 1 / count, dtype=torch.float64),
        torch.tensor(means, dtype=torch.float64),
        torch.full((count,), deviation, dtype=torch.float64),
    )


def test_the_mixture_is_found_from_its_numbers() -> None:
    data = Densities(DensitiesConfig(means=(-3.0, 3.0), deviations=(0.5, 0.1)))
    batch = data.batch(torch.arange(20_000))
    found = Mixture.of(batch["x"], batch["component"])
    assert found.weights.tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert found.means.tolist() == pytest.approx([-3, 3], abs=0.02)
    assert found.deviations.tolist() == pytest.approx([0.5, 0.1], abs=0.01)


def test_mass_is_that_of_the_normal_distribution() -> None:
    borders = torch.tensor([-1.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    normal = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
    below = normal.cdf(borders)
    expected = [below[1], below[2] - below[1], 1 - below[2]]  # the outer parts with all that is outside
    assert mixture(0, deviation=1).mass(borders).tolist() == pytest.approx([float(part) for part in expected])
    assert float(mixture(-7, 1, 3).mass(borders).sum()) == pytest.approx(1)


def test_quantiles_are_the_normal_distribution_without_chance() -> None:
    borders = mixture(0, deviation=1).borders(50)
    drawn = density(quantiles(20_000, torch.device("cpu")), borders)
    assert float((drawn - mixture(0, deviation=1).mass(borders)).abs().max()) < 1e-4


def test_components_are_covered_from_a_quarter_of_their_share_on() -> None:
    two = mixture(-3, 3)
    numbers = torch.cat([torch.full((13, 1), -3.0), torch.full((87, 1), 3.0)])
    assert two.covered(numbers) == 2
    assert two.covered(numbers[1:]) == 1  # 12 of 99 are less than a quarter of a half
    assert two.covered(torch.zeros(100, 1)) == 0  # between them, six deviations from either


def test_jensen_shannon_at_its_ends() -> None:
    p = torch.tensor([0.5, 0.5, 0.0, 0.0], dtype=torch.float64)
    assert jensen_shannon(p, p) == 0
    assert jensen_shannon(p, p.flip(0)) == pytest.approx(math.log(2))


def test_a_density_counts_what_lies_outside() -> None:
    borders = torch.linspace(0, 1, 5, dtype=torch.float64)
    assert density(torch.tensor([[-9.0], [0.1], [9.0], [9.0]]), borders).tolist() == [0.5, 0, 0, 0.5]


def test_the_best_discriminator() -> None:
    p, q = torch.tensor([0.5, 0.5, 0.0, 0.0]), torch.tensor([0.5, 0.0, 0.5, 0.0])
    assert ideal(p, q).tolist() == [0.5, 1, 0, 0.5]


def test_the_end_of_the_game_has_no_error() -> None:
    """The generator draws as the data does, and D = 1/2 everywhere."""
    x = quantiles(5000, torch.device("cpu"))
    measured = compare(mixture(0, deviation=1), x, x, lambda points: torch.zeros(len(points), 1), 50)
    assert measured["jsd"] < 5e-4
    assert measured["d_error"] < 1e-3
    assert measured["v_error"] == pytest.approx(0, abs=1e-6)
    assert measured["covered"] == 1


def test_the_best_discriminator_of_another_generator_has_no_error() -> None:
    """Of two Gaussians of one width, log p / q is a straight line: so is the best discriminator's logit."""
    x = quantiles(50_000, torch.device("cpu"))
    measured = compare(mixture(0, deviation=1), x, x + 1, lambda points: 0.5 - points, 200)
    assert measured["d_error"] < 0.005
    assert measured["jsd"] > 0.05
    # V at the best D is 2 jsd - log 4 (Goodfellow et al. 2014, theorem 1)
    assert measured["v_error"] == pytest.approx(2 * measured["jsd"], abs=0.01)


def test_a_blind_discriminator_is_seen_to_be_wrong() -> None:
    x = quantiles(5000, torch.device("cpu"))
    measured = compare(mixture(0, deviation=1), x, x + 4, lambda points: torch.zeros(len(points), 1), 50)
    assert measured["jsd"] > 0.5
    assert measured["d_error"] > 0.4
    assert measured["covered"] == 0
