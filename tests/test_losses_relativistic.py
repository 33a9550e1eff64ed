"""Relativistic pairs and the approximate penalty, against their formulas and the exact penalty."""

import math

import pytest
import torch
from torch import nn

from gankit.losses import approx_penalty, r1_penalty, r2_penalty, relativistic_d_loss, relativistic_g_loss


def smooth(inputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 6), nn.Softplus(), nn.Linear(6, 1)).double()


def test_pairs_by_hand_and_the_mirror_image():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    expected = (math.log1p(math.exp(-1.5)) + math.log1p(math.exp(4.0))) / 2
    assert relativistic_d_loss(real, fake).item() == pytest.approx(expected, rel=1e-6)
    assert relativistic_g_loss(real, fake).item() == pytest.approx(relativistic_d_loss(fake, real).item(), rel=1e-6)
    shift = torch.tensor(100.0)  # only differences count
    assert relativistic_d_loss(real + shift, fake + shift).item() == pytest.approx(expected, rel=1e-4)


def test_pairs_of_far_logits_are_finite_and_have_a_gradient():
    real = torch.tensor([-300.0, 300.0], requires_grad=True)
    loss = relativistic_d_loss(real, torch.zeros(2))
    loss.backward()
    assert loss.item() == pytest.approx(150.0)
    assert real.grad.tolist() == [-0.5, 0.0]


@pytest.mark.parametrize("loss", [relativistic_d_loss, relativistic_g_loss])
def test_derivatives_of_pairs(loss):
    real, fake = (torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(loss, (real, fake))
    assert torch.autograd.gradgradcheck(loss, (real, fake))


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 1, 3, 3), ()])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_pairs_take_logits_of_any_shape_and_type(shape, dtype):
    real, fake = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    loss = relativistic_d_loss(real, fake)
    assert loss.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)
    wide = torch.nn.functional.softplus(fake.double() - real.double()).mean()
    assert loss.item() == pytest.approx(wide.item(), rel=1e-5)
    assert relativistic_d_loss(torch.full_like(real, torch.nan), fake).isnan()


def test_r2_is_r1_of_fakes_and_leaves_the_generator_alone():
    net, fake = smooth(), torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    penalty = r2_penalty(net, fake)
    assert torch.equal(penalty, r1_penalty(net, fake))
    penalty.backward()
    assert fake.grad is None
    assert net[0].weight.grad.abs().sum() > 0


def test_approximation_is_the_squared_gradient_norm_in_expectation():
    net, points = smooth(), torch.randn(4, 3, dtype=torch.float64)
    exact = r1_penalty(net, points)
    many = points.repeat(20_000, 1)
    for scale in (1e-3, 0.01):
        drawn = approx_penalty(net, many, scale=scale, generator=torch.Generator().manual_seed(1))
        assert drawn.item() == pytest.approx(exact.item(), rel=0.02)
    slope = torch.tensor([3.0, 4.0])
    line = approx_penalty(lambda x: x @ slope, torch.zeros(50_000, 2), generator=torch.Generator().manual_seed(2))
    assert line.item() == pytest.approx(25.0, rel=0.03)


def test_gradient_of_the_approximation_is_the_exact_one_in_expectation():
    net, points = smooth(), torch.randn(4, 3, dtype=torch.float64)
    weights = list(net.parameters())[:3]  # the last bias is in no difference
    exact = torch.autograd.grad(r1_penalty(net, points), weights)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.autograd.grad(approx_penalty(net, points.repeat(50_000, 1), generator=generator), weights)
    for one, other in zip(drawn, exact, strict=True):
        assert (one - other).norm() <= 0.05 * other.norm()


@pytest.mark.parametrize("order", ["first", "second"])
def test_derivatives_of_the_approximation(order):
    net, points = smooth(), torch.randn(4, 3, dtype=torch.float64)
    names = [name for name, _ in net.named_parameters()]

    def penalty(*weights):
        def d(x):
            return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), x)

        return approx_penalty(d, points, scale=0.1, generator=torch.Generator().manual_seed(3))

    weights = [p.detach().clone().requires_grad_() for p in net.parameters()]
    check = torch.autograd.gradcheck if order == "first" else torch.autograd.gradgradcheck
    assert check(penalty, tuple(weights))


def test_logits_that_are_known_are_not_computed_again():
    net, points, calls = smooth(), torch.randn(4, 3, dtype=torch.float64), []

    def d(x):
        calls.append(x)
        return net(x)

    known = approx_penalty(d, points, logits=net(points), generator=torch.Generator().manual_seed(1))
    assert len(calls) == 1
    assert torch.equal(known, approx_penalty(d, points, generator=torch.Generator().manual_seed(1)))
    assert len(calls) == 3
    assert torch.equal(calls[1], points)  # the points themselves come first


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (1, 3, 5, 7)])
def test_approximation_takes_maps_of_logits_channels_last_and_16_bits(shape):
    net, real = nn.Conv2d(shape[1], 1, 3), torch.randn(shape)
    penalty = approx_penalty(net, real, generator=torch.Generator().manual_seed(0))
    last = real.to(memory_format=torch.channels_last)
    assert approx_penalty(net, last, generator=torch.Generator().manual_seed(0)) > 0
    by_hand = net(real + 0.01 * torch.randn(shape, generator=torch.Generator().manual_seed(0))) - net(real)
    assert penalty.item() == pytest.approx((by_hand.sum((1, 2, 3)) / 0.01).square().mean().item(), rel=1e-4)
    assert approx_penalty(net.bfloat16(), real.bfloat16(), scale=0.1).dtype is torch.float32


def test_a_dead_discriminator_costs_nothing():
    weight = torch.zeros(2, requires_grad=True)
    loss = approx_penalty(lambda x: x @ weight, torch.randn(3, 2))
    loss.backward()
    assert loss.item() == 0
    assert weight.grad.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: relativistic_d_loss(torch.zeros(2), torch.zeros(3)), "(2,) and (3,)"),
        (lambda: relativistic_g_loss(torch.zeros(2), torch.zeros(2, 1)), "(2,) and (2, 1)"),
        (lambda: approx_penalty(lambda x: x.sum(1), torch.zeros(2, 3), scale=0), "got 0"),
        (lambda: approx_penalty(lambda x: x.sum(1), torch.zeros(2, 3), scale=math.inf), "got inf"),
        (lambda: approx_penalty(lambda x: x.sum(1), torch.zeros(2, 3), scale=math.nan), "got nan"),
        (lambda: approx_penalty(lambda x: x.sum(1), torch.zeros(2, 3), logits=torch.zeros(3)), "(2,), got (3,)"),
    ],
)
def test_what_does_not_fit_is_named(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)
