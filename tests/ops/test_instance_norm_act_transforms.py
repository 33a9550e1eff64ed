"""instance_norm_act under torch's transforms: opcheck, compile, vmap, forward mode, and without a kernel."""

from __future__ import annotations

import itertools

import pytest
import torch
from norm_cases import TOLERANCE, assert_close, call, in_float64, make
from torch import Tensor
from torch.autograd import forward_ad

from gankit.nn import InstanceNormAct2d
from gankit.ops import _instance_norm_act_plain as plain
from gankit.ops.instance_norm_act import instance_norm_act, instance_norm_act_reference

pytestmark = pytest.mark.usefixtures("device")


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("affine", [False, True])
def test_opcheck(affine, last, grad):
    tensors = make((2, 3, 5, 4), torch.float32, affine=affine, residual=affine, last=last, grad=grad)
    inputs = (*tensors.values(), 0.2, 1e-5)
    ops = torch.ops.gankit
    for from_output in (False, True)[: 1 if affine else 2]:  # not where a residual is added
        torch.library.opcheck(ops.instance_norm_act.default, (*inputs, from_output))
    if not grad:
        torch.library.opcheck(ops.instance_norm_act_forward.default, inputs)
        stats = ops.instance_norm_act_forward(*inputs)[1]
        x, weight, bias, _ = tensors.values()
        known = (torch.randn_like(x), x, weight, bias, stats, 0.2)
        for from_output in (False, True):
            torch.library.opcheck(ops.instance_norm_act_backward.default, (*known, from_output))
            v = (torch.randn_like(x), weight, bias, *known, from_output)
            torch.library.opcheck(ops.instance_norm_act_double_backward.default, v)


def test_fake_mirrors_other_strides():
    x = torch.randn(2, 3, 6, 5).transpose(2, 3)
    torch.library.opcheck(torch.ops.gankit.instance_norm_act.default, (x, None, None, None, 0.2, 1e-5, False))


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
def test_compile_forward_and_backward(last):
    tensors = make((2, 3, 6, 5), torch.float32, last=last)
    compiled = torch.compile(lambda t: call(instance_norm_act, t, negative_slope=0.2).sin(), fullgraph=True)
    y = compiled(tensors)
    expected = call(instance_norm_act, tensors, negative_slope=0.2).sin()
    torch.testing.assert_close(y, expected)
    leaves = list(tensors.values())
    seed = torch.randn_like(y)
    for ours, theirs in zip(
        torch.autograd.grad(y, leaves, seed), torch.autograd.grad(expected, leaves, seed), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_export_with_a_batch_of_any_size():
    """What is kept for backward must not tie the graph to a size."""
    module = InstanceNormAct2d(4, negative_slope=0.2)
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(module, (torch.randn(2, 4, 64, 64),), dynamic_shapes=({0: batch},))
    x = torch.randn(40, 4, 64, 64)
    torch.testing.assert_close(exported.module()(x), module(x))


def test_vmap_and_per_sample_gradients():
    x = torch.randn(4, 2, 3, 5, 5, dtype=torch.float64)
    weight, bias = torch.randn(4, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)

    def each(x: Tensor, weight: Tensor) -> Tensor:
        return instance_norm_act(x, weight, bias, negative_slope=0.2)

    expected = torch.stack([each(a, b) for a, b in zip(x, weight, strict=True)])
    torch.testing.assert_close(torch.func.vmap(each)(x, weight), expected)
    moved = torch.func.vmap(each, in_dims=(2, None), out_dims=1)(x.movedim(0, 2), weight[0])
    torch.testing.assert_close(moved, torch.stack([each(a, weight[0]) for a in x], 1))

    def loss(weight: Tensor, x: Tensor) -> Tensor:
        return each(x, weight).square().sum()

    ours = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight[0], x)
    theirs = torch.stack([torch.func.grad(loss)(weight[0], a) for a in x])
    torch.testing.assert_close(ours, theirs)
    leaf = weight[0].clone().requires_grad_()
    torch.testing.assert_close(theirs[0], torch.autograd.grad(loss(leaf, x[0]), leaf)[0])


def test_batched_gradients():
    """One backward pass for several gradients at once: vmap over the backward op itself."""
    tensors = make((2, 3, 4, 5))
    inputs = [tensors[k] for k in ("x", "weight", "bias")]
    y = call(instance_norm_act, tensors, negative_slope=0.2)
    seeds = torch.randn(3, *y.shape, dtype=y.dtype)
    batched = torch.autograd.grad(y, inputs, seeds, is_grads_batched=True, retain_graph=True)
    for i, seed in enumerate(seeds):
        for ours, theirs in zip(batched, torch.autograd.grad(y, inputs, seed, retain_graph=True), strict=True):
            torch.testing.assert_close(ours[i], theirs)


def test_vmap_of_the_op():
    op = torch.ops.gankit.instance_norm_act.default
    x, weight = torch.randn(4, 2, 3, 5, 5), torch.randn(3, 4)
    y, stats = torch.func.vmap(lambda x, w: op(x, w, None, x, 0.2, 1e-5, False), in_dims=(0, 1))(x, weight)
    for i in range(4):
        expected = op(x[i], weight[:, i], None, x[i], 0.2, 1e-5, False)
        torch.testing.assert_close((y[i], stats[i]), expected)


def test_forward_mode_under_func():
    x, tangent = torch.randn(2, 1, 3, 5, 5, dtype=torch.float64)
    ours = torch.func.jvp(instance_norm_act, (x,), (tangent,))[1]
    theirs = torch.func.jvp(instance_norm_act_reference, (x,), (tangent,))[1]
    torch.testing.assert_close(ours, theirs)


def test_forward_mode():
    x, tangent = torch.randn(2, 1, 3, 5, 5, dtype=torch.float64)
    with forward_ad.dual_level():
        ours = forward_ad.unpack_dual(instance_norm_act(forward_ad.make_dual(x, tangent))).tangent
    torch.testing.assert_close(ours, torch.func.jvp(instance_norm_act_reference, (x,), (tangent,))[1])


def test_vmap_of_the_double_backward():
    x, grad, v = (torch.randn(4, 2, 3, 5, 5) for _ in range(3))
    weight, stats = torch.randn(3, 4), torch.rand(4, 2, 2, 3)
    op = torch.ops.gankit.instance_norm_act_double_backward.default

    def each(x: Tensor, grad: Tensor, v: Tensor, weight: Tensor, stats: Tensor) -> tuple[Tensor, ...]:
        return op(v, weight, None, grad, x, weight, None, stats, 0.2, False)

    batched = torch.func.vmap(each, in_dims=(0, 0, 0, 1, 0))(x, grad, v, weight, stats)
    for i in range(4):
        expected = each(x[i], grad[i], v[i], weight[:, i], stats[i])
        torch.testing.assert_close(tuple(t[i] for t in batched), expected)


@pytest.mark.parametrize("from_output", [False, True])
def test_plain_kernels_agree_with_the_reference(from_output):
    """What runs on devices without a kernel of their own."""
    ops = torch.ops.gankit
    for last, dtype in itertools.product((False, True), TOLERANCE):
        tensors = make((2, 5, 6, 7), dtype, last=last, grad=False, residual=not from_output)
        y, stats = plain.forward(*tensors.values(), 0.2, 1e-5)
        expected = call(instance_norm_act_reference, in_float64(tensors), negative_slope=0.2)
        assert_close(y, expected, dtype)
        assert y.stride() == tensors["x"].stride()
        x, weight, bias, _ = tensors.values()
        known = (y if from_output else x, weight, bias, stats, 0.2, from_output)
        v = (x.flip(2), weight.flip(0), bias.flip(0), torch.ones_like(x))
        pairs = [
            (plain.backward(torch.ones_like(x), *known), ops.instance_norm_act_backward(torch.ones_like(x), *known)),
            (plain.double_backward(*v, *known), ops.instance_norm_act_double_backward(*v, *known)),
        ]
        for ours, theirs in itertools.chain.from_iterable(zip(*pair, strict=True) for pair in pairs):
            assert ours.dtype == theirs.dtype
            assert ours.stride() == theirs.stride()
            assert_close(ours, theirs.double(), dtype, times=50)
