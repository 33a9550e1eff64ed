"""instance_norm_act against its reference: values, gradients of both orders, layouts, and torch's transforms."""

from __future__ import annotations

import importlib
import itertools
import math
import random

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from gankit.ops._library import NATIVE
from gankit.ops.instance_norm_act import instance_norm_act, instance_norm_act_reference

pytestmark = pytest.mark.usefixtures("device")

# what rounding of the result (16 bits) or of the statistics (32 bits) leaves, relative to 1 + |reference|
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}

SHAPES = {
    "image": (2, 16, 32, 32),  # whole registers
    "odd": (1, 3, 7, 5),  # remainders everywhere
    "sequence": (3, 5, 17),
    "volume": (2, 7, 3, 4, 5),
    "one plane": (1, 1, 4, 4),
    "two elements": (2, 17, 2, 1),
    "one row": (2, 100, 1, 3),
    "tiny planes, many channels": (3, 65, 4, 4),
    "few large planes": (1, 3, 200, 201),  # cut in segments, shared by threads
    "large channels_last image": (1, 40, 70, 61),  # several segments and a tail
    "fewer pixels than a register has lanes": (2, 1, 3, 2),
    "a plane a block": (3, 4, 33, 64),
    "a plane a cluster": (1, 2, 150, 170),
}
CHANNELS_LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}


def channels_last(t: Tensor) -> Tensor:
    order = CHANNELS_LAST[t.dim()]
    return t.permute(order).contiguous().permute(tuple(order.index(d) for d in range(t.dim())))


def randn(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """The same numbers on every device."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator, device="cpu").to(torch.get_default_device())


def make(
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float64,
    *,
    affine: bool = True,
    residual: bool = True,
    last: bool = False,
    affine_dtype: torch.dtype | None = None,
    grad: bool = True,
) -> dict[str, Tensor | None]:
    seeds = itertools.count()

    def draw(size: tuple[int, ...], to: torch.dtype, scale: float = 1, shift: float = 0) -> Tensor:
        return (randn(size, next(seeds)) * scale + shift).to(to)

    lay = channels_last if last else (lambda t: t)
    tensors = {
        "x": lay(draw(shape, dtype, 2, 1)),
        "weight": draw(shape[1:2], affine_dtype or dtype) if affine else None,
        "bias": draw(shape[1:2], affine_dtype or dtype) if affine else None,
        "residual": lay(draw(shape, dtype)) if residual else None,
    }
    return {k: t if t is None else t.requires_grad_(grad) for k, t in tensors.items()}


def call(op, tensors: dict[str, Tensor | None], **options: float) -> Tensor:
    return op(tensors["x"], tensors["weight"], tensors["bias"], residual=tensors["residual"], **options)


def in_float64(tensors: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    return {k: t if t is None else t.detach().double().requires_grad_() for k, t in tensors.items()}


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype, times: float = 1) -> None:
    error = ((actual.double() - expected).abs() / (1 + expected.abs())).max().item() if actual.numel() else 0.0
    assert error <= TOLERANCE[dtype] * times, f"off by {error:.2e}"


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


def test_random_shapes_layouts_dtypes_and_alignments(device):
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
        y = call(instance_norm_act, tensors, negative_slope=0.2, eps=0.1)
        expected = call(instance_norm_act_reference, wide, negative_slope=0.2, eps=0.1)
        assert_close(y, expected, dtype)
        pre = call(instance_norm_act_reference, {**wide, "residual": None}, eps=0.1).detach()
        seed = torch.where(pre.abs() < 0.02, 0, seed)
        keys = [k for k in ("x", "weight", "bias") if tensors[k] is not None]
        grads = torch.autograd.grad(y, [tensors[k] for k in keys], seed)
        references = torch.autograd.grad(expected, [wide[k] for k in keys], seed.double())
        for key, grad, reference in zip(keys, grads, references, strict=True):
            size = y.numel() // y.shape[1] if key != "x" else 1
            assert_close(grad, reference, dtype, times=4 * size**0.5)


def test_captured_in_a_graph(device):
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
            gradients = torch.autograd.grad(y, leaves, seed)
        with torch.no_grad():
            tensors["x"].normal_()
        graph.replay()
        expected = call(instance_norm_act, tensors, negative_slope=0.2)
        torch.testing.assert_close(y, expected, rtol=0, atol=0)
        torch.testing.assert_close(gradients, torch.autograd.grad(expected, leaves, seed), rtol=0, atol=0)


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
        return torch.ops.gankit.instance_norm_act(*values, 0.2, 1e-5)[0]

    inputs = tuple(t for t in tensors.values() if t is not None)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_gradient_penalty_equals_the_references():
    """The use that an opaque backward would get wrong without a word: R1 through a norm."""
    gradients = []
    for op in (instance_norm_act, instance_norm_act_reference):
        tensors = make((2, 4, 5, 5), residual=False)
        y = call(op, tensors, negative_slope=0.2)
        (dx,) = torch.autograd.grad(y.square().sum(), tensors["x"], create_graph=True)
        gradients.append(torch.autograd.grad(dx.square().sum(), [tensors["x"], tensors["weight"], tensors["bias"]]))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert theirs.abs().max() > 0


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
    """Rounding on the way out: overflow to Inf, subnormals, NaN from the affine part."""
    x = make((1, 4, 5, 5), dtype, affine=False, residual=False, grad=False)["x"]
    weight = torch.tensor([3e38, float("nan"), 1e-7, 1e-40])
    y = instance_norm_act(x, weight)
    expected = instance_norm_act_reference(x.float(), weight).to(dtype)
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
    tensors = make((1, 3, 4, 5), affine=False, residual=False, last=last)
    with torch.no_grad():
        tensors["x"][:, 1] = 2.0
    results = []
    for op in (instance_norm_act, instance_norm_act_reference):
        y = call(op, tensors, negative_slope=0.2, eps=0.0)
        (dx,) = torch.autograd.grad(y.sin().sum(), tensors["x"], create_graph=True)
        results.append((y, dx, torch.autograd.grad(dx.square().sum(), tensors["x"])[0]))
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
}


@pytest.mark.parametrize(("function", "error", "message"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("grad", [False, True])
def test_refusals_name_argument_and_value(function, error, message, grad):
    with pytest.raises(error, match=message):
        function(torch.randn(2, 3, 4, 4, requires_grad=grad))


def test_not_a_tensor():
    with pytest.raises(TypeError, match="x must be a tensor, got list"):
        instance_norm_act([1.0])
    with pytest.raises(TypeError, match="weight must be a tensor, got float"):
        instance_norm_act(torch.randn(1, 2, 3, 3), 1.0)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("affine", [False, True])
def test_opcheck(affine, last, grad):
    tensors = make((2, 3, 5, 4), torch.float32, affine=affine, residual=affine, last=last, grad=grad)
    inputs = (*tensors.values(), 0.2, 1e-5)
    torch.library.opcheck(torch.ops.gankit.instance_norm_act.default, inputs)
    if not grad:
        torch.library.opcheck(torch.ops.gankit.instance_norm_act_forward.default, inputs)
        stats = torch.ops.gankit.instance_norm_act(*inputs)[1]
        x, weight, bias, _ = tensors.values()
        backward = torch.ops.gankit.instance_norm_act_backward.default
        torch.library.opcheck(backward, (torch.randn_like(x), x, weight, bias, stats, 0.2))


def test_fake_mirrors_other_strides():
    x = torch.randn(2, 3, 6, 5).transpose(2, 3)
    torch.library.opcheck(torch.ops.gankit.instance_norm_act.default, (x, None, None, None, 0.2, 1e-5))


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
    y, stats = torch.func.vmap(lambda x, w: op(x, w, None, x, 0.2, 1e-5), in_dims=(0, 1))(x, weight)
    for i in range(4):
        expected = op(x[i], weight[:, i], None, x[i], 0.2, 1e-5)
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


def test_plain_kernels_agree_with_the_reference():
    """What runs on devices without a kernel of their own."""
    module = importlib.import_module("gankit.ops.instance_norm_act")  # the function of that name hides it
    for last, dtype in itertools.product((False, True), TOLERANCE):
        tensors = make((2, 5, 6, 7), dtype, last=last, grad=False)
        y, stats = module._forward_plain(*tensors.values(), 0.2, 1e-5)
        expected = call(instance_norm_act_reference, in_float64(tensors), negative_slope=0.2)
        assert_close(y, expected, dtype)
        assert y.stride() == tensors["x"].stride()
        x, weight, bias, _ = tensors.values()
        grads = module._backward_plain(torch.ones_like(x), x, weight, bias, stats, 0.2)
        natives = torch.ops.gankit.instance_norm_act_backward(torch.ones_like(x), x, weight, bias, stats, 0.2)
        for ours, theirs in zip(grads, natives, strict=True):
            assert ours.dtype == theirs.dtype
            assert ours.stride() == theirs.stride()
            assert_close(ours, theirs.double(), dtype, times=50)
