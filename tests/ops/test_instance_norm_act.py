"""instance_norm_act against its reference: values, gradients of both orders, layouts, odd numbers, refusals."""

from __future__ import annotations

import itertools

import pytest
import torch
from norm_cases import SHAPES, TOLERANCE, assert_close, call, channels_last, in_float64, make, randn
from torch import Tensor

from gankit.ops._library import NATIVE
from gankit.ops.instance_norm_act import instance_norm_act, instance_norm_act_reference

pytestmark = pytest.mark.usefixtures("device")


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_value_and_gradients_match_the_reference(shape, dtype, last):
    for affine, residual, slope in itertools.product((False, True), (False, True), (1.0, 0.2, 0.0)):
        tensors = make(shape, dtype, affine=affine, residual=residual, last=last)
        wide = in_float64(tensors)
        # pulled away from the kink of the activation, where rounding alone decides which gradient it is
        y = call(instance_norm_act, tensors, negative_slope=slope, eps=0.1)
        expected = call(instance_norm_act_reference, wide, negative_slope=slope, eps=0.1)
        assert y.dtype == dtype
        assert y.stride() == tensors["x"].stride()
        assert_close(y, expected, dtype)
        keys = [k for k, t in tensors.items() if t is not None]
        seed = randn(shape, seed=9).to(dtype)
        pre = call(instance_norm_act_reference, {**wide, "residual": None}, eps=0.1).detach()
        seed = torch.where(pre.abs() < 0.02, 0, seed)
        grads = torch.autograd.grad(y, [tensors[k] for k in keys], seed)
        references = torch.autograd.grad(expected, [wide[k] for k in keys], seed.double())
        for key, grad, reference in zip(keys, grads, references, strict=True):
            assert grad.dtype == tensors[key].dtype
            # a sum over the batch and the plane gathers rounding as the root of their size
            size = y.numel() // y.shape[1] if key in ("weight", "bias") else 1
            assert_close(grad, reference, dtype, times=4 * size**0.5)


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("affine", ["none", "weight", "bias", "both"])
@pytest.mark.parametrize("slope", [1.0, 0.2, 0.0])
def test_first_and_second_derivatives_by_finite_differences(slope, affine, residual, last):
    tensors = make((2, 3, 3, 2), residual=residual, last=last)
    tensors["weight"] = tensors["weight"] if affine in ("weight", "both") else None
    tensors["bias"] = tensors["bias"] if affine in ("bias", "both") else None
    keys = [k for k, t in tensors.items() if t is not None]

    def function(*values: Tensor) -> Tensor:
        return call(
            instance_norm_act, dict.fromkeys(tensors) | dict(zip(keys, values, strict=True)), negative_slope=slope
        )

    inputs = tuple(tensors[k] for k in keys)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_registered_op_has_both_derivatives_too():
    """The op itself, as torch.compile and torch.func see it, not the eager fast path."""
    tensors = make((2, 3, 3, 2))

    def function(*values: Tensor) -> Tensor:
        return torch.ops.gankit.instance_norm_act(*values, 0.2, 1e-5, False)[0]

    inputs = tuple(t for t in tensors.values() if t is not None)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
def test_float32_affine_with_16_bit_input(dtype, last):
    tensors = make((2, 6, 9, 9), dtype, affine_dtype=torch.float32, last=last)
    wide = in_float64(tensors)
    y = call(instance_norm_act, tensors, negative_slope=0.2)
    expected = call(instance_norm_act_reference, wide, negative_slope=0.2)
    assert y.dtype == dtype
    assert_close(y, expected, dtype)
    y.sum().backward()
    assert tensors["weight"].grad.dtype == torch.float32


def test_autocast_follows_a_convolution():
    conv = torch.nn.Conv2d(3, 8, 3)
    weight, bias = torch.ones(8, requires_grad=True), torch.zeros(8, requires_grad=True)
    with torch.autocast(torch.get_default_device().type, dtype=torch.bfloat16):
        y = instance_norm_act(conv(torch.randn(2, 3, 9, 9)), weight, bias, negative_slope=0.2)
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    assert weight.grad.dtype == torch.float32
    assert torch.isfinite(conv.weight.grad).all()


LAYOUTS = {
    "sliced rows": lambda t: t[:, :, ::2],
    "sliced channels": lambda t: t[:, 1::2],
    "transposed plane": lambda t: t.transpose(2, 3),
    "permuted batch": lambda t: t.transpose(0, 1),
    "broadcast batch": lambda t: t[:1].expand(3, -1, -1, -1),
    "sliced channels_last": lambda t: channels_last(t)[:, :, 1:],
    "offset": lambda t: t.flatten()[5 : 5 + 2 * 4 * 3 * 3].view(2, 4, 3, 3),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_other_strides(layout):
    base = make((2, 6, 8, 7), affine=False, residual=False)["x"]
    x = layout(base)
    y = instance_norm_act(x, residual=x, negative_slope=0.2)
    expected = instance_norm_act_reference(x, residual=x, negative_slope=0.2)
    torch.testing.assert_close(y, expected)
    seed = torch.randn_like(expected).transpose(2, 3).contiguous().transpose(2, 3)  # a gradient laid out otherwise
    torch.testing.assert_close(torch.autograd.grad(y, base, seed)[0], torch.autograd.grad(expected, base, seed)[0])


def test_expanded_gradient_and_strided_affine():
    x = make((2, 4, 5, 5), affine=False, residual=False)["x"]
    weight = torch.randn(8, dtype=torch.float64)[::2].requires_grad_()
    (ours,) = torch.autograd.grad(instance_norm_act(x, weight).sum(), weight)  # .sum() sends an expanded gradient
    (theirs,) = torch.autograd.grad(instance_norm_act_reference(x, weight).sum(), weight)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)], ids=["batch", "channels", "plane"])
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
def test_empty(shape, last):
    tensors = make(shape, torch.float32, last=last)
    y = call(instance_norm_act, tensors, negative_slope=0.2)
    assert y.shape == shape
    y.sum().backward()
    assert torch.equal(tensors["weight"].grad, torch.zeros(shape[1]))
    assert torch.equal(tensors["bias"].grad, torch.zeros(shape[1]))
    assert tensors["x"].grad.shape == shape


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("at", [0, -1], ids=["first", "last"])
def test_nan_and_inf_stay_in_their_plane(value, dtype, last, at):
    x = make((2, 5, 6, 7), dtype, affine=False, residual=False, last=last, grad=False)["x"]
    x[1, 2].view(-1)[at] = value if not last else 0
    x[1, 2, at, at] = value
    y = instance_norm_act(x, negative_slope=0.2)
    expected = instance_norm_act_reference(x, negative_slope=0.2)
    assert torch.equal(y.isnan(), expected.isnan())
    assert y.isnan().sum() == 6 * 7


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_16_bit_results_beyond_range_and_nan(dtype):
    """Rounding on the way out: overflow to Inf, subnormals, NaN from the affine part. Expected in float64, as torch's
    own CUDA op overflows on the way."""
    x = make((1, 4, 5, 5), dtype, affine=False, residual=False, grad=False)["x"]
    weight = torch.tensor([3e38, float("nan"), 1e-7, 1e-40])
    y = instance_norm_act(x, weight)
    expected = instance_norm_act_reference(x.double(), weight.double()).to(dtype)
    torch.testing.assert_close(y, expected, equal_nan=True, rtol=1e-2, atol=2e-7)


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_variance_survives_a_large_mean(offset, last):
    x = randn((1, 3, 64, 64)).float() + offset
    x = channels_last(x) if last else x
    expected = instance_norm_act_reference(x.double())
    # the mean itself is a float32: half its last place is all that may be off
    bound = 1e-5 + offset * 2**-24 * 1.1
    assert (instance_norm_act(x).double() - expected).abs().max() <= bound


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
def test_constant_and_outlier_planes(last):
    x = torch.full((1, 2, 40, 41), 0.1)
    x[0, 1, 0, 0] = 1e4  # an outlier where the shift is taken from
    x = channels_last(x) if last else x
    y = instance_norm_act(x)
    assert y[0, 0].abs().max() == 0
    torch.testing.assert_close(y.double(), instance_norm_act_reference(x.double()), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not NATIVE, reason="needs the native library")
@pytest.mark.parametrize("shape", [(1, 3, 200, 201), (3, 40, 70, 61), (8, 16, 32, 32)], ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
def test_bits_do_not_depend_on_the_number_of_threads(shape, last):
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            tensors = make(shape, torch.float32, last=last)
            y = call(instance_norm_act, tensors, negative_slope=0.2)
            y.sin().sum().backward()
            results.append([y, *(t.grad for t in tensors.values())])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
def test_a_constant_plane_without_eps_is_zero_as_in_torch(last):
    """As on the CPU: torch's CUDA op has NaN there."""
    x = make((1, 3, 4, 5), affine=False, residual=False, last=last)["x"].detach()
    x[:, 1] = 2.0
    results = []
    for op, at in ((instance_norm_act, x), (instance_norm_act_reference, x.cpu())):
        at.requires_grad_()
        y = op(at, negative_slope=0.2, eps=0.0)
        (dx,) = torch.autograd.grad(y.sin().sum(), at, create_graph=True)
        results.append([t.to(x.device) for t in (y, dx, torch.autograd.grad(dx.square().sum(), at)[0])])
    torch.testing.assert_close(*results)
    assert results[0][0][:, 1].abs().max() == 0


REFUSALS = {
    "one element": (lambda x: instance_norm_act(x[:, :, :1, :1]), ValueError, "more than 1 spatial element"),
    "rank": (lambda x: instance_norm_act(x[0, 0]), ValueError, "x must have 3 to 5 dimensions.*got 2"),
    "integers": (lambda x: instance_norm_act(x.int()), TypeError, "x must be float32.*got torch.int32"),
    "weight": (lambda x: instance_norm_act(x, torch.ones(4)), ValueError, r"weight must .*\(4,\) for 3 channels"),
    "weight rank": (lambda x: instance_norm_act(x, torch.ones(3, 1)), ValueError, r"weight must .*got shape \(3, 1\)"),
    "weight dtype": (lambda x: instance_norm_act(x, torch.ones(3).double()), TypeError, "weight must be torch.float32"),
    "bias": (lambda x: instance_norm_act(x, bias=torch.ones(2)), ValueError, "bias must have one element per channel"),
    "mixed affine": (
        lambda x: instance_norm_act(x.half(), torch.ones(3), torch.ones(3).half()),
        TypeError,
        "bias must have the dtype of weight",
    ),
    "residual": (lambda x: instance_norm_act(x, residual=x[:1]), ValueError, "residual must have the shape of x"),
    "weight device": (
        lambda x: instance_norm_act(x, torch.ones(3, device="meta")),
        ValueError,
        "weight must be on the device of x, (cpu|cuda:0), got meta",
    ),
    "residual device": (
        lambda x: instance_norm_act(x, residual=x.to("meta")),
        ValueError,
        "residual must be on the device of x, (cpu|cuda:0), got meta",
    ),
    "residual dtype": (lambda x: instance_norm_act(x, residual=x.half()), TypeError, "residual must have the dtype"),
    "a ReLU from its output": (
        lambda x: instance_norm_act(x, negative_slope=0, keep_input=False),
        ValueError,
        "keep_input=False cannot recover the input where negative_slope is 0",
    ),
    "no slope from its output": (
        lambda x: instance_norm_act(x, negative_slope=float("nan"), keep_input=False),
        ValueError,
        "keep_input=False cannot recover the input where negative_slope is nan",
    ),
    "underflow from its output": (
        lambda x: instance_norm_act(x, negative_slope=1e-7, keep_input=False),
        ValueError,
        "keep_input=False cannot recover the input where negative_slope is 1e-07",
    ),
    "a sum from its output": (
        lambda x: instance_norm_act(x, residual=x, keep_input=False),
        ValueError,
        "keep_input=False cannot recover the input where a residual is added",
    ),
}


@pytest.mark.parametrize(("function", "error", "message"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("grad", [False, True])
def test_refusals_name_argument_and_value(function, error, message, grad):
    with pytest.raises(error, match=message):
        function(torch.randn(2, 3, 4, 4, requires_grad=grad))


def test_not_a_tensor():
    with pytest.raises(TypeError, match="x must be a tensor, got list"):
        instance_norm_act([1.0])
    with pytest.raises(TypeError, match="x must be a tensor, got list"):
        instance_norm_act([1.0], negative_slope=0.2)
    with pytest.raises(TypeError, match="weight must be a tensor, got float"):
        instance_norm_act(torch.randn(1, 2, 3, 3), 1.0)
