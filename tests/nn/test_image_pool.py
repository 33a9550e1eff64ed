"""The history of drawn images: what goes in, what comes out, and that it comes back with a checkpoint."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gankit.nn import ImagePool


def draws(size: int, number: int, seed: int) -> tuple[list[bool], list[int]]:
    """The decisions of a query, drawn as the pool draws them."""
    generator = torch.Generator().manual_seed(seed)
    swap = torch.rand(number, generator=generator) < 0.5
    return swap.tolist(), torch.randint(size, (number,), generator=generator).tolist()


def one_by_one(stored: list[Tensor], size: int, fakes: Tensor, seed: int) -> Tensor:
    """The paper's procedure, image by image; changes `stored`."""
    out = []
    for fake, swap, slot in zip(fakes, *draws(size, len(fakes), seed), strict=True):
        if len(stored) < size:
            stored.append(fake)
            out.append(fake)
        elif swap:
            out.append(stored[slot])
            stored[slot] = fake
        else:
            out.append(fake)
    return torch.stack(out)


@pytest.mark.parametrize(("size", "number"), [(50, 1), (4, 3), (3, 8), (1, 5), (2, 2)])
def test_it_is_the_papers_procedure(size: int, number: int) -> None:
    pool, stored = ImagePool(size, (1, 2, 2)), []
    for turn in range(30):
        fakes = torch.randn(number, 1, 2, 2)
        got = pool.query(fakes, torch.Generator().manual_seed(turn))
        assert torch.equal(got, one_by_one(stored, size, fakes, turn))
        assert int(pool.filled) == len(stored)
        assert torch.equal(pool.images[: len(stored)], torch.stack(stored))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_what_comes_out_is_an_image_that_went_in_of_its_dtype_without_a_graph(dtype: torch.dtype) -> None:
    pool, generator = ImagePool(2, (3, 4, 4)), torch.Generator().manual_seed(0)
    seen: list[Tensor] = []
    for _ in range(12):
        fakes = torch.randn(2, 3, 4, 4, dtype=dtype, requires_grad=True)
        seen += list(fakes)
        out = pool.query(fakes, generator)
        assert out.dtype is dtype
        assert not out.requires_grad
        assert all(any(torch.equal(image, one) for one in seen) for image in out)
    assert pool.images.dtype is torch.float32


def test_half_of_them_are_older_ones() -> None:
    pool, generator = ImagePool(10, (1, 1, 1)), torch.Generator().manual_seed(0)
    older = 0
    for turn in range(1000):
        fake = torch.full((1, 1, 1, 1), float(turn))
        older += int(pool.query(fake, generator).item() != turn)
    assert 450 < older < 540


def test_no_history() -> None:
    pool, fakes = ImagePool(0, (1, 2, 2)), torch.randn(3, 1, 2, 2)
    assert torch.equal(pool.query(fakes, torch.Generator()), fakes)
    assert pool.query(fakes[:0], torch.Generator()).shape == (0, 1, 2, 2)


def test_what_was_drawn_later_does_not_change_what_was_returned() -> None:
    pool, generator = ImagePool(1, (1, 2, 2)), torch.Generator().manual_seed(0)
    outs = [pool.query(torch.full((1, 1, 2, 2), float(i)), generator) for i in range(8)]
    before = [out.clone() for out in outs]
    pool.query(torch.full((4, 1, 2, 2), 99.0), generator)
    assert all(torch.equal(a, b) for a, b in zip(outs, before, strict=True))


def test_it_is_restored_by_its_state_dict() -> None:
    pool, again = ImagePool(3, (1, 2, 2)), ImagePool(3, (1, 2, 2))
    pool.query(torch.randn(2, 1, 2, 2), torch.Generator())
    again.load_state_dict(pool.state_dict())
    fakes = torch.randn(4, 1, 2, 2)
    one, other = (p.query(fakes, torch.Generator().manual_seed(3)) for p in (pool, again))
    assert torch.equal(one, other)
    assert not list(pool.parameters())


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 3, 2, 2), (2, 1, 2, 3)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"fakes must be of shape \(N, 1, 2, 2\), not \("):
        ImagePool(2, (1, 2, 2)).query(torch.zeros(shape), torch.Generator())
    with pytest.raises(ValueError, match="size must be 0 or more"):
        ImagePool(-1, (1, 2, 2))
