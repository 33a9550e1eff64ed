"""Published sizes, the layer lists in plain torch, what is told, and what cannot be built."""

from __future__ import annotations

import pytest
import torch
from gankit_plugin_stargan import StarGAN
from gankit_plugin_stargan.domains import Domain, domain_of
from gankit_plugin_stargan.networks import Discriminator, Generator, MaskGenerator
from gankit_plugin_stargan.variant import StarGANConfig
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key

FIVE = Domain("label", 5, tuple("abcde"))
ATTRIBUTES = Domain("attributes", 5, ())


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Rounding is the same at each run."""
    torch.manual_seed(0)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def spec(height: int = 64, width: int = 64, **keys: Key) -> DataSpec:
    return DataSpec(keys={"image": Key(kind="image", shape=(3, height, width)), **keys})


LABEL = Key(kind="class", names=("x", "y", "z"))


def test_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        assert count(Generator(3, FIVE)) == 8_430_528
        assert count(Discriminator(3, 5)) == 44_762_048


def test_paper_preset_has_the_published_networks() -> None:
    options = {key: value for key, value in StarGAN.presets["paper"].items() if key in StarGANConfig.model_fields}
    five = Key(kind="class", names=tuple("abcde"))
    with torch.device("meta"):
        networks = StarGAN(StarGANConfig(**options)).networks(spec(128, 128, label=five))
    assert {name: count(network) for name, network in networks.items()} == {
        "generator": 8_430_528,
        "discriminator": 44_762_048,
    }


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.InstanceNorm2d(width, affine=True) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norms[1](self.convs[1](F.relu(self.norms[0](self.convs[0](x)))))


def normed(layer: nn.Module, channels: int) -> list[nn.Module]:
    return [layer, nn.InstanceNorm2d(channels, affine=True), nn.ReLU()]


def listed_generator(inputs: int, width: int, blocks: int) -> nn.Sequential:
    layers = normed(nn.Conv2d(inputs, width, 7, 1, 3, bias=False), width)
    for wide in (width, 2 * width):
        layers += normed(nn.Conv2d(wide, 2 * wide, 4, 2, 1, bias=False), 2 * wide)
    layers += [Block(4 * width) for _ in range(blocks)]
    for wide in (4 * width, 2 * width):
        layers += normed(nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False), wide // 2)
    return nn.Sequential(*layers, nn.Conv2d(width, 3, 7, 1, 3, bias=False), nn.Tanh())


def same_weights(one: nn.Module, other: nn.Module) -> None:
    """Every parameter drawn at random, norms' too, and the same in both."""
    mine, theirs = list(one.parameters()), list(other.parameters())
    assert [p.shape for p in mine] == [p.shape for p in theirs]
    with torch.no_grad():
        for p, q in zip(mine, theirs, strict=True):
            p.add_(torch.randn_like(p) * 0.1)
            q.copy_(p)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (12, 20)])
def test_generator_is_the_listed_one(height: int, width: int) -> None:
    torch.manual_seed(0)
    network, listed = Generator(3, FIVE, 4, 2), listed_generator(8, 4, 2)
    same_weights(network, listed)
    images, labels = torch.rand(3, 3, height, width) * 2 - 1, torch.tensor([4, 0, 2])
    planes = F.one_hot(labels, 5).float()[:, :, None, None].expand(-1, -1, height, width)
    torch.testing.assert_close(network(images, labels), listed(torch.cat([images, planes], 1)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width", "layers"), [(32, 32, 4), (24, 40, 3), (30, 21, 2)])
def test_discriminator_is_the_listed_one(height: int, width: int, layers: int) -> None:
    torch.manual_seed(0)
    left = height >> layers, width >> layers
    network = Discriminator(3, 5, 4, layers, left)
    listed: list[nn.Module] = []
    for i in range(layers):
        listed += [nn.Conv2d(4 << (i - 1) if i else 3, 4 << i, 4, 2, 1), nn.LeakyReLU(0.01)]
    body = nn.Sequential(*listed)
    heads = nn.ModuleList([nn.Conv2d(4 << (layers - 1), 1, 3, 1, 1, bias=False)])
    heads.append(nn.Conv2d(4 << (layers - 1), 5, left, bias=False))
    same_weights(network, nn.ModuleList([body, heads]))
    images, told = torch.rand(2, 3, height, width), torch.zeros(2, 5)
    source, classes = network(images, told)
    features = body(images)
    torch.testing.assert_close(source, heads[0](features), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(classes, heads[1](features).flatten(1), rtol=1e-5, atol=1e-5)
    assert torch.equal(network.real(images, told), source)


def test_projection_adds_the_map_of_the_domain() -> None:
    torch.manual_seed(0)
    network = Discriminator(3, 5, 4, 2, (8, 8), projection=True)
    images = torch.rand(2, 3, 32, 32)
    source, classes = network(images, F.one_hot(torch.tensor([1, 3]), 5).float())
    assert classes is None
    assert source.shape == (2, 1, 8, 8)
    maps = network.domain(network.layers(images))
    plain = network.real(images, torch.zeros(2, 5))
    torch.testing.assert_close(source - plain, torch.stack([maps[0, 1:2], maps[1, 3:4]]))
    both = network.real(images, torch.tensor([[1.0, 0, 0, 1, 0]]).expand(2, -1))
    torch.testing.assert_close(both - plain, maps[:, :1] + maps[:, 3:4])


def test_a_mask_says_what_is_changed() -> None:
    torch.manual_seed(0)
    network = MaskGenerator(3, FIVE, 4, 1)
    images, labels = torch.rand(2, 3, 12, 20) * 2 - 1, torch.tensor([0, 1])
    last = network.pixels[-1]
    with torch.no_grad():
        assert network(images, labels).abs().max() <= 1
        last.weight[3], last.bias[3] = 0, -40
        torch.testing.assert_close(network(images, labels), images)
        last.bias[3] = 0
        half = network(images, labels)
        last.bias[3] = 40
        torch.testing.assert_close(half, (images + network(images, labels)) / 2)
        last.weight[:3], last.bias[:3] = 0, torch.tensor([0.5, -0.5, 5])
        painted = network(images, labels)
    torch.testing.assert_close(painted, last.bias[:3].detach().tanh().view(1, 3, 1, 1).expand_as(images))


def test_classes_and_attributes_are_told_and_lost_differently() -> None:
    labels, logits = torch.tensor([3, 0]), torch.randn(2, 5)
    assert FIVE.planes(labels).tolist() == [[0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]
    torch.testing.assert_close(FIVE.loss(logits, labels), F.cross_entropy(logits, labels))
    held = torch.tensor([[1.0, 0, 1, 1, 0], [0.0, 0, 0, 1, 0]])
    assert torch.equal(ATTRIBUTES.planes(held), held)
    each = -(held * F.logsigmoid(logits) + (1 - held) * F.logsigmoid(-logits))
    torch.testing.assert_close(ATTRIBUTES.loss(logits, held), each.sum(1).mean())


def test_which_domain_is_taken() -> None:
    vector = Key(kind="vector", shape=(4,))
    assert domain_of(spec(tone=LABEL), "") == Domain("tone", 3, ("x", "y", "z"))
    assert domain_of(spec(hair=LABEL, label=LABEL), "").key == "label"
    assert domain_of(spec(hair=LABEL, label=LABEL), "hair").key == "hair"
    assert domain_of(spec(attributes=vector), "") == Domain("attributes", 4, ())
    assert domain_of(spec(tone=LABEL, attributes=vector), "").key == "tone"
    assert domain_of(spec(tone=LABEL, attributes=vector), "attributes").key == "attributes"


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (spec(), {}, "the data has only image"),
        (spec(hair=LABEL, eyes=LABEL), {}, r"has several: hair, eyes \(.*class-key hair"),
        (spec(hair=LABEL), {"class_key": "tone"}, r"has none under 'tone': hair \("),
        (spec(hair=Key(kind="class", names=("grey",))), {}, "'hair' has one alone: grey"),
        (spec(30, 32, label=LABEL), {}, "sides that 4 divides, from 8 on; the images are 32x30"),
        (spec(32, 32, label=LABEL), {}, r"d_layers = 6: nothing is left of 32x32 pixels.*d-layers 5"),
        (
            DataSpec(keys={"a": Key(kind="image", shape=(3, 64, 64)), "label": LABEL}),
            {},
            "no image under the key 'image'",
        ),
    ],
)
def test_what_cannot_be_is_said(given: DataSpec, options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        StarGAN(StarGANConfig(**options)).networks(given)
