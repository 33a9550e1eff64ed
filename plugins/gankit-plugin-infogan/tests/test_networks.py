"""Counts of parameters, against the layer list of the paper's appendix C.1 counted by hand."""

from __future__ import annotations

from math import prod

import pytest
import torch
from gankit_plugin_infogan import InfoGAN
from gankit_plugin_infogan.config import InfoGANConfig
from pydantic import ValidationError

from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key


def spec(channels: int = 1, height: int = 28, width: int = 28) -> DataSpec:
    return DataSpec(keys={"image": Key(kind="image", shape=(channels, height, width))})


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def convolution(inputs: int, outputs: int) -> int:
    return 16 * inputs * outputs + outputs


def norm(width: int) -> int:
    return 2 * width


def test_counts_are_those_of_the_paper() -> None:
    paper = InfoGAN.presets["paper"]
    config = InfoGANConfig(**{name: value for name, value in paper.items() if name in InfoGANConfig.model_fields})
    networks = InfoGAN(config).networks(spec())
    flat = 7 * 7 * 128
    by_hand = {
        "generator": linear(62 + 10 + 2, 1024) + norm(1024) + linear(1024, flat) + norm(flat)
        + convolution(128, 64) + norm(64) + convolution(64, 1),
        "discriminator": convolution(1, 64) + convolution(64, 128) + norm(128) + linear(flat, 1024) + norm(1024)
        + linear(1024, 1),
        "reader": linear(1024, 128) + norm(128) + linear(128, 10 + 2 * 2),
    }  # fmt: skip
    assert by_hand == {"generator": 6_652_481, "discriminator": 6_559_169, "reader": 133_262}
    assert {name: sum(prod(p.shape) for p in net.parameters()) for name, net in networks.items()} == by_hand


def test_shapes() -> None:
    networks = InfoGAN(InfoGANConfig(continuous=("a", "b", "c"), classes=4, width=4, hidden=16)).networks(
        spec(3, 8, 12)
    )
    image = networks["generator"](torch.randn(5, 65), torch.tensor([0, 1, 2, 3, 3]))
    assert image.shape == (5, 3, 8, 12)
    assert image.abs().max() <= 1
    features = networks["discriminator"].features(image)
    assert networks["discriminator"].score(features).shape == (5, 1)
    assert [part.shape for part in networks["reader"](features)] == [(5, 4), (5, 3), (5, 3)]


@pytest.mark.parametrize(("height", "width"), [(30, 32), (4, 4)])
def test_sides_that_do_not_halve_twice_are_refused(height: int, width: int) -> None:
    with pytest.raises(UsageError, match="sides that 4 divides"):
        InfoGAN(InfoGANConfig()).networks(spec(1, height, width))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"continuous": ("slant", "slant")}, "two codes have the name 'slant'"),
        ({"categorical": "c1"}, "two codes have the name 'c1'"),
        ({"continuous": ("how wide",)}, "'how wide' is no name of a code"),
        ({"values": ("1", "7")}, "values: 2 names; give 10, or none"),
        ({"classes": 2, "values": ("1", "1")}, "two have the same name"),
    ],
)
def test_names_that_cannot_be_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        InfoGANConfig(**options)


def test_a_code_named_as_the_data_is_refused() -> None:
    with pytest.raises(UsageError, match="a code has the name 'image', and so has a key of the data"):
        InfoGAN(InfoGANConfig(continuous=("image",))).networks(spec())
