"""The ResNet generator of image translation: published sizes, shapes, and the maps of its encoder."""

import pytest
import torch

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
