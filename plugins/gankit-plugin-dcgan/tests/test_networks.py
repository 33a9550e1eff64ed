from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from gankit_plugin_dcgan import DCGAN
from gankit_plugin_dcgan.networks import split_size
from torch import nn

from gankit.errors import UsageError
from gankit.nn import LeakyReLU
from gankit.plugin import DataSpec, Key


def spec(size: int, channels: int = 3, width: int | None = None) -> DataSpec:
    return DataSpec(keys={"image": Key(kind="image", shape=(channels, size, width or size))})


def build(size: int, channels: int = 3, **options: Any) -> dict[str, nn.Module]:
    return DCGAN(DCGAN.Config(**options)).networks(spec(size, channels))


def parameters(networks: Mapping[str, nn.Module]) -> dict[str, int]:
    return {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}


def test_parameters_at_64_are_those_of_the_reference() -> None:
    assert parameters(build(64)) == {"generator": 3_576_704, "discriminator": 2_765_568}


def test_faces_has_the_layers_and_parameters_of_the_document() -> None:
    """A linear layer to 3x3x512, four 5x5 convolutions each way, biases everywhere, no norm before the last layer."""
    options = {key: value for key, value in DCGAN.presets["faces"].items() if key in DCGAN.Config.model_fields}
    networks = build(48, **options)
    assert parameters(networks) == {
        "generator": 101 * 4608
        + (25 * 512 + 1) * 256
        + (25 * 256 + 1) * 128
        + (25 * 128 + 1) * 64
        + (25 * 64 + 1) * 3
        + 2 * (512 + 256 + 128),
        "discriminator": (25 * 3 + 1) * 64
        + (25 * 64 + 1) * 128
        + (25 * 128 + 1) * 256
        + (25 * 256 + 1) * 512
        + (4608 + 1)
        + 2 * (128 + 256 + 512),
    }
    kinds = [type(layer).__name__ for layer in networks["generator"].layers]
    block = ["BatchNorm2d", "ReLU", "ConvTranspose2d"]
    assert kinds == ["ConvTranspose2d", "_MapBias", *block * 3, "ReLU", "ConvTranspose2d", "Tanh"]
    kinds = [type(layer).__name__ for layer in networks["discriminator"].layers]
    assert kinds == ["Conv2d", "LeakyReLU", *["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3, "Conv2d"]


def test_the_first_layer_with_its_bias_is_a_linear_layer() -> None:
    start = build(48, bias=True, g_width=2, z=5)["generator"].layers[:2]
    nn.init.normal_(start[1].bias)
    linear = nn.Linear(5, 16 * 9)
    linear.weight.data = start[0].weight.flatten(1).t()
    linear.bias.data = start[1].bias.flatten()
    z = torch.randn(4, 5)
    torch.testing.assert_close(start(z[:, :, None, None]), linear(z).view(4, 16, 3, 3))


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize(("size", "channels"), [(8, 3), (16, 1), (28, 1), (32, 1), (40, 3), (48, 3), (64, 3), (128, 1)])
def test_images_come_out_at_every_size(size: int, channels: int, kernel: int) -> None:
    networks = build(size, channels, kernel=kernel, g_width=2, d_width=2, z=5, bias=True)
    images = networks["generator"](torch.randn(3, 5))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    logits = networks["discriminator"](images)
    assert logits.shape == (3,)
    logits.sum().backward()
    for network in networks.values():
        assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    ("size", "parts"),
    [(8, (4, 1)), (48, (3, 4)), (64, (4, 4)), (1024, (4, 8)), (56, (7, 3)), (80, (5, 4)), (12, (3, 2))],
)
def test_a_size_is_a_base_and_doublings(size: int, parts: tuple[int, int]) -> None:
    assert split_size(size) == parts


@pytest.mark.parametrize(("size", "nearest"), [(50, 48), (63, 64), (4, 8), (7, 8), (72, 64), (100, 96)])
def test_another_size_is_refused_with_the_nearest(size: int, nearest: int) -> None:
    with pytest.raises(UsageError, match=rf"cannot draw {size} x {size} .* --data.size {nearest} is the nearest"):
        build(size)


def test_images_must_be_square() -> None:
    with pytest.raises(UsageError, match="32 x 64"):
        DCGAN(DCGAN.Config()).networks(spec(32, width=64))


def test_the_rules_of_the_paper() -> None:
    networks = build(64)
    generator, discriminator = (list(networks[name].layers) for name in ("generator", "discriminator"))
    kinds = [type(layer) for layer in generator]
    assert kinds == [*[nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU] * 4, nn.ConvTranspose2d, nn.Tanh]
    kinds = [type(layer) for layer in discriminator]
    assert kinds == [nn.Conv2d, LeakyReLU, *[nn.Conv2d, nn.BatchNorm2d, LeakyReLU] * 3, nn.Conv2d]
    for layer in generator + discriminator:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert layer.bias is None
            assert abs(layer.weight.std() - 0.02) < 0.001
            assert abs(layer.weight.mean()) < 0.001
        elif isinstance(layer, nn.BatchNorm2d):
            assert abs(layer.weight.mean() - 1) < 0.01
            assert layer.weight.std() > 0.01
            assert not layer.bias.any()
        elif isinstance(layer, LeakyReLU):
            assert layer.negative_slope == 0.2
