"""instance_norm_act: the derivatives of backward, as gradient penalties take them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from norm_cases import SHAPES, TOLERANCE, assert_close, away_from_zero, call, channels_last, in_float64, make, randn
from torch import Tensor, nn

from gankit.nn import InstanceNormAct2d
from gankit.ops.instance_norm_act import instance_norm_act, instance_norm_act_reference

pytestmark = pytest.mark.usefixtures("device")


def penalised(op: Any, tensors: dict[str, Tensor | None], seed: Tensor, v: Tensor, **options: Any) -> list[Tensor]:
    """The gradients of sum(v * dx) + sum(dweight^2) + sum(dbias^2): of the input, of `seed`, and of the weight."""
    leaves = [t for t in tensors.values() if t is not None]
    seed = seed.clone().requires_grad_()
    y = call(op, tensors, **options)
    dx, *of_channels = torch.autograd.grad(y, leaves, seed, create_graph=True)
    penalty = (dx * v).sum() + sum(g.square().sum() for g in of_channels)
    return list(torch.autograd.grad(penalty, [tensors["x"], seed, *leaves[1:2]]))


def composed(x: Tensor, weight: Tensor | None, bias: Tensor | None, *, residual: None, negative_slope: float) -> Tensor:
    """The op in torch's elementary ops, which have derivatives of every order; instance_norm has two."""
    var, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    z = (x - mean) * (var + 1e-5).rsqrt()
    z = z if weight is None else z * weight.view(-1, 1, 1)
    z = z if bias is None else z + bias.view(-1, 1, 1)
    return torch.where(z > 0, z, z * negative_slope)


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("affine", ["none", "weight", "bias", "both"])
@pytest.mark.parametrize("slope", [1.0, 0.2])
@pytest.mark.parametrize("keep_input", [False, True])
def test_four_derivatives(keep_input, slope, affine, last):
    """Two by finite differences; all against elementary ops, of a loss whose gradient depends on all inputs."""
    tensors = away_from_zero(make((2, 3, 3, 2), residual=False, last=last))
    tensors["weight"] = tensors["weight"] if affine in ("weight", "both") else None
    tensors["bias"] = tensors["bias"] if affine in ("bias", "both") else None
    keys = [k for k, t in tensors.items() if t is not None]
    inputs = tuple(tensors[k] for k in keys)

    def function(*values: Tensor) -> Tensor:
        named = dict.fromkeys(tensors) | dict(zip(keys, values, strict=True))
        return call(instance_norm_act, named, negative_slope=slope, keep_input=keep_input)

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)

    orders = []
    for y in (function(*inputs), call(composed, tensors, negative_slope=slope)):
        values = [y.pow(3).sum()]
        for _ in range(4):
            gradients = torch.autograd.grad(values[-1], inputs, create_graph=True)
            values.append(sum(g.square().sum() for g in gradients))
        without_a_graph = torch.autograd.grad(values[1], inputs)
        orders.append([*values, *gradients, *without_a_graph])
    torch.testing.assert_close(*orders, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("keep_input", [False, True])
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradient_penalty_matches_the_reference(shape, dtype, last, keep_input):
    for affine, slope in ((False, 0.2), (True, 1.0)):
        tensors = away_from_zero(make(shape, dtype, affine=affine, residual=False, last=last))
        wide = in_float64(tensors)
        z = call(instance_norm_act_reference, wide, eps=0.1).detach()
        seed, v = (torch.where(z.abs() < 0.02, 0, randn(shape, seed=s) / 8).to(dtype) for s in (9, 10))
        v = channels_last(v) if last else v
        options = {"negative_slope": slope, "eps": 0.1}
        ours = penalised(instance_norm_act, tensors, seed, v, **options, keep_input=keep_input)
        theirs = penalised(instance_norm_act_reference, wide, seed.double(), v.double(), **options)
        for k, (mine, reference) in enumerate(zip(ours, theirs, strict=True)):
            # 16-bit gradients of weight and bias are rounded before they are squared: relative to what they add up to
            size = mine.numel() // mine.shape[1] if k < 2 else z.numel() // z.shape[1]
            scale = 1 + reference.abs().max().item() if affine else 1
            assert_close(mine / scale, reference / scale, dtype, times=8 * size**0.5)


@pytest.mark.parametrize("keep_input", [False, True])
def test_r1_through_a_discriminator(keep_input):
    """The use that an opaque backward would get wrong without a word."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.Identity(), nn.Conv2d(8, 4, 3), nn.Identity(), nn.Conv2d(4, 1, 3)]
    network, gradients = nn.Sequential(*layers).double(), []
    images = torch.randn(2, 3, 12, 11, dtype=torch.float64)
    for norm in (
        lambda c: InstanceNormAct2d(c, negative_slope=0.2, keep_input=keep_input),
        lambda c: nn.Sequential(nn.InstanceNorm2d(c), nn.LeakyReLU(0.2)),
    ):
        network[1], network[3] = norm(8), norm(4)
        x = images.clone().requires_grad_()
        (dx,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
        penalty = dx.square().sum()
        weights = [p for p in network.parameters() if p.dim() > 1]
        gradients.append([penalty, *torch.autograd.grad(penalty, weights)])
    assert gradients[1][0] > 0
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("keep_input", [False, True])
def test_nan_in_a_penalty_stays_in_its_plane(keep_input, last):
    tensors = make((2, 3, 6, 5), affine=False, residual=False, last=last)
    with torch.no_grad():
        tensors["x"][1, 2, 3, 3] = float("nan")
    ours = penalised(
        instance_norm_act,
        tensors,
        torch.ones(2, 3, 6, 5, dtype=torch.float64),
        torch.ones(2, 3, 6, 5, dtype=torch.float64),
        negative_slope=0.2,
        keep_input=keep_input,
    )
    for t in ours:
        assert t[1, 2].isnan().all()
        assert t.isnan().sum() == 30


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)], ids=["batch", "channels", "plane"])
@pytest.mark.parametrize("keep_input", [False, True])
def test_empty_penalty(shape, keep_input):
    tensors = make(shape, torch.float32, residual=False)
    seed = torch.zeros(shape)
    dx, dseed, dweight = penalised(instance_norm_act, tensors, seed, seed, negative_slope=0.2, keep_input=keep_input)
    assert dx.shape == dseed.shape == shape
    assert torch.equal(dweight, torch.zeros(shape[1]))


def test_other_strides_in_a_penalty():
    """v and the gradient laid out otherwise than x, which is not contiguous either."""
    base = make((2, 6, 8, 7), affine=False, residual=False)["x"]
    seed, v = (channels_last(randn((2, 6, 4, 7), seed=s)) for s in (1, 2))
    results = []
    for op, options in (
        (instance_norm_act, {"keep_input": False}),
        (instance_norm_act, {}),
        (instance_norm_act_reference, {}),
    ):
        y = op(base[:, :, ::2], negative_slope=0.2, **options)
        (dx,) = torch.autograd.grad(y, base, seed, create_graph=True)
        results.append(torch.autograd.grad((dx[:, :, ::2] * v).sum(), base)[0])
    torch.testing.assert_close(results[0], results[2])
    torch.testing.assert_close(results[1], results[2])


@pytest.mark.parametrize("keep_input", [False, True])
def test_batched_second_derivatives(keep_input):
    x = make((2, 3, 4, 5), residual=False)["x"]
    y = instance_norm_act(x, negative_slope=0.2, keep_input=keep_input)
    (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    seeds = torch.randn(3, *y.shape, dtype=y.dtype)
    batched = torch.autograd.grad(dx, x, seeds, is_grads_batched=True, retain_graph=True)[0]
    for ours, seed in zip(batched, seeds, strict=True):
        torch.testing.assert_close(ours, torch.autograd.grad(dx, x, seed, retain_graph=True)[0])


@pytest.mark.parametrize("keep_input", [False, True])
def test_batched_gradients_with_a_graph(keep_input):
    """vmap over backward, asked for a derivative: the formula runs."""
    x = make((2, 3, 4, 5), residual=False)["x"]
    seeds = torch.randn(3, 2, 3, 4, 5, dtype=x.dtype)
    y = instance_norm_act(x, negative_slope=0.2, eps=0.1, keep_input=keep_input)
    batched = torch.autograd.grad(y, x, seeds, is_grads_batched=True, create_graph=True)[0]
    looped = torch.stack([torch.autograd.grad(y, x, seed, create_graph=True)[0] for seed in seeds])
    torch.testing.assert_close(batched, looped)
    torch.testing.assert_close(*(torch.autograd.grad(dx.square().sum(), x)[0] for dx in (batched, looped)))


def test_constant_planes_without_eps_have_derivatives_of_zero():
    x = make((1, 2, 4, 5), affine=False, residual=False)["x"]
    with torch.no_grad():
        x[:, 1] = 2.0
    for keep_input in (True, False):
        value = instance_norm_act(x, negative_slope=0.2, eps=0.0, keep_input=keep_input).pow(3).sum()
        for _ in range(3):
            (dx,) = torch.autograd.grad(value, x, create_graph=True)
            assert dx[:, 1].abs().max() == 0
            assert dx.isfinite().all()
            value = dx.square().sum()
