"""The PatchGAN losses against their references: values, gradients of both orders, the ways torch calls an op."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.autograd import forward_ad

from gankit.nn import PatchGANLoss
from gankit.ops import native_available, patchgan_d_loss, patchgan_g_loss
from gankit.ops.patchgan_loss import KINDS, Kind, patchgan_d_loss_reference, patchgan_g_loss_reference

TOLERANCE = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-15},
    torch.float32: {"rtol": 3e-6, "atol": 1e-7},
    torch.bfloat16: {"rtol": 1.6e-2, "atol": 1e-7},
    torch.float16: {"rtol": 2e-3, "atol": 1e-7},
}
SHAPES = [
    (2, 1, 30, 30),  # 70x70 PatchGAN at 256x256
    (1, 1, 5, 7),  # less than one round of the vector loop
    (3, 1, 67, 61),  # several blocks and a rest
    (2, 1, 130, 129),  # several chunks and a rest
    (64, 1, 1, 1),  # a DCGAN's discriminator
    (1,),  # one number
    (),  # the same without a dimension
]
LOSSES: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]] = {
    "d": (patchgan_d_loss, patchgan_d_loss_reference),
    "g": (lambda real, fake, kind: patchgan_g_loss(fake, kind), lambda r, f, kind: patchgan_g_loss_reference(f, kind)),
}
native = pytest.mark.skipif(not native_available(), reason="the native library is not built")
pytestmark = [pytest.mark.filterwarnings("error::UserWarning:gankit"), pytest.mark.usefixtures("device")]


def pair(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    real, fake = (torch.randn(shape).mul(2).to(dtype) for _ in range(2))
    return real.requires_grad_(), fake.requires_grad_()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("player", LOSSES)
def test_value_and_gradient(player: str, kind: Kind, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    loss, reference = LOSSES[player]
    inputs = pair(shape, dtype)
    wide = [x.detach().double().requires_grad_() for x in inputs]
    expected, got = reference(*wide, kind), loss(*inputs, kind)
    assert got.shape == ()
    assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(got.double(), expected, rtol=1e-6 if dtype != torch.float64 else 1e-13, atol=1e-6)
    torch.testing.assert_close(loss(*(x.detach() for x in inputs), kind), got.detach(), rtol=1e-6, atol=1e-7)
    for factor in (1.0, 3.0, 1024.0):  # 1 is handed on as it is, others multiply
        want = torch.autograd.grad(expected * factor, wide, retain_graph=True, allow_unused=True)
        have = torch.autograd.grad(got * factor, inputs, retain_graph=True, allow_unused=True)
        for w, h in zip(want, have, strict=True):
            assert (w is None) == (h is None)
            if w is not None and h is not None:
                assert h.dtype == dtype
                torch.testing.assert_close(h, w.to(dtype), **TOLERANCE[dtype])


@native
@pytest.mark.parametrize(("kind", "generator"), [("wgan", False), ("wgan", True), ("hinge", True)])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_linear_losses_through_the_op(kind: Kind, generator: bool, dtype: torch.dtype) -> None:
    """The way a GPU goes, where one launch is less than torch's several: the CPU takes torch's mean."""
    from gankit.ops.patchgan_loss import _apply, _loss_reference

    inputs = pair((2, 1, 30, 30), dtype)
    got, expected = _apply(kind, generator, *inputs), _loss_reference(inputs, kind, generator)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    have, want = (torch.autograd.grad(loss * 1024, inputs, retain_graph=True) for loss in (got, expected))
    torch.testing.assert_close(have, want, **TOLERANCE[dtype])
    (gradient,) = torch.autograd.grad(got, inputs[:1], create_graph=True)
    assert torch.equal(gradient, gradient.detach())


def test_formulas_are_the_documented_ones() -> None:
    r, f = torch.tensor([0.3, -2.0], dtype=torch.float64), torch.tensor([1.7, -0.4], dtype=torch.float64)

    def softplus(v: float) -> float:
        return math.log1p(math.exp(v))

    pairs = list(zip(r.tolist(), f.tolist(), strict=True))
    expected = {
        "lsgan": (sum(0.5 * ((a - 1) ** 2 + b**2) for a, b in pairs), sum((b - 1) ** 2 for _, b in pairs)),
        "bce": (sum(softplus(-a) + softplus(b) for a, b in pairs), sum(softplus(-b) for _, b in pairs)),
        "hinge": (sum(max(0, 1 - a) + max(0, 1 + b) for a, b in pairs), -sum(b for _, b in pairs)),
        "wgan": (sum(b - a for a, b in pairs), -sum(b for _, b in pairs)),
    }
    for kind in KINDS:
        assert patchgan_d_loss(r, f, kind).item() == pytest.approx(expected[kind][0] / 2, rel=1e-14)
        assert patchgan_g_loss(f, kind).item() == pytest.approx(expected[kind][1] / 2, rel=1e-14)
        module = PatchGANLoss(kind)
        assert module.d(r, f) == patchgan_d_loss(r, f, kind) == module(f, r)
        assert module.g(f) == patchgan_g_loss(f, kind) == module(f)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("player", LOSSES)
def test_gradients_of_both_orders(player: str, kind: Kind) -> None:
    torch.manual_seed(1)
    loss = LOSSES[player][0]
    real, fake = pair((2, 1, 4, 3))
    channels_last = fake.detach().to(memory_format=torch.channels_last).requires_grad_()
    sliced = torch.randn(4, 2, 4, 3, dtype=torch.float64)[::2, :1].requires_grad_()
    for inputs in ((real, fake), (real, channels_last), (real, sliced)):
        assert torch.autograd.gradcheck(lambda r, f: loss(r, f, kind), inputs)
        assert torch.autograd.gradgradcheck(lambda r, f: loss(r, f, kind), inputs)
    scales = (real, pair((1, 1, 2, 2))[0], fake, pair((3, 1, 2, 2))[1])
    assert torch.autograd.gradcheck(lambda a, b, c, d: loss([a, b], [c, d], kind), scales)
    assert torch.autograd.gradgradcheck(lambda a, b, c, d: loss([a, b], [c, d], kind), scales)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("player", LOSSES)
def test_scales_are_averaged(player: str, kind: Kind) -> None:
    loss = LOSSES[player][0]
    (r1, f1), (r2, f2) = pair((2, 1, 8, 8)), pair((2, 1, 3, 3))
    torch.testing.assert_close(loss([r1, r2], [f1, f2], kind), (loss(r1, f1, kind) + loss(r2, f2, kind)) / 2)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", KINDS)
def test_special_values_are_those_of_torch(kind: Kind, dtype: torch.dtype) -> None:
    for value in (0.0, -0.0, 1.0, -1.0, 100.0, -100.0, 6e4, math.inf, -math.inf, math.nan):
        for loss, reference in LOSSES.values():
            x = [torch.full((3,), value, dtype=dtype).requires_grad_() for _ in range(2)]
            y = [t.detach().clone().requires_grad_() for t in x]
            got, want = loss(*x, kind), reference(*y, kind)
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-30, equal_nan=True)
            have = torch.autograd.grad(got, x, allow_unused=True)
            for h, w in zip(have, torch.autograd.grad(want, y, allow_unused=True), strict=True):
                if w is not None and h is not None:
                    torch.testing.assert_close(h, w, equal_nan=True, **TOLERANCE[dtype])


def test_bce_keeps_its_digits_at_both_ends() -> None:
    for value in (-700.0, -40.0, -20.0, -1e-3, 0.0, 1e-3, 15.0, 20.0, 21.0, 40.0, 700.0):
        x = torch.tensor([value], dtype=torch.float64)
        exact = max(-value, 0.0) + math.log1p(math.exp(-abs(value)))
        assert patchgan_g_loss(x, "bce").item() == pytest.approx(exact, rel=1e-14)
        assert patchgan_g_loss(x.float(), "bce").item() == pytest.approx(exact, rel=1e-6, abs=2e-38)


@pytest.mark.parametrize("kind", KINDS)
def test_no_logits_give_nan_and_empty_gradients(kind: Kind) -> None:
    real, fake = pair((0, 1, 4, 4), torch.float32)
    loss = patchgan_d_loss(real, fake, kind)
    assert loss.isnan()
    assert [g.shape for g in torch.autograd.grad(loss, (real, fake))] == [(0, 1, 4, 4)] * 2


def test_gradient_is_not_shared_between_backward_passes() -> None:
    """The stored gradient is handed on without a copy; adding up into `.grad` must not change it."""
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    loss = patchgan_g_loss(logits)
    loss.backward(retain_graph=True)
    assert logits.grad is not None
    first = logits.grad.clone()
    loss.backward(retain_graph=True)
    loss.backward()
    torch.testing.assert_close(logits.grad, 3 * first)


def test_half_gradient_survives_many_elements() -> None:
    """1 / numel is far among float16's subnormals; with a loss scale the gradient is not."""
    logits = torch.randn(4, 1, 256, 256).half().requires_grad_()
    scale = 2.0**16
    (gradient,) = torch.autograd.grad(patchgan_g_loss(logits) * scale, logits)
    expected = 2 * (logits.detach().double() - 1) * scale / logits.numel()
    torch.testing.assert_close(gradient.double(), expected, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_several_gradients_at_once(kind: Kind) -> None:
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    loss, factors = patchgan_g_loss(logits, kind), torch.tensor([1.0, 2.0, -3.0])
    (batched,) = torch.autograd.grad(loss, logits, factors, is_grads_batched=True, retain_graph=True)
    (single,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(batched, factors.view(3, 1, 1, 1, 1) * single)


@pytest.mark.parametrize("kind", KINDS)
def test_forward_mode(kind: Kind) -> None:
    logits, tangent = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    with forward_ad.dual_level():
        ours = forward_ad.unpack_dual(patchgan_g_loss(forward_ad.make_dual(logits, tangent), kind)).tangent
    (gradient,) = torch.autograd.grad(patchgan_g_loss(logits.requires_grad_(), kind), logits)
    torch.testing.assert_close(ours, (gradient * tangent).sum())


@native
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_opcheck(kind: int, dtype: torch.dtype) -> None:
    logits = list(pair((2, 1, 4, 5), dtype))
    for generator in (False, True):
        torch.library.opcheck(torch.ops.gankit.patchgan_loss.default, (logits, kind, generator))
        plain = [x.detach() for x in logits]
        for with_grads in (False, True):
            args = (plain, kind, generator, with_grads)
            torch.library.opcheck(torch.ops.gankit.patchgan_loss_forward.default, args)


@native
@pytest.mark.parametrize("generator", [False, True])
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_gradients_of_the_registered_op(kind: int, generator: bool) -> None:
    def op(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return torch.ops.gankit.patchgan_loss.default([real, fake], kind, generator)

    assert torch.autograd.gradcheck(op, pair((2, 1, 3, 3)))
    assert torch.autograd.gradgradcheck(op, pair((2, 1, 3, 3)))


@native
def test_fallback_kernel_agrees_with_the_native_one() -> None:
    from gankit.ops.patchgan_loss import _any_device_forward

    for dtype in TOLERANCE:
        logits = [x.detach() for x in pair((2, 1, 30, 30), dtype)]
        for kind in range(len(KINDS)):
            for generator in (False, True):
                value, slopes = torch.ops.gankit.patchgan_loss_forward(logits, kind, generator, True)
                other_value, other_slopes = _any_device_forward(logits, kind, generator, True)
                torch.testing.assert_close(value, other_value, rtol=1e-5, atol=1e-6)
                torch.testing.assert_close(slopes, other_slopes, **TOLERANCE[dtype])


@pytest.mark.parametrize("kind", KINDS)
def test_compiles_without_a_graph_break(kind: Kind) -> None:
    real, fake = pair((2, 1, 6, 6), torch.float32)
    loss = torch.compile(patchgan_d_loss, fullgraph=True)(real, fake, kind)
    expected = patchgan_d_loss(real, fake, kind)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, (real, fake)), torch.autograd.grad(expected, (real, fake)))


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_and_functional_gradient(kind: Kind) -> None:
    real, fake = torch.randn(5, 1, 4, 4), torch.randn(5, 1, 4, 4)
    one_by_one = torch.stack([patchgan_d_loss(r, f, kind) for r, f in zip(real, fake, strict=True)])
    torch.testing.assert_close(torch.vmap(lambda r, f: patchgan_d_loss(r, f, kind))(real, fake), one_by_one)
    if native_available():
        op = torch.ops.gankit.patchgan_loss.default
        batched = torch.vmap(lambda r, f: op([r, f], KINDS.index(kind), False))(real, fake)
        torch.testing.assert_close(batched, one_by_one)
    got = torch.func.grad(lambda f: patchgan_g_loss(f, kind))(fake)
    torch.testing.assert_close(got, torch.func.grad(lambda f: patchgan_g_loss_reference(f, kind))(fake))


def test_autocast_computes_in_float32() -> None:
    logits = torch.randn(2, 1, 30, 30, dtype=torch.bfloat16)
    with torch.autocast(torch.get_default_device().type, torch.bfloat16):
        assert patchgan_g_loss(logits, "bce").dtype == torch.float32


@native
@pytest.mark.parametrize("kind", ["lsgan", "bce", "hinge"])  # wgan is torch's own mean
def test_result_does_not_depend_on_the_number_of_threads(kind: Kind) -> None:
    real, fake = pair((3, 1, 200, 201), torch.float32)
    threads, values = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            values.append(patchgan_d_loss(real.detach(), fake.detach(), kind))
    finally:
        torch.set_num_threads(threads)
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: patchgan_g_loss(x, "wassertein"), ValueError, "kind must be one of lsgan, .*got 'wassertein'"),
        (lambda x: PatchGANLoss("ns"), ValueError, "kind must be one of lsgan, .*got 'ns'"),
        (lambda x: patchgan_g_loss([]), ValueError, "fake_logits must be a tensor.*got an empty list"),
        (lambda x: patchgan_d_loss([x], [x, x]), ValueError, "as many scales, got 1 and 2"),
        (lambda x: patchgan_d_loss(x.int(), x), TypeError, "real_logits must be tensors of float32.*got torch.int32"),
        (lambda x: patchgan_d_loss(x, [1.0]), TypeError, "fake_logits must be tensors of float32.*got float"),
        pytest.param(
            lambda x: patchgan_d_loss(x, x.to("meta")),
            ValueError,
            "logits must be on one device, got (cpu|cuda:0), meta",
            marks=native,  # elsewhere torch adds a "meta" tensor to any other, and says nothing
        ),
    ],
)
def test_errors_name_argument_requirement_and_value(
    call: Callable[[torch.Tensor], object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        call(torch.zeros(2, 1, 3, 3))
