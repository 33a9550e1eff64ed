"""Ops on random shapes, layouts, dtypes and alignments against float64, and captured in graphs."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from norm_cases import TOLERANCE, assert_close, call, channels_last, in_float64, make, randn

from gankit.ops import instance_norm_act, leaky_relu, patchgan_d_loss, patchgan_g_loss
from gankit.ops.instance_norm_act import instance_norm_act_reference
from gankit.ops.leaky_relu import leaky_relu_reference
from gankit.ops.patchgan_loss import KINDS, patchgan_d_loss_reference, patchgan_g_loss_reference

pytestmark = pytest.mark.usefixtures("device")
ROUNDING: dict[torch.dtype, dict[str, float]] = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-14},
    torch.float32: {"rtol": 3e-6, "atol": 1e-6},
    torch.bfloat16: {"rtol": 1.6e-2, "atol": 1e-6},
    torch.float16: {"rtol": 2e-3, "atol": 1e-6},
}
LOSSES: dict[str, Any] = {
    "d": (patchgan_d_loss, patchgan_d_loss_reference),
    "g": (lambda real, fake, kind: patchgan_g_loss(fake, kind), lambda r, f, kind: patchgan_g_loss_reference(f, kind)),
}


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    """Whatever the other tests run in."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def test_leaky_relu_of_random_shapes_layouts_dtypes_and_alignments(device: str) -> None:
    """Against float64; many more on a GPU, whose kernels are chosen by length and alignment."""
    rng = random.Random(0)
    torch.manual_seed(0)
    for _ in range(1000 if device == "cuda" else 60):
        dtype = rng.choice(list(ROUNDING))
        shape = (rng.randint(1, 6), rng.randint(1, 70), *(rng.randint(1, 40) for _ in range(rng.randint(0, 2))))
        order = [0, *range(2, len(shape)), 1] if rng.random() < 0.5 else list(range(len(shape)))

        def tensor(offset: int, order: list[int] = order, shape: Any = shape, dtype: Any = dtype) -> torch.Tensor:
            laid_out = [shape[d] for d in order]
            flat = torch.randn(offset + math.prod(shape)).to(dtype)[offset:]
            return flat.view(laid_out).permute([order.index(d) for d in range(len(shape))])

        x, grad = (tensor(rng.choice((0, 0, 0, 1, 2, 3, 4, 5))) for _ in range(2))
        bias = torch.randn(shape[1]).to(rng.choice((dtype, torch.float32))).requires_grad_()
        leaf, wide = x.requires_grad_(), x.detach().double().requires_grad_()
        wide_bias = bias.detach().double().requires_grad_()
        y, expected = leaky_relu(leaf, bias), leaky_relu_reference(wide, wide_bias)
        torch.testing.assert_close(y, expected.to(dtype), **ROUNDING[dtype])
        dx, db = torch.autograd.grad(y, (leaf, bias), grad)
        # The sign decides, and a sum near zero may round to it: ask the result for it.
        rx = torch.where(y.detach() > 0, grad.double(), grad.double() * 0.2)
        torch.testing.assert_close(dx, rx.to(dtype), **ROUNDING[dtype])
        rb = rx.sum([d for d in range(x.dim()) if d != 1])
        scale = 1.0 + float(grad.double().abs().sum()) / shape[1]
        tolerance = max(ROUNDING[dtype]["rtol"], ROUNDING[bias.dtype]["rtol"])
        torch.testing.assert_close(
            db.double(), rb, rtol=tolerance, atol=1e-6 * scale if dtype != torch.float64 else 1e-6
        )


def test_losses_of_random_scales_sizes_dtypes_and_alignments(device: str) -> None:
    """Against float64; many more on a GPU, whose kernel is one launch for all maps."""
    rng = random.Random(0)
    torch.manual_seed(0)
    for _ in range(1000 if device == "cuda" else 60):
        dtype, kind, player = rng.choice(list(ROUNDING)), rng.choice(KINDS), rng.choice(list(LOSSES))
        scales = rng.choice((1, 1, 2, 3, 20))
        maps: list[list[torch.Tensor]] = [[], []]
        for i in range(2 * scales):
            size, offset = rng.choice((1, 7, 64, 900, 4096, 30000)) + rng.randint(0, 9), rng.choice((0, 0, 1, 3))
            maps[i % 2].append(torch.randn(size + offset).mul(2).to(dtype)[offset:].requires_grad_())
        wide = [[x.detach().double().requires_grad_() for x in some] for some in maps]
        loss, reference = LOSSES[player]
        got, expected = loss(*maps, kind), reference(*wide, kind)
        tolerance = {"rtol": 1e-12, "atol": 1e-14} if dtype == torch.float64 else {"rtol": 2e-6, "atol": 2e-6}
        torch.testing.assert_close(got.double(), expected, **tolerance)
        have = torch.autograd.grad(got * 4096, [*maps[0], *maps[1]], allow_unused=True)
        want = torch.autograd.grad(expected * 4096, [*wide[0], *wide[1]], allow_unused=True)
        for h, w in zip(have, want, strict=True):
            assert (h is None) == (w is None)
            if h is not None and w is not None:
                torch.testing.assert_close(h, w.to(dtype), **ROUNDING[dtype])


def test_leaky_relu_captured_in_a_graph(device: str) -> None:
    if device != "cuda":
        pytest.skip("graphs are captured on GPUs")
    for shape in ((2, 5, 33, 35), (4, 7, 3, 3)):
        x, bias = torch.randn(shape, requires_grad=True), torch.randn(shape[1], requires_grad=True)
        grad = torch.randn(shape)
        torch.autograd.grad(leaky_relu(x, bias), (x, bias), grad)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = leaky_relu(x, bias)
            gradients = torch.autograd.grad(y, (x, bias), grad)
        with torch.no_grad():
            x.normal_()
        graph.replay()
        expected = leaky_relu(x, bias)
        torch.testing.assert_close(y, expected, rtol=0, atol=0)
        torch.testing.assert_close(gradients, torch.autograd.grad(expected, (x, bias), grad), rtol=0, atol=0)


def test_losses_captured_in_a_graph(device: str) -> None:
    if device != "cuda":
        pytest.skip("graphs are captured on GPUs")
    for shape in ((2, 1, 30, 30), (8, 1, 130, 129)):  # one block; several, which count themselves
        real, fake = (torch.randn(shape, requires_grad=True) for _ in range(2))
        torch.autograd.grad(patchgan_d_loss(real, fake), (real, fake))
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = patchgan_d_loss(real, fake)
            gradients = torch.autograd.grad(loss, (real, fake))
        for _ in range(3):
            with torch.no_grad():
                fake.normal_()
            graph.replay()
            expected = patchgan_d_loss(real, fake)
            torch.testing.assert_close(loss, expected, rtol=0, atol=0)
            torch.testing.assert_close(gradients, torch.autograd.grad(expected, (real, fake)), rtol=0, atol=0)


def test_instance_norm_act_of_random_shapes_layouts_dtypes_and_alignments(device: str):
    """Many more on a GPU, whose kernels are chosen by size and alignment."""
    rng = random.Random(0)
    for case in range(1000 if device == "cuda" else 40):
        dtype = rng.choice(list(TOLERANCE))
        side = rng.choice((4, 40, 40, 200))
        shape = (rng.randint(1, 4), rng.randint(1, 40), rng.randint(2, side), rng.randint(1, side))
        order = (0, 2, 3, 1) if rng.random() < 0.5 else (0, 1, 2, 3)

        def draw(seed, shape=shape, order=order, dtype=dtype):
            offset = rng.choice((0, 0, 0, 1, 2, 3, 4, 5))
            flat = randn((offset + math.prod(shape),), seed).to(dtype)[offset:]
            return flat.view([shape[d] for d in order]).permute([order.index(d) for d in range(4)])

        x, residual, seed = draw(3 * case).requires_grad_(), draw(3 * case + 1), draw(3 * case + 2)
        affine = [randn(shape[1:2], case).to(rng.choice((dtype, torch.float32 if dtype != torch.float64 else dtype)))]
        affine.append(affine[0].flip(0))
        weight, bias = (rng.choice((t.requires_grad_(), None)) for t in affine)
        tensors = {"x": x, "weight": weight, "bias": bias, "residual": rng.choice((residual, None))}
        wide = in_float64(tensors)
        recoverable = tensors["residual"] is None and weight is None
        keep_input = rng.choice((None, False)) if recoverable else None
        y = call(instance_norm_act, tensors, negative_slope=0.2, eps=0.1, keep_input=keep_input)
        expected = call(instance_norm_act_reference, wide, negative_slope=0.2, eps=0.1)
        assert_close(y, expected, dtype)
        pre = call(instance_norm_act_reference, {**wide, "residual": None}, eps=0.1).detach()
        seed = torch.where(pre.abs() < 0.02, 0, seed)
        keys = [k for k in ("x", "weight", "bias") if tensors[k] is not None]
        grads = torch.autograd.grad(y, [tensors[k] for k in keys], seed, create_graph=True)
        references = torch.autograd.grad(expected, [wide[k] for k in keys], seed.double(), create_graph=True)
        for key, grad, reference in zip(keys, grads, references, strict=True):
            size = y.numel() // y.shape[1] if key != "x" else 1
            assert_close(grad.detach(), reference.detach(), dtype, times=8 * size**0.5)
        (twice,) = torch.autograd.grad((grads[0] * residual).sum(), x)
        (reference,) = torch.autograd.grad((references[0] * residual.double()).sum(), wide["x"])
        scale = 1 + reference.abs().max()
        assert_close(twice / scale, reference / scale, dtype, times=8)


def test_instance_norm_act_captured_in_a_graph(device: str):
    if device != "cuda":
        pytest.skip("graphs are captured on GPUs")
    for shape, last in itertools.product(((2, 5, 33, 35), (1, 2, 700, 700)), (False, True)):
        tensors = make(shape, torch.float32, last=last)
        leaves, seed = list(tensors.values()), channels_last(randn(shape).float()) if last else randn(shape).float()
        torch.autograd.grad(call(instance_norm_act, tensors, negative_slope=0.2), leaves, seed)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = call(instance_norm_act, tensors, negative_slope=0.2)
            gradients = torch.autograd.grad(y, leaves, seed, create_graph=True)
            (twice,) = torch.autograd.grad(gradients[0], tensors["x"], seed)
        with torch.no_grad():
            tensors["x"].normal_()
        graph.replay()
        expected = call(instance_norm_act, tensors, negative_slope=0.2)
        torch.testing.assert_close(y, expected, rtol=0, atol=0)
        wanted = torch.autograd.grad(expected, leaves, seed, create_graph=True)
        torch.testing.assert_close(gradients, wanted, rtol=0, atol=0)
        torch.testing.assert_close(twice, torch.autograd.grad(wanted[0], tensors["x"], seed)[0], rtol=0, atol=0)
