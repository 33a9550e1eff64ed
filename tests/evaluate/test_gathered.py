"""Rows that come a few at a time."""

import pytest
import torch

from gankit.evaluate.gathered import Gathered


@pytest.mark.parametrize("sizes", [[5], [2, 3], [1, 1, 0, 3]])
def test_parts_become_one_tensor_of_their_type(sizes: list[int]) -> None:
    whole = torch.arange(20, dtype=torch.int64).view(5, 4)
    kept = Gathered(5)
    for part in whole.split(sizes):
        kept.add(part)
    assert torch.equal(kept.rows(), whole)


def test_rows_that_are_missing_or_too_many_are_noticed() -> None:
    kept = Gathered(3)
    kept.add(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="2 of 3 rows"):
        kept.rows()
    with pytest.raises(RuntimeError):
        kept.add(torch.zeros(2, 4))
    assert Gathered(0).rows().shape == (0,)
