from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gankit_plugin_cyclegan import CycleGAN
from gankit_plugin_cyclegan.dressed import DressedDigits, DressedDigitsConfig
from gankit_plugin_cyclegan.variant import CycleGANConfig
from PIL import Image
from safetensors import safe_open
from torch.nn import functional as F

import gankit
from gankit.api import make_session
from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key
from gankit.run import Run

SMALL = {"steps": 3, "batch_size": 2, "sample_n": 2, "g_width": 4, "d_width": 4, "blocks": 1, "eval_every": 0}


def spec(a: tuple[int, int, int] = (3, 32, 32), b: tuple[int, int, int] = (3, 32, 32)) -> DataSpec:
    return DataSpec(keys={"a": Key(kind="image", shape=a), "b": Key(kind="image", shape=b)})


def test_digits_wear_one_dress_each() -> None:
    for split, total in (("train", 1442), ("test", 355)):
        data = DressedDigits(DressedDigitsConfig(), split)
        streams = data.streams()
        assert sum(streams.values()) == total
        assert abs(streams["a"] - streams["b"]) < 10
        batch = data.batch({"a": torch.arange(100), "b": torch.arange(100)})
        for name in "ab":
            assert batch[name].shape == (100, 3, 32, 32)
            assert batch[f"label_{name}"].unique().tolist() == list(range(10))


def test_one_side_can_be_read_alone() -> None:
    batch = DressedDigits(DressedDigitsConfig(size=16)).batch({"b": torch.tensor([5, 0, 5])})
    assert set(batch) == {"b", "label_b"}
    assert torch.equal(batch["b"][0], batch["b"][2])


def test_networks_of_the_paper() -> None:
    options = {key: value for key, value in CycleGAN.presets["paper"].items() if key in CycleGANConfig.model_fields}
    networks = CycleGAN(CycleGANConfig(**options)).networks(spec((3, 256, 256), (3, 256, 256)))
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert sizes["a_to_b"] == sizes["b_to_a"] == 11_378_179
    assert sizes["discriminator_a"] == sizes["discriminator_b"] == 2_764_737


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (spec((3, 30, 32), (3, 30, 32)), {}, "sides that 4 divides"),
        (spec((3, 40, 40), (3, 40, 40)), {"network": "unet", "downs": 4}, "sides that 16 divides"),
        (spec(), {"d_layers": 4}, "nothing is left of 32x32"),
        (spec((3, 64, 64)), {}, "of one size"),
        (spec((1, 32, 32)), {}, "as many channels"),
        (DataSpec(keys={"a": Key(kind="image", shape=(3, 32, 32))}), {}, "no image under the key 'b'"),
    ],
)
def test_what_cannot_be_translated_is_said(given: DataSpec, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CycleGAN(CycleGANConfig(**options)).networks(given)


@pytest.mark.parametrize(("height", "width", "downs"), [(32, 32, 5), (48, 64, 4), (20, 20, 2)])
def test_unets_go_as_deep_as_the_sides_allow(height: int, width: int, downs: int) -> None:
    shape = (3, height, width)
    networks = CycleGAN(CycleGANConfig(network="unet", g_width=4, d_layers=1)).networks(spec(shape, shape))
    assert len(networks["a_to_b"].downs) == downs
    assert not networks["a_to_b"].random
    assert networks["a_to_b"](torch.zeros(1, *shape)).shape == (1, *shape)


@pytest.mark.parametrize(
    ("options", "logits"), [({"d_layers": 0}, (32, 32)), ({"d_layers": 2, "one_logit": True}, (1, 1))]
)
def test_discriminators_of_pixels_and_of_whole_images(options: dict, logits: tuple[int, int]) -> None:
    networks = CycleGAN(CycleGANConfig(g_width=4, blocks=1, d_width=4, **options)).networks(spec())
    assert networks["discriminator_a"](torch.zeros(2, 3, 32, 32)).shape == (2, 1, *logits)


def test_grey_to_colour_without_identity() -> None:
    networks = CycleGAN(CycleGANConfig(identity=0, g_width=4, blocks=1)).networks(spec((1, 32, 32)))
    assert networks["a_to_b"](torch.zeros(1, 1, 32, 32)).shape == (1, 3, 32, 32)
    assert networks["b_to_a"](torch.zeros(1, 3, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.usefixtures("one_thread")
def test_both_directions_of_a_run(tmp_path: Path) -> None:
    run = gankit.train("cyclegan", out=tmp_path / "runs", **SMALL)
    there, back = run.sample(3), run.sample(3, to="a")
    assert there.images.shape == back.images.shape == (3, 3, 32, 32)
    assert not torch.equal(there.images, back.images)
    photo = tmp_path / "photo.jpg"
    Image.effect_noise((57, 40), 60).convert("RGB").save(photo)
    given = run.sample(1, given={"a": photo})
    assert not torch.equal(given.images[0], there.images[0])
    with pytest.raises(UsageError, match="cannot be asked for 'b'"):
        run.sample(1, given={"b": photo})


def test_a_run_killed_and_resumed_is_the_run_never_stopped(resumes_exactly: Callable[..., Run]) -> None:
    """The pools, which hold more than a batch, come back too."""
    whole = resumes_exactly("cyclegan", **{**SMALL, "steps": 8, "pool": 6})
    with safe_open(whole.path / "checkpoints/step-000008/weights.safetensors", "pt") as file:
        assert any(key.startswith("pool_a.") for key in file.keys())  # noqa: SIM118


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("whole", [False, True])
def test_networks_of_the_textbook(kernel: int, whole: bool) -> None:
    """Written out in plain torch from the book's listings, with the same weights: the same images and logits."""
    variant = CycleGAN(CycleGANConfig(network="keras", kernel=kernel, one_logit=whole, identity=0))
    networks = variant.networks(spec((1, 32, 32)))
    # in double precision: what differs is then no rounding
    generator, judge = networks["a_to_b"].double(), networks["discriminator_b"].double()
    for p in generator.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    half = kernel // 2

    def unit(x: torch.Tensor, norm: torch.nn.Module, slope: float) -> torch.Tensor:
        return F.leaky_relu(F.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=1e-3), slope)

    image = torch.rand(2, 1, 32, 32, dtype=torch.float64)
    x, skips = image, []
    for i, (norm, convolution) in enumerate(generator.down):
        x = F.conv2d(unit(x, norm, 0.2), convolution.weight, convolution.bias, 1 if i == 0 else 2, half)
        skips.append(x)
    assert [s.shape[1:] for s in skips] == [(32, 32, 32), (64, 16, 16), (128, 8, 8), (256, 4, 4)]
    for (norm, up), skip in zip(generator.up, reversed(skips[:-1]), strict=True):
        x = F.conv_transpose2d(unit(x, norm, 0.0), up.weight, up.bias, 2, half, 1)
        x = torch.cat([x, skip], 1)
    x = 2 * torch.sigmoid(F.conv2d(x, generator.last.weight, generator.last.bias, 1, half)) - 1
    torch.testing.assert_close(generator(image), x, rtol=0, atol=1e-5)
    fake, x = x, x
    layers = [layer for layer in judge.layers if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    for layer, stride in zip(layers[:4], (2, 2, 2, 1), strict=True):
        x = F.conv2d(F.leaky_relu(x, 0.2), layer.weight, layer.bias, stride, half)
    last = layers[4]
    if whole:
        x = F.linear(x.flatten(1), last.weight, last.bias)
    else:
        x = F.conv2d(F.leaky_relu(x, 0.2), last.weight, last.bias, 2, half)
    assert x.shape == ((2, 1) if whole else (2, 1, 2, 2))
    torch.testing.assert_close(judge(fake), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("preset", sorted(CycleGAN.presets))
@pytest.mark.usefixtures("one_thread")
def test_every_preset_trains(preset: str, tmp_path: Path) -> None:
    narrow = {} if preset == "keras" else {"g_width": 4, "d_width": 4, "blocks": 1, "d_layers": 1}
    small = {"steps": 2, "batch_size": 2, "sample_n": 2, "eval_every": 0, **narrow}
    run = gankit.train("cyclegan", preset=preset, out=tmp_path, **small)
    assert run.steps == 2
    assert run.sample(2).images.isfinite().all()


def test_one_forward_of_both_is_as_good_as_two() -> None:
    """Translation and identity share a forward: the losses and gradients are those of two."""
    session = make_session("cyclegan", batch_size=2, g_width=4, d_width=4, blocks=1, pool=0)
    session.begin()
    step = session.new_step(0)
    terms = session.variant._generators(step)
    networks, c = session.networks, session.variant.config
    for name, other in (("a", "b"), ("b", "a")):
        network, back = networks[f"{name}_to_{other}"], networks[f"{other}_to_{name}"]
        fake, same = network(step.batch[name]), network(step.batch[other])
        adversarial = (networks[f"discriminator_{other}"](fake) - 1).square().mean()
        torch.testing.assert_close(terms[f"adversarial_{other}"], adversarial)
        torch.testing.assert_close(terms[f"cycle_{name}"], c.cycle * (back(fake) - step.batch[name]).abs().mean())
        torch.testing.assert_close(
            terms[f"identity_{other}"], c.cycle * c.identity * (same - step.batch[other]).abs().mean()
        )


def test_the_discriminators_have_a_rate_of_their_own() -> None:
    generators, judges = CycleGAN(CycleGANConfig(d_rate=2.0)).phases()
    assert judges.optim.lr == 2 * generators.optim.lr


def test_critics_may_have_a_penalty() -> None:
    penalised = make_session("cyclegan", g_width=4, d_width=4, blocks=1, loss="wgan", penalty=10.0)
    penalised.begin()
    terms = penalised.variant._discriminators(penalised.new_step(0))
    assert set(terms) == {"a", "b", "penalty_a", "penalty_b"}
    assert terms["penalty_a"] > 0


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({"network": "unet", "blocks": 3}, "network = resnet"),
        ({"downs": 3}, "network = unet"),
        ({"kernel": 5}, "network = keras"),
        ({"network": "keras", "d_width": 8}, "network = resnet or unet"),
        ({"optim": {"halvings": 2}}, "optim.schedule = halve"),
        ({"optim": {"schedule": "constant", "lr_end": 0.2}}, "optim.schedule = linear or cosine"),
    ],
)
def test_options_that_would_do_nothing_are_refused(given: dict[str, Any], needed: str) -> None:
    with pytest.raises(UsageError, match=f"does nothing without {needed};"):
        make_session("cyclegan", **given)
