from __future__ import annotations

import pytest
import torch
from gankit_plugin_infogan.moments import rank_correlation, slant, width
from gankit_plugin_infogan.traversals import correlations, picture
from torch import Tensor, nn


def bars(lean: Tensor, half: Tensor) -> Tensor:
    """Bars (N, 1, 32, 32) of half the width `half`, (N,), that go `lean`, (N,), columns to the right a row upwards."""
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    middle = 15.5 + lean.view(-1, 1, 1) * (15.5 - rows)
    return torch.sigmoid(4 * (half.view(-1, 1, 1) - (columns - middle).abs())).unsqueeze(1) * 2 - 1


class Bars(nn.Module):
    """A generator whose first continuous code is the slant and whose second the width, whatever the category."""

    def forward(self, codes: Tensor, code: Tensor) -> Tensor:
        return bars(codes[:, -2] / 4, 3 - codes[:, -1] + 0.1 * code)


def test_slant_is_columns_a_row() -> None:
    lean = torch.tensor([-0.4, 0.0, 0.2])
    assert slant(bars(lean, torch.full((3,), 2.0))).tolist() == pytest.approx(lean.tolist(), abs=0.01)


def test_width_is_a_standard_deviation() -> None:
    half = torch.tensor([2.0, 4.0, 8.0])
    expected = [2 * value / 12**0.5 for value in half.tolist()]
    assert width(bars(torch.zeros(3), half)).tolist() == pytest.approx(expected, abs=0.2)


def test_a_black_image_leans_nowhere() -> None:
    assert slant(-torch.ones(1, 1, 8, 8)).tolist() == pytest.approx([0], abs=1e-4)


def test_rank_correlation() -> None:
    one = torch.tensor([[1.0, 2.0, 3.0, 4.0]] * 4)
    other = torch.tensor([[1.0, 8.0, 9.0, 100.0], [4.0, 3.0, 2.0, 1.0], [5.0] * 4, [1.0, 2.0, 2.0, 3.0]])
    assert rank_correlation(one, other).tolist() == pytest.approx([1, -1, 0, 0.9487], abs=1e-4)  # the last: scipy's


def test_codes_that_move_a_moment_are_found() -> None:
    found = correlations(Bars(), torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), 4, 2)
    assert found["slant"] == [pytest.approx(1), pytest.approx(0, abs=0.3)]
    assert found["width"][1] == pytest.approx(-1)


def test_a_picture_has_a_row_a_category_and_a_column_a_value() -> None:
    shown = picture(Bars(), torch.zeros(1, 5), 3, 0, 2)
    assert shown.dtype == torch.uint8
    assert shown.shape[1:] == (9 * 96 + 8 * 2, 3)
    assert shown.shape[0] > 3 * 96
