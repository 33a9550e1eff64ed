"""leaky_relu against its reference: values, layouts, gradients of both orders, the ways torch calls an op."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad

from gankit.nn import LeakyReLU
from gankit.ops import leaky_relu, native_available
from gankit.ops.leaky_relu import leaky_relu_reference

# One rounding of the result, and room for sums in another order.
TOLERANCE = {
    torch.float64: {"rtol": 1e-13, "atol": 1e-14},
    torch.float32: {"rtol": 2e-6, "atol": 1e-6},
    torch.bfloat16: {"rtol": 8e-3, "atol": 1e-6},
    torch.float16: {"rtol": 1e-3, "atol": 1e-6},
}
SHAPES = [
    (2, 3, 5, 7),  # odd plane, shorter than a vector loop
    (4, 64, 16, 16),  # the ordinary case
    (2, 64, 4, 4),  # the shortest planes that are not short ones
    (3, 20, 5, 7),  # planes of registers and a rest
    (2, 5, 3, 5),  # short planes, a period that is no multiple of a vector
    (3, 5),  # no spatial dimensions
    (300, 1),  # one channel
    (2, 7, 1, 1),  # planes of one element
    (1, 3, 40, 1000),  # a plane of several chunks, with a rest
    (700, 3, 2, 2),  # several periods a chunk, several chunks
    (2, 3, 4, 5, 6),  # three spatial dimensions
    (0, 3, 4, 4),  # an empty batch
    (2, 0, 4, 4),  # no channels
    (2, 3, 0, 4),  # empty planes
]
native = pytest.mark.skipif(not native_available(), reason="the native library is not built")
pytestmark = pytest.mark.usefixtures("device")


def layouts(shape: tuple[int, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    """The same shape in every kind of memory layout that it can have."""
    x = torch.randn(shape).to(dtype)
    kinds = [x, torch.stack([x, x], dim=-1)[..., 0], torch.randn((*shape[:-1], 1)).to(dtype).expand(shape)]
    kinds.append(torch.randn((shape[1], shape[0], *shape[2:])).to(dtype).transpose(0, 1))
    if len(shape) == 4:
        kinds.append(x.to(memory_format=torch.channels_last))
        kinds.append(torch.randn(shape[0], shape[1] + 2, *shape[2:]).to(dtype)[:, 1:-1])
    if len(shape) == 5:
        kinds.append(x.to(memory_format=torch.channels_last_3d))
    return kinds


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_value_and_gradients_in_every_layout(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for x in layouts(shape, dtype):
        bias = torch.randn(shape[1]).to(dtype).requires_grad_()
        leaf = x.detach().requires_grad_()
        y = leaky_relu(leaf, bias)
        assert y.dtype == dtype
        assert y.stride() == torch.empty_like(x).stride()
        wide, wide_bias = x.double().requires_grad_(), bias.detach().double().requires_grad_()
        expected = leaky_relu_reference(wide, wide_bias)
        torch.testing.assert_close(y, expected.to(dtype), **TOLERANCE[dtype])
        # Also a gradient that does not lie in memory as the result does.
        for grad in (torch.randn_like(y), torch.ones((), dtype=dtype).expand(shape)):
            dx, db = torch.autograd.grad(y, (leaf, bias), grad, retain_graph=True)
            rx, rb = torch.autograd.grad(expected, (wide, wide_bias), grad.double(), retain_graph=True)
            torch.testing.assert_close(dx, rx.to(dtype), **TOLERANCE[dtype])
            scale = max(1.0, float(grad.double().abs().sum()) / max(shape[1], 1))
            rounding = 2e-7 if native_available() else 5e-6  # torch sums in float32
            tolerance = TOLERANCE[dtype] | {"atol": rounding * scale if dtype != torch.float64 else 1e-12}
            torch.testing.assert_close(db, rb.to(dtype), **tolerance)


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0, -0.5, 2.0])
def test_gradients_of_both_orders(slope: float) -> None:
    torch.manual_seed(1)
    for x in layouts((2, 3, 4, 3), torch.float64):
        inputs = (x.detach().clone().requires_grad_(), torch.randn(3, dtype=torch.float64, requires_grad=True))
        assert torch.autograd.gradcheck(lambda x, b: leaky_relu(x, b, negative_slope=slope), inputs)
        assert torch.autograd.gradgradcheck(lambda x, b: leaky_relu(x, b, negative_slope=slope), inputs)
        assert torch.autograd.gradgradcheck(lambda x: leaky_relu(x, negative_slope=slope), inputs[:1])


def test_penalty_gradient_equals_the_references() -> None:
    """A gradient penalty through two layers: what an opaque backward would get wrong without a word."""
    torch.manual_seed(2)
    w, b, x = torch.randn(4, 3), torch.randn(4, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    w.requires_grad_()

    def penalty(function: object) -> tuple[torch.Tensor, ...]:
        out = function(x @ w.T, b).square().sum()  # type: ignore[operator]
        (gradient,) = torch.autograd.grad(out, x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), (w, b, x))

    torch.testing.assert_close(penalty(leaky_relu), penalty(leaky_relu_reference))


@pytest.mark.parametrize("with_bias", [False, True])
def test_third_derivatives_and_batches_of_second_ones(with_bias: bool) -> None:
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    inputs = (x, torch.randn(3, dtype=torch.float64, requires_grad=True))[: 1 + with_bias]

    def gradients(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = leaky_relu(*values).pow(4)
        return torch.autograd.grad((y * torch.linspace(-1, 1, 24).view_as(y)).sum(), values, create_graph=True)

    assert torch.autograd.gradgradcheck(gradients, inputs)
    (dx, *_) = gradients(*inputs)
    seeds = torch.randn(3, *dx.shape, dtype=dx.dtype)
    batched = torch.autograd.grad(dx, inputs, seeds, is_grads_batched=True, retain_graph=True)
    for i, seed in enumerate(seeds):
        expected = torch.autograd.grad(dx, inputs, seed, retain_graph=True)
        torch.testing.assert_close([g[i] for g in batched], list(expected))
    first = torch.autograd.grad(leaky_relu(*inputs), inputs, seeds, is_grads_batched=True, create_graph=True)
    assert [g.shape[0] for g in first] == [3] * len(inputs)


def test_only_what_is_asked_for() -> None:
    x, bias = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(3, requires_grad=True)
    grad = torch.randn(2, 3, 4, 4)
    both = torch.autograd.grad(leaky_relu(x, bias), (x, bias), grad)
    torch.testing.assert_close(torch.autograd.grad(leaky_relu(x, bias.detach()), x, grad)[0], both[0])
    torch.testing.assert_close(torch.autograd.grad(leaky_relu(x.detach(), bias), bias, grad)[0], both[1])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_special_values_are_those_of_torch(dtype: torch.dtype) -> None:
    values = [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-7, -1e-7, 6e4, -6e4, 1.0]
    x = torch.tensor(values * 20, dtype=dtype).reshape(1, 2, 10, 10)
    for slope in (0.0, 0.2):
        bias = torch.zeros(2, dtype=dtype)
        y = leaky_relu(x, bias, negative_slope=slope)
        torch.testing.assert_close(y, F.leaky_relu(x, slope), equal_nan=True, **TOLERANCE[dtype])


@native
def test_half_conversion_is_torchs() -> None:
    """Every finite and infinite 16-bit pattern survives the way through float; sums round as torch rounds them."""
    patterns = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16)
    for dtype in (torch.float16, torch.bfloat16):
        x = patterns.view(dtype).reshape(1, 2, -1)
        same = leaky_relu(x, torch.zeros(2), negative_slope=1.0)
        torch.testing.assert_close(same, x, rtol=0, atol=0, equal_nan=True)
        bias = torch.tensor([1e-3, 3.7])
        expected = (x.float() + bias[:, None]).to(dtype)
        torch.testing.assert_close(leaky_relu(x, bias, negative_slope=1.0), expected, rtol=0, atol=0, equal_nan=True)


def test_autocast_takes_a_float32_bias_beside_bfloat16() -> None:
    conv = torch.nn.Conv2d(3, 8, 3)
    bias = torch.randn(8, requires_grad=True)
    with torch.autocast(torch.get_default_device().type, torch.bfloat16):
        y = leaky_relu(conv(torch.randn(2, 3, 16, 16)), bias)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert bias.grad is not None
    assert bias.grad.dtype == torch.float32


@native
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_opcheck(dtype: torch.dtype) -> None:
    for x in layouts((2, 3, 4, 5), dtype):
        bias = torch.randn(3).to(dtype).requires_grad_()
        torch.library.opcheck(torch.ops.gankit.leaky_relu.default, (x.detach().requires_grad_(), bias, 0.2))
        dense = torch.randn_like(x)
        torch.library.opcheck(torch.ops.gankit.leaky_relu_forward.default, (x, bias.detach(), 0.2))
        torch.library.opcheck(torch.ops.gankit.leaky_relu_backward.default, (dense, dense, 0.2, True, True))


@native
def test_gradients_of_the_registered_op() -> None:
    op = torch.ops.gankit.leaky_relu.default
    inputs = (
        torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True),
        torch.randn(3, dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(lambda x, b: op(x, b, 0.2), inputs)
    assert torch.autograd.gradgradcheck(lambda x, b: op(x, b, 0.2), inputs)


def test_compiles_without_a_graph_break() -> None:
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    bias = torch.randn(3, requires_grad=True)
    y = torch.compile(leaky_relu, fullgraph=True)(x, bias)
    assert y.is_contiguous(memory_format=torch.channels_last)
    grad = torch.randn_like(y)
    compiled = torch.autograd.grad(y, (x, bias), grad)
    torch.testing.assert_close(y, leaky_relu(x, bias))
    torch.testing.assert_close(compiled, torch.autograd.grad(leaky_relu(x, bias), (x, bias), grad))


@pytest.mark.parametrize("dims", [(0, None), (0, 0), (None, 1), (2, 0)])
def test_vmap(dims: tuple[int | None, int | None]) -> None:
    x = torch.randn(4, 2, 3, 5) if dims[0] is not None else torch.randn(4, 3, 5)
    x = x if dims[0] in (0, None) else torch.randn(2, 3, 4, 5)
    bias = {None: torch.randn(3), 0: torch.randn(4, 3), 1: torch.randn(3, 4)}[dims[1]]
    expected = torch.vmap(leaky_relu_reference, in_dims=dims)(x, bias)
    torch.testing.assert_close(torch.vmap(leaky_relu, in_dims=dims)(x, bias), expected)
    if native_available():
        op = torch.ops.gankit.leaky_relu.default
        torch.testing.assert_close(torch.vmap(lambda x, b: op(x, b, 0.2), in_dims=dims)(x, bias), expected)


def test_functional_gradient() -> None:
    x, bias = torch.randn(2, 3, 4), torch.randn(3)
    got = torch.func.grad(lambda x: leaky_relu(x, bias).square().sum())(x)
    torch.testing.assert_close(got, torch.func.grad(lambda x: leaky_relu_reference(x, bias).square().sum())(x))


def test_functional_gradient_compiles() -> None:
    x, bias = torch.randn(2, 3, 4), torch.randn(3)

    def gradient(x: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda x: leaky_relu(x, bias).square().sum())(x)

    torch.testing.assert_close(torch.compile(gradient, fullgraph=True)(x), gradient(x))


def test_forward_mode() -> None:
    x, tangent, bias = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.randn(3)
    tangents = []
    for function in (leaky_relu, leaky_relu_reference):
        with forward_ad.dual_level():
            y = function(forward_ad.make_dual(x, tangent), bias)
            tangents.append(forward_ad.unpack_dual(y).tangent)
    torch.testing.assert_close(*tangents)


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    x, bias = torch.randn(3, 5, 130, 131), torch.randn(5, requires_grad=True)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            y = leaky_relu(x, bias)
            results.append((y.detach(), torch.autograd.grad(y, bias, torch.sin(x))[0]))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_devices_without_a_kernel_run_the_reference() -> None:
    y = leaky_relu(torch.empty(2, 3, 4, 4, device="meta"), torch.empty(3, device="meta"))
    assert y.shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    ("x", "bias", "error", "text"),
    [
        (torch.zeros(2, 3), torch.zeros(4), ValueError, r"bias must have shape \(3,\).*got \(4,\)"),
        (torch.zeros(2, 3), torch.zeros(1, 3), ValueError, r"bias must have shape \(3,\).*got \(1, 3\)"),
        (torch.zeros(3), torch.zeros(3), ValueError, r"x must have at least 2 dimensions.*got \(3,\)"),
        (torch.zeros(2, 3).int(), torch.zeros(3), TypeError, "x must be float32.*got torch.int32"),
        (torch.zeros(2, 3), torch.zeros(3).long(), TypeError, "bias must be float32.*got torch.int64"),
        (torch.zeros(2, 3), torch.zeros(3, device="meta"), ValueError, "bias must be on x's device cpu, got meta"),
        (torch.zeros(2, 3), 1.0, TypeError, "bias must be a tensor, got float"),
        ([[1.0]], torch.zeros(1), TypeError, "x must be a tensor, got list"),
    ],
)
def test_errors_name_argument_requirement_and_value(
    x: torch.Tensor, bias: torch.Tensor, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        leaky_relu(x, bias)
    if isinstance(bias, torch.Tensor) and bias.is_floating_point():
        with pytest.raises(error, match=text):
            leaky_relu(x, bias.clone().requires_grad_())


@native
def test_backward_op_refuses_a_gradient_of_another_shape() -> None:
    with pytest.raises(RuntimeError, match="grad must have the shape of y"):
        torch.ops.gankit.leaky_relu_backward(torch.zeros(2), torch.zeros(2, 3, 4, 4), 0.2, True, True)


def test_module() -> None:
    x = torch.randn(2, 3, 4, 4)
    plain, biased = LeakyReLU(0.1), LeakyReLU(0.1, channels=3)
    assert not plain.state_dict()
    assert list(biased.state_dict()) == ["bias"]
    torch.testing.assert_close(plain(x), F.leaky_relu(x, 0.1))
    torch.testing.assert_close(biased(x), F.leaky_relu(x, 0.1))
    assert "channels=3" in repr(biased)
