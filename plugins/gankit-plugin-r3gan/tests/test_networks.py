"""Counts, shapes, the start of training, and the resampling."""

from __future__ import annotations

import math

import pytest
import torch
from gankit_plugin_r3gan import R3GAN
from gankit_plugin_r3gan.config import R3GANConfig
from gankit_plugin_r3gan.networks import default_widths
from gankit_plugin_r3gan.resample import double, halve
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key, SampleRequest


def spec(channels: int = 3, height: int = 32, width: int = 32, classes: int = 0) -> DataSpec:
    keys = {"image": Key(kind="image", shape=(channels, height, width))}
    if classes:
        keys["label"] = Key(kind="class", names=tuple(map(str, range(classes))))
    return DataSpec(keys=keys)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def block(width: int) -> int:
    """1x1, 3x3 in groups of 16, 1x1, and two biases."""
    return 2 * width * 2 * width + 2 * width * 16 * 9 + 4 * width


def test_counts_are_those_of_the_small_reference() -> None:
    networks = R3GAN(R3GANConfig()).networks(spec())
    blocks = sum(map(block, (256, 256, 128, 64)))
    between = 256 * 128 + 128 * 64
    assert count(networks["generator"]) == blocks + between + 256 * 16 + 64 * 256 + 64 * 3 == 873_408
    assert count(networks["discriminator"]) == blocks + between + 256 * 16 + 256 + 64 * 3 == 857_280


def test_classes_add_an_embedding_and_a_projection() -> None:
    plain = R3GAN(R3GANConfig()).networks(spec())
    told = R3GAN(R3GANConfig(conditional=True)).networks(spec(classes=10))
    assert count(told["generator"]) - count(plain["generator"]) == 10 * 64 + 64 * 256
    assert count(told["discriminator"]) - count(plain["discriminator"]) == 256 * 64 + 10 * 64 - 256


def test_paper_has_the_widths_of_the_paper() -> None:
    options = {k: v for k, v in R3GAN.presets["paper"].items() if k in R3GANConfig.model_fields}
    with torch.device("meta"):
        networks = R3GAN(R3GANConfig(**options)).networks(spec())
    assert count(networks["generator"]) == 8 * block(768) + 768 * 16 + 64 * 768 + 768 * 3 == 20_732_160
    assert count(networks["discriminator"]) == 8 * block(768) + 768 * 16 + 768 + 768 * 3 == 20_683_776


@pytest.mark.parametrize(
    ("height", "width", "widths"),
    [
        (32, 32, (256, 256, 128, 64)),
        (28, 28, (256, 128, 64)),
        (64, 32, (256, 256, 128, 64)),
        (48, 48, None),
        (9, 8, None),
    ],
)
@pytest.mark.parametrize("classes", [0, 5])
def test_images_of_many_sizes(height: int, width: int, widths: tuple[int, ...] | None, classes: int) -> None:
    given = spec(1, height, width, classes)
    if widths:
        assert default_widths(64, height, width) == widths
    variant = R3GAN(R3GANConfig(width=8, z=5, conditional=bool(classes)))
    networks = variant.networks(given)
    labels = torch.tensor([0, 1, 4]) if classes else None
    batch = {"label": labels} if labels is not None else {}
    request = SampleRequest(n=3, batch=batch, generator=torch.Generator(), device=torch.device("cpu"), spec=given)
    images = variant.sample(networks, request)
    assert images.shape == (3, 1, height, width)
    assert images.abs().max() <= 1
    assert networks["discriminator"](images, labels).shape == (3,)


def test_blocks_start_as_nothing_and_layers_keep_the_variance() -> None:
    torch.manual_seed(0)
    networks = R3GAN(R3GANConfig(blocks=2)).networks(spec())
    images = networks["generator"](torch.randn(64, 64))
    assert 0.3 < images.std() < 3
    inner = [m for m in networks["generator"].modules() if isinstance(m, nn.Conv2d) and m.weight.abs().sum() == 0]
    assert len(inner) == 8  # the last layer of each block
    scaled = [m.weight for m in networks["generator"].modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    gain = math.sqrt(2 / 1.04) * 8**-0.25
    for weight in scaled:
        assert weight.detach().std() * math.sqrt(weight[0].numel()) == pytest.approx(gain, rel=0.05)


def test_both_networks_heed_the_label() -> None:
    networks = R3GAN(R3GANConfig(width=8, conditional=True)).networks(spec(classes=10))
    labels = torch.tensor([1, 8])
    drawn = networks["generator"](torch.randn(1, 64).expand(2, -1), labels)
    assert not torch.allclose(drawn[0], drawn[1])
    logits = networks["discriminator"](drawn[:1].expand(2, -1, -1, -1), labels)
    assert logits[0] != logits[1]


@pytest.mark.parametrize("classes", [0, 4])
def test_features_and_direction_are_trained_apart(classes: int) -> None:
    judge = R3GAN(R3GANConfig(width=8, san=True, conditional=bool(classes))).networks(spec(classes=classes))[
        "discriminator"
    ]
    labels = torch.tensor([0, 3]) if classes else None
    features = judge.features(torch.randn(2, 3, 32, 32))
    logits, apart = judge.score(features, labels), judge.direction(features, labels)
    assert torch.allclose(logits, apart)
    (of_direction,) = torch.autograd.grad(apart.sum(), judge.head.weight, retain_graph=True)
    assert of_direction.abs().sum() > 0
    unused = torch.autograd.grad(apart.sum(), [judge.basis, judge.scale], allow_unused=True, retain_graph=True)
    assert unused == (None, None)
    assert torch.autograd.grad(logits.sum(), judge.head.weight, allow_unused=True, retain_graph=True) == (None,)
    with torch.no_grad():
        judge.head.weight.mul_(7)  # only its direction counts
    assert torch.allclose(judge.score(features, labels), logits)


@pytest.mark.parametrize(
    ("options", "given", "text"),
    [
        ({"widths": (64, 32, 16)}, spec(3, 30, 32), "3 stages need sides that 4 divides, the images are 32x30"),
        ({"widths": (16,) * 5}, spec(3, 16, 16), "5 stages need sides that 16 divides, the images are 16x16"),
        (
            {"width": 12},
            spec(),
            "12 channels are 24 inside a block, which groups of 16 do not divide: .* multiples of 8",
        ),
        ({"conditional": True}, spec(), "the data has no classes, only image"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(options: dict[str, object], given: DataSpec, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        R3GAN(R3GANConfig(**options)).networks(given)


def by_convolution(images: Tensor, up: bool) -> Tensor:
    taps = torch.tensor([1.0, 3, 3, 1], dtype=images.dtype) / 8
    channels = images.shape[1]
    kernel = torch.outer(taps, taps).expand(channels, 1, 4, 4)
    if up:
        return F.conv_transpose2d(images, 4 * kernel, None, 2, 1, 0, channels)
    return F.conv2d(images, kernel, None, 2, 1, 1, channels)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_resampling_and_its_derivatives(layout: torch.memory_format) -> None:
    images = torch.randn(2, 3, 4, 6, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    for function, up in ((halve, False), (double, True)):
        out = function(images)
        torch.testing.assert_close(out, by_convolution(images, up))
        assert out.is_contiguous(memory_format=layout)
        assert torch.autograd.gradcheck(function, (images,))
        assert torch.autograd.gradgradcheck(function, (images,))
        with torch.autocast("cpu", torch.bfloat16):
            half = function(images.detach().bfloat16())
        assert half.dtype is torch.bfloat16
        torch.testing.assert_close(half.double(), out.detach(), rtol=0.02, atol=0.02)
    flat = torch.ones(1, 1, 8, 8)
    assert torch.allclose(double(flat)[..., 1:-1, 1:-1], torch.ones(14, 14))  # only the border knows of the zeros
    assert torch.allclose(halve(flat)[..., 1:-1, 1:-1], torch.ones(2, 2))
