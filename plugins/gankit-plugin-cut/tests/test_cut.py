from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from gankit_plugin_cut import CUT
from gankit_plugin_cut.heads import PatchHeads, at_places, draw_places
from gankit_plugin_cut.variant import CUTConfig
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

import gankit
from gankit.api import make_session
from gankit.errors import UsageError
from gankit.plugin import Config, Dataset, DataSpec, Key
from gankit.run import Run
from gankit.training.session import Session


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Rounding is the same at each run."""
    torch.manual_seed(0)


class SidesConfig(Config):
    """Sides."""

    size: int = Field(16, ge=4)
    """Pixels a side."""


class Sides(Dataset[SidesConfig]):
    """Bars, white on black (a) and yellow on blue (b); no bar is in both."""

    Config = SidesConfig
    in_memory = True

    @property
    def spec(self) -> DataSpec:
        image = Key(kind="image", shape=(3, self.config.size, self.config.size))
        return DataSpec(keys={"a": image, "b": image})

    def streams(self) -> dict[str, int]:
        return {"a": 30, "b": 40} if self.split == "train" else {"a": 6, "b": 5}

    def batch(self, indices: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found, size = {}, self.config.size
        for name, row in indices.items():
            start = (row * 2 + (name == "b")) * 5 % (size - 4) + (self.split == "test")
            across = torch.arange(size)
            bar = ((across >= start[:, None]) & (across < start[:, None] + 3))[:, None, :, None]
            bar = torch.where((row % 2 == 0).view(-1, 1, 1, 1), bar, bar.transpose(2, 3)).expand(-1, 3, size, size)
            front, back = (255, 255, 255), (0, 0, 0)
            if name == "b":
                front, back = (250, 220, 40), (20, 40, 160)
            colours = [torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1) for colour in (front, back)]
            found[name] = torch.where(bar, *colours).contiguous()
        return found


SMALL: dict[str, Any] = {
    "batch_size": 2,
    "sample_n": 2,
    "eval_every": 0,
    "device": "cpu",
    "precision": "float32",
    "g_width": 4,
    "blocks": 2,
    "d_width": 4,
    "d_layers": 1,
    "layers": (0, 2, 3, 5),
    "patches": 30,
    "heads": 8,
}


def spec(a: tuple[int, int, int] = (3, 32, 32), b: tuple[int, int, int] = (3, 32, 32)) -> DataSpec:
    return DataSpec(keys={"a": Key(kind="image", shape=a), "b": Key(kind="image", shape=b)})


def train(out: Path, **options: Any) -> Run:
    return gankit.train(CUT, Sides(SidesConfig()), out=out, **{"steps": 2, **SMALL, **options})


def session(**options: Any) -> Session:
    made = make_session(CUT, Sides(SidesConfig()), **{**SMALL, "steps": 10, **options})
    made.begin()
    return made


@pytest.mark.parametrize("preset", ["paper", "paper-fast"])
def test_networks_of_the_paper(preset: str) -> None:
    options = {key: value for key, value in CUT.presets[preset].items() if key in CUTConfig.model_fields}
    with torch.device("meta"):
        networks = CUT(CUTConfig(**options)).networks(spec((3, 256, 256), (3, 256, 256)))
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert sizes["generator"] == 11_378_179
    assert sizes["discriminator"] == 2_764_737
    second = 256 * 256 + 256
    assert sizes["heads"] == sum(256 * wide + 256 + second for wide in (3, 128, 256, 256, 256))


def test_heads_are_perceptrons_of_length_one() -> None:
    heads = PatchHeads((3, 8), 16)
    patches = [torch.randn(2, 5, 3), torch.randn(2, 4, 8).bfloat16().float()]
    for (first, _, second), patch, features in zip(heads.heads, patches, heads(patches), strict=True):
        plain = (patch @ first.weight.T + first.bias).relu() @ second.weight.T + second.bias
        torch.testing.assert_close(features, plain / plain.norm(dim=2, keepdim=True), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_places_are_different_ones_of_a_map(layout: torch.memory_format) -> None:
    maps = [torch.randn(2, 3, 4, 6).contiguous(memory_format=layout), torch.randn(2, 5, 2, 2)]
    places = draw_places(maps, 10, torch.Generator().manual_seed(0))
    assert [len(place) for place in places] == [10, 4]
    assert all(len(place.unique()) == len(place) for place in places)
    again, other = (draw_places(maps, 10, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert torch.equal(places[0], again[0])
    assert not torch.equal(places[0], other[0])
    found = at_places(maps, places)
    for row, place in enumerate(places[0].tolist()):
        assert torch.equal(found[0][:, row], maps[0][:, :, place // 6, place % 6])


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("norm", ["instance", "layer"])
@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("equivariant", [True, False])
def test_losses_are_those_of_the_paper(identity: bool, equivariant: bool, norm: str) -> None:
    """Image by image, without one forward for several."""
    options = {"identity": identity, "equivariant": equivariant, "norm": norm}
    made = session(**options, nce=3.0, temperature=0.2, batch_size=6)
    step = made.new_step(0)
    generator, heads, judge = (made.networks[name] for name in ("generator", "heads", "discriminator"))
    loss = made.variant._discriminator(step)["loss"]
    terms = made.variant._generator(step)
    drawn = step.shared("drawn", lambda: None)
    assert (drawn.mirrored is not None) is equivariant
    if equivariant:
        assert 0 < drawn.mirrored.sum() < 6

    def nce(source: Tensor, image: Tensor, mirrored: bool) -> Tensor:
        layers = made.variant.config.layers
        queries, keys = (generator.features(one[None], layers) for one in (image, source))
        queries = heads(at_places([q.flip(3) if mirrored else q for q in queries], drawn.places))
        keys = heads(at_places(keys, drawn.places))
        losses = [
            F.cross_entropy(q[0] @ k[0].T / 0.2, torch.arange(len(q[0]))) for q, k in zip(queries, keys, strict=True)
        ]
        return torch.stack(losses).mean()

    a, b = step.batch["a"], step.batch["b"]
    with torch.no_grad():
        mirrored = drawn.mirrored.flatten().tolist() if equivariant else [False] * 6
        fakes = [generator((one.flip(2) if flip else one)[None])[0] for one, flip in zip(a, mirrored, strict=True)]
        contrast = torch.stack([nce(*row) for row in zip(a, fakes, mirrored, strict=True)]).mean()
        logits = torch.cat([judge(one[None]) for one in fakes])
        want = {"adversarial": (logits - 1).square().mean(), "nce": 3 * contrast * (0.5 if identity else 1.0)}
        if identity:
            want["identity"] = 1.5 * torch.stack([nce(one, generator(one[None])[0], False) for one in b]).mean()
        real = torch.cat([judge(one[None]) for one in b])
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {name: value.item() for name, value in want.items()}, rel=1e-4
    )
    assert loss.item() == pytest.approx(0.5 * ((real - 1).square().mean() + logits.square().mean()).item(), rel=1e-4)


@pytest.mark.usefixtures("one_thread")
def test_what_a_source_was_is_no_way_for_gradients() -> None:
    """Else the generator would make its sources easy to find, in place of its translations."""
    made = session(layers=(0, 2))
    step = made.new_step(0)
    terms = made.variant._generator(step)
    drawn = step.shared("drawn", lambda: None)
    assert not any(patches.requires_grad for patches in drawn.patches)
    last = made.networks["generator"].layers[-2].weight
    (gradient,) = torch.autograd.grad(terms["nce"], last)  # through the translation
    assert gradient.any()


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (spec((3, 30, 32), (3, 30, 32)), {}, "sides that 4 divides, from 16 on; those of 'a' are 32x30"),
        (spec(), {"d_layers": 4}, "nothing is left of 32x32"),
        (spec((3, 64, 64)), {}, "of one size and as many channels; they are 3x64x64 and 3x32x32"),
        (spec((1, 32, 32)), {}, "as many channels; they are 1x32x32 and 3x32x32"),
        (spec(), {"blocks": 3}, r"layers = 8: with 3 residual blocks .* to 6\. Choose others .*0,2,3,4,6"),
        (spec(), {"blocks": 1}, r"layers = 8: with 1 residual blocks .* to 4\. Choose others .*0,2,3,4\)"),
        (DataSpec(keys={"a": Key(kind="image", shape=(3, 32, 32))}), {}, "no image under the key 'b'"),
    ],
)
def test_what_cannot_be_translated_is_said(given: DataSpec, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CUT(CUTConfig(**{"d_layers": 2, **options})).networks(given)


@pytest.mark.parametrize("layers", [(), (0, 0, 1), (-1,)])
def test_layers_that_are_none_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"layers.*at least one, none twice, from 0 on"):
        session(layers=layers)


@pytest.mark.usefixtures("one_thread")
def test_a_run_and_its_files(tmp_path: Path) -> None:
    run = train(tmp_path / "runs")
    samples = run.sample(3)
    assert samples.images.shape == (3, 3, 16, 16)
    assert list(samples.layout.panels) == ["a", "ab", "b", "bb"]
    Image.effect_noise((57, 40), 60).convert("RGB").save(tmp_path / "photo.jpg")
    run.change_files("translate", tmp_path / "photo.jpg", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (57, 40)


@pytest.mark.usefixtures("one_thread")
def test_the_way_back(tmp_path: Path) -> None:
    run = train(tmp_path, source="b", identity=False)
    assert list(run.sample(2).layout.panels) == ["b", "ba", "a"]
    with pytest.raises(UsageError, match="cannot draw 'b': it draws a"):
        run.sample(1, to="b")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("preset", sorted(CUT.presets))
def test_every_preset_runs(preset: str, tmp_path: Path) -> None:
    assert train(tmp_path, preset=preset, steps=1).finished


@pytest.mark.usefixtures("one_thread")
def test_a_translation_is_learnt(tmp_path: Path) -> None:
    """In 120 steps bars stay where they are, and are yellow on blue."""
    options = {"g_width": 8, "d_width": 8, "batch_size": 8, "patches": 64, "heads": 32, "ema": 0.9}
    run = train(tmp_path, steps=120, **options, optim={"lr": 2e-3})
    bars = Sides(SidesConfig(), "test").batch({"a": torch.arange(6)})["a"]
    translated, white = run.translate(list(bars)).images, bars[:, :1] > 0
    inside = [translated[:, channel : channel + 1][white].mean() for channel in range(3)]
    around = [translated[:, channel : channel + 1][~white].mean() for channel in range(3)]
    assert inside[0] > inside[2] + 0.5  # yellow: red far above blue
    assert around[2] > around[0] + 0.5


@pytest.mark.parametrize("options", [{}, {"preset": "fast", "augment": {"diff": ("translation", "color")}}])
def test_a_run_killed_and_resumed_is_the_run_never_stopped(
    options: dict[str, Any], resumes_exactly: Callable[..., Run]
) -> None:
    resumes_exactly(CUT, Sides(SidesConfig()), steps=6, **SMALL, **options)
