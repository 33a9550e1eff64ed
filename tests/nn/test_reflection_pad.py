"""Reflection at the borders: torch's values and gradients of both orders, and nothing kept."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gankit.bench.kept import kept_bytes
from gankit.nn import ReflectionPad2d


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(2, 3, 8, 5), (1, 1, 4, 4), (0, 2, 5, 5)])
def test_values_gradients_and_layout_are_torchs(shape: tuple, dtype: torch.dtype, layout: torch.memory_format) -> None:
    images = torch.randn(shape).to(dtype).contiguous(memory_format=layout)
    ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    padded, wanted = ReflectionPad2d(3)(ours), F.pad(theirs, [3] * 4, "reflect")
    assert torch.equal(padded, wanted)
    assert padded.stride() == wanted.stride()
    weight = torch.randn(padded.shape).to(dtype).contiguous(memory_format=layout)
    (padded * weight).sum().backward()
    (wanted * weight).sum().backward()
    assert torch.equal(ours.grad, theirs.grad)


def test_gradients_of_both_orders() -> None:
    images = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    pad = ReflectionPad2d(2)
    assert torch.autograd.gradcheck(lambda x: pad(x).square(), images)
    assert torch.autograd.gradgradcheck(lambda x: pad(x).square(), images)


def test_nothing_is_kept() -> None:
    images = torch.randn(1, 4, 32, 32, requires_grad=True)
    assert kept_bytes(lambda: ReflectionPad2d(1)(images).sum(), ()) == 0
    assert kept_bytes(lambda: F.pad(images, [1] * 4, "reflect").sum(), ()) == images.nbytes


def test_a_border_wider_than_the_image_is_refused() -> None:
    for requires_grad in (False, True):
        with pytest.raises(RuntimeError, match=r"[Pp]adding size"):
            ReflectionPad2d(3)(torch.zeros(1, 1, 3, 3, requires_grad=requires_grad))


def test_many_gradients_at_once() -> None:
    images = torch.randn(1, 2, 6, 6, requires_grad=True)
    ours, theirs = ReflectionPad2d(1)(images), F.pad(images, [1] * 4, "reflect")
    many = torch.randn(3, *ours.shape)
    found = [torch.autograd.grad(y, images, many, is_grads_batched=True)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*found)


def test_it_compiles_and_maps() -> None:
    images = torch.randn(3, 1, 2, 6, 6)
    assert torch.equal(torch.vmap(ReflectionPad2d(1))(images)[1], ReflectionPad2d(1)(images[1]))
    found = torch.func.vmap(torch.func.grad(lambda x: ReflectionPad2d(1)(x).square().sum()))(images)
    wanted = torch.func.vmap(torch.func.grad(lambda x: F.pad(x, [1] * 4, "reflect").square().sum()))(images)
    torch.testing.assert_close(found, wanted)
