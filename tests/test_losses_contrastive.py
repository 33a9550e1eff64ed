from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from gankit.losses import patch_nce


def unit(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype), dim=-1)


def test_by_hand() -> None:
    """Two places at right angles, of which the second's query has turned halfway to the first's key."""
    key = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    half = math.sqrt(0.5)
    query = torch.tensor([[[1.0, 0.0], [half, half]]])
    first = -math.log(math.exp(1 / 0.5) / (math.exp(1 / 0.5) + math.exp(0)))
    second = math.log(2)  # both keys are as near
    assert patch_nce(query, key, 0.5).item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_it_is_a_cross_entropy_within_each_image() -> None:
    query, key = unit(3, 5, 4), unit(3, 5, 4).flip(2)
    logits = torch.stack([q @ k.T for q, k in zip(query, key, strict=True)]) / 0.07
    want = F.cross_entropy(logits.flatten(0, 1), torch.arange(5).repeat(3))
    assert patch_nce(query, key).item() == pytest.approx(want.item(), rel=1e-9)
    alone = torch.stack([patch_nce(query[i : i + 1], key[i : i + 1]) for i in range(3)]).mean()
    assert alone.item() == pytest.approx(want.item(), rel=1e-9)
    assert patch_nce(query[:, :1], key[:, :1]).item() == pytest.approx(0, abs=1e-12)  # of one place there is no doubt


def test_gradients() -> None:
    query, key = unit(2, 3, 4).requires_grad_(), unit(2, 3, 4).neg().requires_grad_()
    assert torch.autograd.gradcheck(lambda q: patch_nce(q, key.detach(), 0.3), (query,))
    assert torch.autograd.gradgradcheck(lambda q: patch_nce(q, key.detach(), 0.3), (query,))
    patch_nce(query, key).backward()
    assert key.grad is None


def test_sixteen_bits_are_computed_in_thirty_two() -> None:
    query, key = unit(2, 8, 16).bfloat16(), unit(2, 8, 16).bfloat16().flip(1)
    want = patch_nce(query.float(), key.float())
    with torch.autocast("cpu", torch.bfloat16):
        got, of_floats = patch_nce(query, key), patch_nce(query.float(), key.float())
    assert got.dtype is of_floats.dtype is torch.float32
    assert torch.equal(got, want)
    assert torch.equal(of_floats, want)


@pytest.mark.parametrize(
    ("query", "key", "temperature", "words"),
    [
        ((2, 3, 4), (2, 4, 4), 0.07, r"alike, not empty; got \(2, 3, 4\) and \(2, 4, 4\)"),
        ((3, 4), (3, 4), 0.07, r"must be \(N, P, D\)"),
        ((2, 0, 4), (2, 0, 4), 0.07, "not empty"),
        ((2, 3, 4), (2, 3, 4), 0.0, r"temperature must be a positive number, got 0\.0"),
        ((2, 3, 4), (2, 3, 4), math.nan, "temperature must be a positive number, got nan"),
    ],
)
def test_what_cannot_be_compared(query, key, temperature, words) -> None:
    with pytest.raises(ValueError, match=words):
        patch_nce(torch.zeros(query), torch.zeros(key), temperature)
