"""The discriminators: published sizes, plain layers, what a logit sees, and one logit for the whole image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gankit.nn import PatchDiscriminator


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Rounding is the same at each run."""
    torch.manual_seed(0)


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_published_numbers_of_parameters() -> None:
    assert count(PatchDiscriminator(3)) == 2_764_737
    assert count(PatchDiscriminator(6, norm="batch")) == count(PatchDiscriminator(6, norm="affine")) == 2_768_705


def test_names_of_parameters_stay() -> None:
    """Checkpoints are read by them."""
    names = ["0.weight", "1.bias", "2.weight", "2.bias", "4.weight", "4.bias", "6.weight", "6.bias"]
    assert list(PatchDiscriminator(3, 2, 2).state_dict()) == [f"layers.{name}" for name in names]


def plain(channels: int, width: int, layers: int, norm: Callable[[int], nn.Module], bias: bool) -> nn.Sequential:
    made: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    wide = [width * min(2**i, 8) for i in range(layers + 1)]
    for i in range(1, layers + 1):
        conv = nn.Conv2d(wide[i - 1], wide[i], 4, 2 if i < layers else 1, 1, bias=bias)
        made += [conv, norm(wide[i]), nn.LeakyReLU(0.2)]
    return nn.Sequential(*made, nn.Conv2d(wide[-1], 1, 4, 1, 1))


@pytest.mark.parametrize(
    ("norm", "plain_norm", "bias"),
    [
        ("batch", nn.BatchNorm2d, False),
        ("instance", nn.InstanceNorm2d, True),
        ("affine", lambda channels: nn.InstanceNorm2d(channels, affine=True), False),
    ],
)
def test_logits_are_those_of_plain_layers(norm, plain_norm, bias) -> None:
    network, reference = PatchDiscriminator(6, 4, 3, norm), plain(6, 4, 3, plain_norm, bias)
    for p in network.parameters():
        p.data.normal_(std=0.3)
    ours = list(network.parameters())
    assert [p.shape for p in ours] == [p.shape for p in reference.parameters()]
    for p, theirs in zip(ours, reference.parameters(), strict=True):
        theirs.data.copy_(p)
    images = torch.randn(2, 6, 64, 72)
    logits = network(images)
    assert logits.shape == (2, 1, 6, 7)
    torch.testing.assert_close(logits, reference(images), atol=1e-5, rtol=1e-5)


def test_logits_at_256() -> None:
    assert PatchDiscriminator(3, width=2)(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


@pytest.mark.parametrize(("layers", "patch"), [(0, 1), (1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_one_patch(layers: int, patch: int) -> None:
    """Without the norms, which see the whole plane: the gradient of one logit covers patch x patch pixels."""
    network = PatchDiscriminator(1, width=2, layers=layers)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    image = torch.randn(1, 1, 160, 160, requires_grad=True)
    logits = torch.nn.Sequential(*convolutions)(image)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    rows = gradient[0, 0].abs().sum(1).nonzero()[:, 0]
    assert int(rows.max() - rows.min()) + 1 == patch


@pytest.mark.parametrize("norm", ["batch", "instance", "affine"])
def test_a_logit_for_each_pixel(norm) -> None:
    network = PatchDiscriminator(4, width=2, layers=0, norm=norm)
    assert network(torch.randn(2, 4, 5, 7)).shape == (2, 1, 5, 7)
    with torch.device("meta"):
        assert count(PatchDiscriminator(6, layers=0, norm="batch")) == 64 * 7 + 128 * 64 + 2 * 128 + 129


@pytest.mark.parametrize(("layers", "size"), [(0, (4, 6)), (1, (6, 5)), (2, (20, 32)), (3, (33, 16))])
def test_one_logit_for_the_whole_image(layers: int, size: tuple[int, int]) -> None:
    network = PatchDiscriminator(1, width=2, layers=layers, whole=size)
    image = torch.randn(3, 1, *size, requires_grad=True)
    logits = network(image)
    assert logits.shape == (3, 1, 1, 1)
    (gradient,) = torch.autograd.grad(logits[1].sum(), image)
    assert gradient[1].any(0).all()
    assert not gradient[[0, 2]].any()


def test_nothing_is_left_of_a_small_image() -> None:
    with pytest.raises(ValueError, match="nothing is left of 12x64 pixels after 3 halvings"):
        PatchDiscriminator(3, layers=3, whole=(12, 64))
