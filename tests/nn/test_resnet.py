"""The ResNet generator of image translation: published sizes, shapes, and the maps of its encoder."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gankit.nn import ResNetGenerator


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_published_numbers_of_parameters() -> None:
    assert count(ResNetGenerator(3, 3)) == 11_378_179
    assert count(ResNetGenerator(3, 3, blocks=6)) == 7_837_699


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 48), (20, 8)])
def test_a_translation_has_the_size_of_its_image(height: int, width: int) -> None:
    translated = ResNetGenerator(1, 3, width=4, blocks=1)(torch.randn(2, 1, height, width))
    assert translated.shape == (2, 3, height, width)
    assert translated.abs().max() <= 1


def plain_encoder(network: ResNetGenerator, images: torch.Tensor) -> list[torch.Tensor]:
    """The maps by hand, from the same weights, in torch's own layers."""
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    first, down, further, *rest = convolutions
    norm = F.instance_norm
    maps = [images, first(F.pad(images, (3, 3, 3, 3), "reflect"))]
    maps.append(down(norm(maps[-1]).relu()))
    maps.append(further(norm(maps[-1]).relu()))
    x = norm(maps[-1]).relu()
    for one, two in zip(rest[:-1:2], rest[1:-1:2], strict=True):
        y = norm(one(F.pad(x, (1, 1, 1, 1), "reflect"))).relu()
        x = x + norm(two(F.pad(y, (1, 1, 1, 1), "reflect")))
        maps.append(x)
    return maps


def test_the_maps_of_the_encoder() -> None:
    network = ResNetGenerator(3, 3, width=4, blocks=3)
    images = torch.randn(2, 3, 16, 24)
    every = list(range(7))
    for ours, theirs, channels in zip(
        network.features(images, every), plain_encoder(network, images), network.channels, strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        assert ours.shape[1] == channels
    translated, found = network.with_features(images, (5, 0, 2))
    assert torch.equal(translated, network(images))
    assert all(torch.equal(a, b) for a, b in zip(found, network.features(images, (5, 0, 2)), strict=True))


def test_no_layer_runs_in_vain() -> None:
    network, ran = ResNetGenerator(1, 1, width=2, blocks=4), []
    for place, layer in enumerate(network.layers):
        layer.register_forward_hook(lambda *_, place=place: ran.append(place))
    images = torch.randn(1, 1, 16, 16)
    network.features(images, (0, 3))
    assert ran == [0, 1, 2, 3, 4, 5]
    ran.clear()
    assert network.features(images, (0,))[0] is images
    assert not ran
    network.with_features(images, ())
    assert len(ran) == len(network.layers)


def test_there_are_no_other_layers() -> None:
    with pytest.raises(ValueError, match="numbered from 0 to 5, got 6"):
        ResNetGenerator(1, 1, width=2, blocks=2).features(torch.zeros(1, 1, 16, 16), (0, 6))
