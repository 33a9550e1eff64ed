"""The terms against their formulas, by hand and by finite differences."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from gankit.losses import feature_matching, gradient_penalty, kl_normal, r1_penalty, sameness


def linear(weight: torch.Tensor):
    return lambda x: x.flatten(1) @ weight


def test_penalties_of_a_linear_discriminator_are_known():
    weight = torch.tensor([3.0, 4.0])  # |grad| = 5 everywhere
    real, fake = torch.randn(6, 2), torch.randn(6, 2)
    assert gradient_penalty(linear(weight), real, fake).item() == pytest.approx(16.0)
    assert gradient_penalty(linear(weight), real, fake, target=5.0).item() == pytest.approx(0.0, abs=1e-9)
    assert r1_penalty(linear(weight), real).item() == pytest.approx(25.0)


@pytest.mark.parametrize("term", ["gp", "r1"])
def test_penalty_gradients_reach_the_weights(term):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Softplus(), nn.Linear(5, 1)).double()
    real, fake = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    names = [name for name, _ in net.named_parameters()]

    def penalty(*weights):
        def d(x):
            return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), x)

        generator = torch.Generator().manual_seed(3)
        return gradient_penalty(d, real, fake, generator=generator) if term == "gp" else r1_penalty(d, real)

    weights = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradcheck(lambda *w: penalty(*w, weights[-1].detach()), weights[:-1])


def test_penalty_points_lie_between_and_follow_the_generator():
    seen = []

    def d(x):
        seen.append(x.detach().clone())
        return x.sum(1)

    real, fake = torch.zeros(50, 3), torch.ones(50, 3)
    for _ in range(2):
        gradient_penalty(d, real, fake, generator=torch.Generator().manual_seed(1))
    assert torch.equal(seen[0], seen[1])
    assert (seen[0] >= 0).all()
    assert (seen[0] <= 1).all()
    assert torch.equal(seen[0][:, 0], seen[0][:, 2])  # one draw a sample, not one a pixel
    assert seen[0][:, 0].std() > 0.2


def test_penalty_of_a_dead_discriminator_is_finite_and_so_is_its_gradient():
    weight = torch.zeros(2, requires_grad=True)
    loss = gradient_penalty(linear(weight), torch.randn(3, 2), torch.randn(3, 2))
    loss.backward()
    assert loss.item() == pytest.approx(1.0)
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (1, 3, 5, 7)])
def test_penalties_take_images_channels_last_and_bfloat16(shape):
    net = nn.Conv2d(shape[1], 1, 3)
    real = torch.randn(shape).to(memory_format=torch.channels_last)
    assert r1_penalty(net, real).item() == pytest.approx(r1_penalty(net, real.contiguous()).item(), rel=1e-5)
    half = r1_penalty(net.bfloat16(), real.bfloat16())
    assert half.dtype is torch.float32
    assert real.requires_grad is False


def test_kl_is_torchs_and_exact_near_zero():
    mu, logvar = torch.randn(5, 7, dtype=torch.float64), torch.randn(5, 7, dtype=torch.float64)
    expected = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(torch.zeros_like(mu), 1.0)).mean()
    torch.testing.assert_close(kl_normal(mu, logvar), expected)
    assert kl_normal(torch.zeros(3), torch.zeros(3)).item() == 0.0
    assert kl_normal(torch.zeros(3), torch.full((3,), 1e-3)).item() == pytest.approx(0.25e-6, rel=1e-3)


def test_kl_keeps_nan():
    assert kl_normal(torch.tensor([float("nan"), 0.0]), torch.zeros(2)).isnan()


def test_feature_matching_leaves_the_real_side_alone():
    real = [torch.zeros(2, 3, requires_grad=True), torch.zeros(4, requires_grad=True)]
    fake = [torch.ones(2, 3, requires_grad=True), torch.full((4,), 3.0, requires_grad=True)]
    loss = feature_matching(real, fake)
    loss.backward()
    assert loss.item() == pytest.approx(2.0)
    assert real[0].grad is None
    assert fake[1].grad is not None


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: gradient_penalty(lambda x: x, torch.zeros(2, 3), torch.zeros(2, 4)), "(2, 3) and (2, 4)"),
        (lambda: kl_normal(torch.zeros(2), torch.zeros(3)), "(2,) and (3,)"),
        (lambda: feature_matching([], []), "got 0 and 0"),
    ],
)
def test_mismatched_shapes_are_named(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


def test_sameness_falls_as_two_draws_of_a_caption_part() -> None:
    images = torch.zeros(5, 3, 8, 8)  # rows 0 and 3, 1 and 4 belong together; row 2 is alone
    assert torch.isclose(sameness(images), torch.tensor(50.0))
    images[3:] = 0.5
    assert sameness(images) < 2
    images[2] = 9
    assert sameness(images) < 2
    assert sameness(torch.zeros(1, 3, 8, 8)) == 0
    half = torch.rand(4, 1, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    sameness(half).backward()
    assert half.grad is not None
    assert half.grad.isfinite().all()
