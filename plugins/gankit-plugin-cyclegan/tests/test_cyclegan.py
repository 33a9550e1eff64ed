from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gankit_plugin_cyclegan import CycleGAN
from gankit_plugin_cyclegan.dressed import DressedDigits, DressedDigitsConfig
from gankit_plugin_cyclegan.variant import CycleGANConfig
from PIL import Image
from safetensors import safe_open

import gankit
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
        (spec(), {"d_layers": 4}, "nothing is left of 32x32"),
        (spec((3, 64, 64)), {}, "of one size"),
        (spec((1, 32, 32)), {}, "as many channels"),
        (DataSpec(keys={"a": Key(kind="image", shape=(3, 32, 32))}), {}, "no image under the key 'b'"),
    ],
)
def test_what_cannot_be_translated_is_said(given: DataSpec, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CycleGAN(CycleGANConfig(**options)).networks(given)


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
