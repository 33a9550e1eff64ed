"""The class-conditional GAN: networks, presets, and that it learns what it is told."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gankit_plugin_cgan import CGAN
from gankit_plugin_cgan.digits import Digits, DigitsConfig
from gankit_plugin_cgan.variant import CGANConfig

import gankit
from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key, SampleRequest


def spec(channels: int = 1, height: int = 32, width: int = 32, classes: int = 10) -> DataSpec:
    label = Key(kind="class", names=tuple(map(str, range(classes))))
    return DataSpec(keys={"image": Key(kind="image", shape=(channels, height, width)), "label": label})


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_plain_preset_has_the_textbook_networks() -> None:
    options = {key: value for key, value in CGAN.presets["plain"].items() if key in CGANConfig.model_fields}
    networks = CGAN(CGANConfig(**options)).networks(spec(height=28, width=28))
    assert count(networks["generator"]) == 110 * 128 + 128 + 128 * 784 + 784 == 115_344
    assert count(networks["discriminator"]) == 794 * 128 + 128 + 128 + 1 == 101_889


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize(("height", "width", "channels"), [(32, 32, 1), (28, 28, 3), (8, 16, 1), (64, 48, 2)])
def test_shapes(network: str, height: int, width: int, channels: int) -> None:
    given, variant = spec(channels, height, width, 7), CGAN(CGANConfig(network=network, hidden=24, z=5))
    networks = variant.networks(given)
    batch = {"label": torch.tensor([0, 6, 3])}
    request = SampleRequest(n=3, batch=batch, generator=torch.Generator(), device=torch.device("cpu"), spec=given)
    images = variant.sample(networks, request)
    assert images.shape == (3, channels, height, width)
    assert images.abs().max() <= 1
    assert networks["discriminator"](images, batch["label"]).shape == (3, 1)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_both_networks_heed_the_label(network: str) -> None:
    networks = CGAN(CGANConfig(network=network)).networks(spec())
    z, image = torch.randn(1, 100).expand(2, -1), torch.rand(1, 1, 32, 32).expand(2, -1, -1, -1)
    label = torch.tensor([1, 8])
    drawn = networks["generator"].eval()(z, label)
    assert not torch.allclose(drawn[0], drawn[1])
    logits = networks["discriminator"].eval()(image, label)
    assert logits[0] != logits[1]


@pytest.mark.parametrize(("height", "width"), [(30, 30), (4, 4), (33, 32)])
def test_conv_says_which_sizes_it_takes(height: int, width: int) -> None:
    variant = CGAN(CGANConfig(network="conv"))
    with pytest.raises(UsageError, match=f"the images are {width}x{height}"):
        variant.networks(spec(height=height, width=width))


@pytest.mark.parametrize("preset", ["default", "plain", "conv"])
def test_every_preset_runs_and_samples(preset: str, tmp_path: Path) -> None:
    run = gankit.train("cgan", preset=preset, out=tmp_path, steps=2, eval_every=0, batch_size=4, sample_n=10)
    samples = run.sample(3, label=[7, "2"])
    assert [record["label"] for record in samples.records] == [7, 2, 7]
    size = Digits(DigitsConfig()).config.size if preset != "plain" else 28
    assert samples.images.shape == (3, 1, size, size)


@pytest.mark.usefixtures("one_thread")
def test_learns_to_draw_the_digit_it_is_told(tmp_path: Path) -> None:
    """800 steps on the digits in their own 8x8: most are right, of every class; the judge is right on real ones."""
    run = gankit.train("cgan", out=tmp_path, steps=800, sample_every=0, eval_every=0, data={"size": 8})
    result = run.evaluate(300)
    assert result["judge"]["accuracy_on_real"]["label"] >= 0.97
    assert result["metrics"]["accuracy"] >= 0.8
    assert min(result["classes"]["label"].values()) >= 0.4
    assert result["metrics"]["diversity"] > 0.5
    assert result["metrics"]["memorised"] < 0.1


def test_judge_of_digits_at_the_default_size() -> None:
    from gankit.evaluate import JudgeConfig, RealImages, judge_for

    judged = judge_for(
        RealImages(Digits(DigitsConfig())), RealImages(Digits(DigitsConfig(), "test")), JudgeConfig(steps=150)
    )
    assert judged.held_out == 355
    assert judged.accuracy["label"] >= 0.97


def test_it_takes_the_classes_that_there_are() -> None:
    """`label`, or the only kind of classes; of several it asks which."""
    image, hue = Key(kind="image", shape=(1, 8, 8)), Key(kind="class", names=("red", "blue", "green"))
    only = DataSpec(keys={"image": image, "hue": hue})
    variant = CGAN(CGANConfig())
    assert set(variant.asks(only, "image")) == {"hue"}
    assert variant.networks(only)["generator"].classes == 3
    several = DataSpec(keys={"image": image, "hue": hue, "size": replace(hue, names=("small", "large"))})
    with pytest.raises(UsageError, match=r"several kinds of classes; give class_key one of hue, size"):
        variant.networks(several)
    assert set(CGAN(CGANConfig(class_key="size")).asks(several, "image")) == {"size"}
    with pytest.raises(UsageError, match=r"the data has no classes, only image"):
        variant.networks(DataSpec(keys={"image": image}))
