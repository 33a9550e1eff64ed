"""Networks: the reference's parameter counts, shapes in odd sizes, and what is frozen."""

import pytest
import torch
from gankit_plugin_stackgan import StackGAN
from gankit_plugin_stackgan.config import PRESETS, StackGANConfig
from gankit_plugin_stackgan.networks import Discriminator, Score, StageOneGenerator, StageTwoGenerator, count, levels
from gankit_plugin_stackgan.variant import sides

from gankit.errors import UsageError
from gankit.nn.init import init_he
from gankit.plugin import DataSpec, Key, SampleRequest

PAPER = {"embedding": 1024, "condition": 128}


def spec(size: int, height: int | None = None) -> DataSpec:
    return DataSpec(
        keys={"image": Key(kind="image", shape=(3, height or size, size)), "text": Key(kind="text", shape=(32,))}
    )


def paper(stage: int) -> StackGANConfig:
    """The preset's options of the variant."""
    options: dict = {"stage": stage}
    for name, value in PRESETS["paper"].items():
        head, _, rest = name.partition(".")
        if head in StackGANConfig.model_fields:
            if rest:
                options.setdefault(head, {})[rest] = value
            else:
                options[head] = value
    return StackGANConfig(**options)


def test_preset_paper_has_the_reference_counts() -> None:
    with torch.device("meta"):
        first = StackGAN(paper(1)).networks(spec(256))
        second = StackGAN(paper(2)).networks(spec(256))
    assert count(first["generator"]) == 20_020_832
    assert count(first["discriminator"]) == 12_407_425
    assert count(second["generator"]) == 37_130_480
    assert count(second["stage1"]) + count(second["generator"]) == 57_151_312
    assert count(second["discriminator"]) == 159_889_538
    assert paper(1).match == 0  # no term that is not in the paper


@pytest.mark.parametrize("size", [8, 16, 64])
def test_stage_one_shapes(size: int) -> None:
    generator = StageOneGenerator(embedding=5, condition=3, z=2, width=8, size=size, channels=1)
    images, mean, log_variance = generator(torch.randn(2, 5), torch.randn(2, 2), torch.randn(2, 3))
    assert images.shape == (2, 1, size, size)
    assert images.abs().max() <= 1
    assert mean.shape == log_variance.shape == (2, 3)
    judge = Discriminator(condition=3, width=4, size=size, unconditional=False, channels=1)
    features = judge.features(images)
    assert features[0].shape[2:] == (4, 4)
    assert judge.matched(features, mean).shape == (2,)


@pytest.mark.parametrize(("low", "size", "halvings"), [(8, 16, 1), (16, 32, 1), (16, 32, 2), (16, 128, 2), (16, 16, 4)])
def test_stage_two_shapes(low: int, size: int, halvings: int) -> None:
    generator = StageTwoGenerator(embedding=5, condition=3, width=8, low=low, size=size, blocks=1, halvings=halvings)
    images, mean, _ = generator(torch.randn(2, 3, low, low), torch.randn(2, 5), torch.randn(2, 3))
    assert images.shape == (2, 3, size, size)
    judge = Discriminator(condition=3, width=2, size=size, unconditional=True)
    features = judge.features(images)
    assert judge.matched(features, mean).shape == judge.real(features).shape == (2,)


def test_discriminator_narrows_again_when_it_grew_wide() -> None:
    judge = Discriminator(condition=3, width=2, size=256, unconditional=True)
    assert judge.features(torch.randn(1, 3, 256, 256))[0].shape == (1, 16, 4, 4)


@pytest.mark.parametrize("size", [16, 128])
@pytest.mark.parametrize(("norm", "alone"), [(False, True), (True, False)])
def test_without_a_norm_an_image_is_judged_alone(size: int, norm: bool, alone: bool) -> None:
    judge = init_he(Discriminator(condition=4, width=4, size=size, unconditional=True, norm=norm))
    images, told = torch.randn(4, 3, size, size), torch.randn(4, 4)
    others = torch.cat([images[:1], torch.rand(3, 3, size, size)])
    for score in (
        lambda seen: judge.matched(judge.features(seen), told),
        lambda seen: judge.real(judge.features(seen)),
    ):
        assert torch.allclose(score(images)[0], score(others)[0], atol=1e-5) is alone


def test_condition_is_the_mean_without_noise_and_spreads_with_it() -> None:
    generator = StageOneGenerator(embedding=5, condition=3, z=2, width=8, size=8)
    embedding = torch.randn(4, 5)
    drawn, mean, log_variance = generator.augmentation(embedding, None)
    assert torch.equal(drawn, mean)
    noise = torch.randn(4, 3)
    drawn, _, _ = generator.augmentation(embedding, noise)
    assert torch.allclose(drawn, mean + noise * (log_variance / 2).exp())


@pytest.mark.parametrize("stage", [1, 2])
def test_truncation_takes_the_spread_from_samples(stage: int) -> None:
    torch.manual_seed(0)
    drawn = []
    for truncation in (0.0, 1.0, 3.0):
        variant = StackGAN(StackGANConfig(stage=stage, truncation=truncation))
        if not drawn:
            networks = {name: network.eval() for name, network in variant.networks(spec(16)).items()}
        asked = {"text": torch.full((2, 32), 97, dtype=torch.uint8)}
        draw = torch.Generator().manual_seed(1)
        request = SampleRequest(n=2, batch=asked, generator=draw, device=torch.device("cpu"), spec=spec(16))
        drawn.append(variant.sample(networks, request))
    told, z = networks["text"](asked["text"]), torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    wanted = networks["generator" if stage == 1 else "stage1"](told, z, None)[0]
    if stage == 2:
        wanted = networks["generator"](wanted, told, None)[0]
    torch.testing.assert_close(drawn[0], wanted)
    assert 0 < (drawn[1] - drawn[0]).abs().mean() < (drawn[2] - drawn[0]).abs().mean()


def test_the_first_stage_stays_frozen() -> None:
    networks = StackGAN(StackGANConfig(stage=2)).networks(spec(16))
    for name in ("stage1", "images"):
        networks[name].train()
        assert not any(module.training for module in networks[name].modules())
        assert not any(parameter.requires_grad for parameter in networks[name].parameters())
    assert networks["generator"].train().training


def test_sides() -> None:
    assert sides(spec(32), None) == (32, 16)
    assert sides(spec(64), None) == (64, 32)
    assert sides(spec(256), None) == (256, 64)
    assert sides(spec(32), 32) == (32, 32)
    for bad, low in ((spec(48), None), (spec(32, 64), None), (spec(8), None), (spec(32), 64), (spec(32), 12)):
        with pytest.raises(UsageError):
            sides(bad, low)
    with pytest.raises(UsageError, match="halved"):
        StackGAN(StackGANConfig(stage=2, low=8, halvings=4)).networks(spec(16))


def test_levels() -> None:
    assert levels(4, 64) == 4
    assert levels(16, 16) == 0
    for small, large in ((4, 48), (16, 8), (4, 63)):
        with pytest.raises(ValueError):
            levels(small, large)


def test_the_score_is_a_convolution_over_the_whole_map():
    score, plain = Score(5), torch.nn.Conv2d(5, 1, 4)
    plain.load_state_dict(score.state_dict())
    maps = torch.randn(3, 5, 4, 4)
    torch.testing.assert_close(score(maps), plain(maps).flatten(1))
    torch.testing.assert_close(score(maps.to(memory_format=torch.channels_last)), plain(maps).flatten(1))
