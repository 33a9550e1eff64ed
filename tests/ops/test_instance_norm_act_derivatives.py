"""instance_norm_act: backward from the output, without the input; and gradient penalties, its derivative."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from norm_cases import SHAPES, TOLERANCE, assert_close, call, channels_last, in_float64, make, randn
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from gankit.nn import InstanceNormAct2d
from gankit.ops.instance_norm_act import instance_norm_act, instance_norm_act_reference

pytestmark = pytest.mark.usefixtures("device")


def away_from_zero(tensors: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    """Weights of a size with the biases: a small one leaves little of the input in the output."""
    if tensors["weight"] is not None:
        with torch.no_grad():
            tensors["weight"] += torch.where(tensors["weight"] < 0, -1, 1)
    return tensors


def penalised(op: Any, tensors: dict[str, Tensor | None], seed: Tensor, v: Tensor, **options: Any) -> list[Tensor]:
    """The gradients of sum(v * dx) + sum(dweight^2) + sum(dbias^2): of the input, of `seed`, and of the weight."""
    leaves = [t for t in tensors.values() if t is not None]
    seed = seed.clone().requires_grad_()
    y = call(op, tensors, **options)
    dx, *of_channels = torch.autograd.grad(y, leaves, seed, create_graph=True)
    penalty = (dx * v).sum() + sum(g.square().sum() for g in of_channels)
    return list(torch.autograd.grad(penalty, [tensors["x"], seed, *leaves[1:2]]))


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_without_the_input_gradients_match_the_reference(shape, dtype, last):
    for affine, slope in ((False, 0.2), (True, 0.2), (True, 1.5)):
        tensors = away_from_zero(make(shape, dtype, affine=affine, residual=False, last=last))
        wide = in_float64(tensors)
        y = call(instance_norm_act, tensors, negative_slope=slope, eps=0.1, keep_input=False)
        expected = call(instance_norm_act_reference, wide, negative_slope=slope, eps=0.1)
        keys = [k for k, t in tensors.items() if t is not None]
        seed = torch.where(expected.detach().abs() < 0.02, 0, randn(shape, seed=9)).to(dtype)
        grads = torch.autograd.grad(y, [tensors[k] for k in keys], seed)
        references = torch.autograd.grad(expected, [wide[k] for k in keys], seed.double())
        for key, grad, reference in zip(keys, grads, references, strict=True):
            assert grad.dtype == tensors[key].dtype
            size = y.numel() // y.shape[1] if key in ("weight", "bias") else 1
            assert_close(grad, reference, dtype, times=8 * size**0.5)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("slope", [0.2, 0.01])
@pytest.mark.parametrize("along", [0.0, 1.0], ids=["any gradient", "one along the output"])
def test_what_recovering_the_input_costs_in_precision(dtype, slope, along):
    """Against float64: at most a few roundings more than from the input, and less than torch's own ops."""
    x, noise = (randn((2, 16, 64, 64), seed=s).to(dtype) for s in (0, 1))
    seed = along * x + noise / 2
    x = (x * 3 + 5).requires_grad_()
    wide = x.detach().double().requires_grad_()
    expected = instance_norm_act_reference(wide, negative_slope=slope)
    (reference,) = torch.autograd.grad(expected, wide, seed.double())

    def error(y: Tensor) -> float:
        (dx,) = torch.autograd.grad(y, x, seed)
        return (dx.double() - reference).square().mean().sqrt().item()

    kept = error(instance_norm_act(x, negative_slope=slope, keep_input=True))
    recovered = error(instance_norm_act(x, negative_slope=slope, keep_input=False))
    torchs = error(nn.functional.leaky_relu(nn.functional.instance_norm(x), slope))
    assert recovered <= (3 if along else 1.1) * kept
    assert recovered <= torchs or dtype == torch.float32


def kept_bytes(function: Any) -> int:
    """Bytes that autograd keeps between forward and backward, each storage once."""
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with saved_tensors_hooks(pack, lambda t: t):
        y = function()
    del y
    return sum(kept.values())


def test_activation_memory_halves():
    """Of conv, norm, conv, ...: what the norms keep is what the convolutions keep anyway."""
    torch.manual_seed(0)
    x = torch.randn(1, 16, 64, 64)

    def keeps(keep_input: bool) -> int:
        layers = []
        for _ in range(4):
            norm = InstanceNormAct2d(16, negative_slope=0.2, keep_input=keep_input)
            layers += [nn.Conv2d(16, 16, 3, padding=1, bias=False), norm]
        network = nn.Sequential(*layers, nn.Conv2d(16, 1, 1, bias=False))
        return kept_bytes(lambda: network(x)) - sum(p.untyped_storage().nbytes() for p in network.parameters())

    activation = x.untyped_storage().nbytes()
    statistics = 4 * 2 * 16 * 4
    assert keeps(True) == 9 * activation + statistics  # x, and two maps for each of four layers
    assert keeps(False) <= 5 * activation + statistics + 4 * 64  # the ghosts have an element each


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"negative_slope": 0.2}, False),
        ({"negative_slope": 1.0}, True),  # an in-place activation may follow
        ({"negative_slope": 0.0}, True),  # the output does not tell
        ({"negative_slope": -0.1}, True),
        ({"negative_slope": 1e-7}, True),  # it would underflow in 16 bits
        ({"negative_slope": float("nan")}, True),
        ({"negative_slope": 0.2, "keep_input": True}, True),
        ({"negative_slope": 0.2, "weight": 1}, True),
        ({"negative_slope": 0.2, "bias": 1}, True),
        ({"negative_slope": 0.2, "residual": 1}, True),
    ],
)
def test_where_the_input_is_kept_by_default(options, kept):
    tensors = make((1, 4, 256, 256), torch.float32)
    options = {k: tensors.get(k, v) for k, v in options.items()}
    leaf = tensors["x"]
    x = leaf * 1
    alive = weakref.ref(x.untyped_storage())
    y = instance_norm_act(x, **options)
    del x
    assert (alive() is not None) == kept
    y.sum().backward()
    small = make((1, 4, 16, 16), torch.float32)["x"] * 1
    alive = weakref.ref(small.untyped_storage())
    y = instance_norm_act(small, negative_slope=0.2)
    del small
    assert alive() is not None
    assert y.requires_grad


def test_an_output_changed_in_place_is_refused_where_it_is_needed():
    x = make((1, 2, 5, 5))["x"]
    y = instance_norm_act(x, negative_slope=0.2, keep_input=False)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    y = instance_norm_act(x, negative_slope=0.2, keep_input=True)
    y.mul_(2).sum().backward()


def test_a_zero_weight_without_the_input():
    """The gradient of the input is 0 as it should be; that of the weight, which the output does not tell, is 0 too."""
    tensors = make((2, 3, 4, 4), residual=False)
    with torch.no_grad():
        tensors["weight"][1] = 0
    y = call(instance_norm_act, tensors, negative_slope=0.2, keep_input=False)
    dx, dweight, dbias = torch.autograd.grad(y.sin().sum(), [tensors[k] for k in ("x", "weight", "bias")])
    assert dx[:, 1].abs().max() == 0
    assert dweight[1] == 0
    assert dbias[1] != 0
    assert dweight[0] != 0


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


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
def test_compiled_without_the_input(last):
    tensors = make((2, 3, 6, 5), torch.float32, affine=False, residual=False, last=last)
    compiled = torch.compile(lambda x: instance_norm_act(x, negative_slope=0.2, keep_input=False).sin(), fullgraph=True)
    y, expected = compiled(tensors["x"]), call(instance_norm_act, tensors, negative_slope=0.2).sin()
    torch.testing.assert_close(y, expected)
    seed = torch.randn_like(y)
    torch.testing.assert_close(*(torch.autograd.grad(t, tensors["x"], seed)[0] for t in (y, expected)))


def test_the_registered_op_says_what_it_cannot_do():
    x = make((2, 3, 6, 5))["x"]
    y, _ = torch.ops.gankit.instance_norm_act(x, None, None, None, 0.2, 1e-5, True)
    with pytest.raises(RuntimeError, match="keep_input=True"):
        torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(ValueError, match="from_output must be False where a residual"):
        torch.ops.gankit.instance_norm_act(x, None, None, x, 0.2, 1e-5, True)


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
