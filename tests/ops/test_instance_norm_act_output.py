"""instance_norm_act with keep_input=False: backward from the output, without the input."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from norm_cases import SHAPES, TOLERANCE, assert_close, away_from_zero, call, in_float64, make, randn
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from gankit.nn import InstanceNormAct2d
from gankit.ops.instance_norm_act import instance_norm_act, instance_norm_act_reference

pytestmark = pytest.mark.usefixtures("device")


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("slope", [0.2, 0.01])
@pytest.mark.parametrize("along", [0.0, 1.0], ids=["any gradient", "one along the output"])
def test_what_recovering_the_input_costs_in_precision(dtype, slope, along):
    """Against float64: at most a few roundings more than from the input, and on the CPU less than torch's own ops.

    Those round in between there; their CUDA kernels round as seldom as ours."""
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
    assert recovered <= (1.5 if x.is_cuda else 1) * torchs or dtype == torch.float32


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
    assert keeps(False) <= 5 * activation + statistics + 4 * 64  # the placeholders have an element each


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


@pytest.mark.parametrize("weight", [0, 1e-40], ids=["zero", "without an inverse"])
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
def test_a_weight_that_leaves_nothing_of_the_input_in_the_output(weight: float, last: bool):
    """The gradient of the input is 0 as it should be; that of the weight, which the output does not tell, is 0 too."""
    tensors = make((2, 3, 4, 4), residual=False, last=last)
    with torch.no_grad():
        tensors["weight"][1] = weight
    y = call(instance_norm_act, tensors, negative_slope=0.2, keep_input=False)
    dx, dweight, dbias = torch.autograd.grad(y.sin().sum(), [tensors[k] for k in ("x", "weight", "bias")])
    assert dx[:, 1].abs().max() < 1e-30
    assert dweight[1] == 0
    assert dbias[1] != 0
    assert dweight[0] != 0


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
