"""The ResNet generator of image translation: published sizes, shapes, and the maps of its encoder."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gankit.bench.kept import kept_bytes
from gankit.nn import InstanceNormAct2d, ResNetGenerator, resnet


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Rounding is the same at each run."""
    torch.manual_seed(0)


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_published_numbers_of_parameters() -> None:
    assert count(ResNetGenerator(3, 3)) == 11_378_179
    assert count(ResNetGenerator(3, 3, blocks=6)) == 7_837_699
    assert count(ResNetGenerator(3, 3, doubling="resize")) == 11_378_179


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 48), (20, 8)])
def test_a_translation_has_the_size_of_its_image(height: int, width: int) -> None:
    translated = ResNetGenerator(1, 3, width=4, blocks=1)(torch.randn(2, 1, height, width))
    assert translated.shape == (2, 3, height, width)
    assert translated.abs().max() <= 1


def plain(width: int, blocks: int, norm: Callable[[int], nn.Module], bias: bool, doubling: str) -> nn.Sequential:
    """The reference's layers in its order."""
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(2, width, 7, bias=bias), norm(width), nn.ReLU()]
    for wide in (width, 2 * width):
        layers += [nn.Conv2d(wide, 2 * wide, 3, 2, 1, bias=bias), norm(2 * wide), nn.ReLU()]
    layers += [PlainBlock(4 * width, norm, bias) for _ in range(blocks)]
    for wide in (4 * width, 2 * width):
        if doubling != "resize":
            side = 4 if doubling == "deconv4" else 3
            up = [nn.ConvTranspose2d(wide, wide // 2, side, 2, 1, output_padding=side % 2, bias=bias)]
        else:
            up = [nn.Upsample(scale_factor=2), nn.ReplicationPad2d(1), nn.Conv2d(wide, wide // 2, 3, bias=bias)]
        layers += [*up, norm(wide // 2), nn.ReLU()]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())


class PlainBlock(nn.Module):
    def __init__(self, channels: int, norm: Callable[[int], nn.Module], bias: bool) -> None:
        super().__init__()
        first = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm(channels), nn.ReLU()]
        second = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm(channels)]
        self.layers = nn.Sequential(*first, *second)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


@pytest.mark.parametrize("doubling", ["deconv", "deconv4", "resize"])
@pytest.mark.parametrize(
    ("norm", "plain_norm", "bias"),
    [
        ("instance", nn.InstanceNorm2d, True),
        ("affine", lambda channels: nn.InstanceNorm2d(channels, affine=True), False),
        ("batch", nn.BatchNorm2d, False),
        ("layer", lambda channels: nn.GroupNorm(1, channels), False),
    ],
)
def test_outputs_are_those_of_plain_layers(norm, plain_norm, bias, doubling) -> None:
    torch.manual_seed(0)
    network = ResNetGenerator(2, 3, width=4, blocks=2, doubling=doubling, norm=norm)
    reference = plain(4, 2, plain_norm, bias, doubling)
    convolutions = nn.Conv2d, nn.ConvTranspose2d
    norms = nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d, InstanceNormAct2d
    for kinds in (convolutions, norms):
        ours, theirs = ([m for m in one.modules() if isinstance(m, kinds)] for one in (network, reference))
        for one, other in zip(ours, theirs, strict=True):
            for name, p in one.named_parameters():
                p.data.normal_(std=0.3)
                other.get_parameter(name).data.copy_(p)
    images = torch.randn(2, 2, 16, 24)
    torch.testing.assert_close(network(images), reference(images), atol=1e-5, rtol=1e-5)


def test_what_norm_forgets_the_colour_of_a_whole_image() -> None:
    """Of one colour all over, red and blue are the same to an instance norm: its planes are zero on average."""
    images = torch.tensor([[1.0, -1, -1], [-1, -1, 1]]).view(2, 3, 1, 1).expand(2, 3, 16, 16)
    for norm, forgets in (("instance", True), ("affine", True), ("layer", False), ("batch", False)):
        torch.manual_seed(0)
        red, blue = ResNetGenerator(3, 3, width=8, blocks=1, norm=norm)(images).mean((2, 3))
        assert torch.allclose(red, blue, atol=1e-2) is forgets, norm


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


@pytest.mark.parametrize("norm", ["instance", "affine", "layer", "batch"])
def test_large_maps_are_computed_anew_in_place_of_kept(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same gradients, of first and second order, and the same averages of batch norm; less is kept."""
    network = ResNetGenerator(2, 2, width=4, blocks=3, norm=norm).double()  # type: ignore[arg-type]
    images = torch.randn(2, 2, 32, 32, dtype=torch.float64, requires_grad=True)
    own = [*network.parameters(), images]

    def measured(large: int) -> tuple[list[torch.Tensor], int, dict[str, torch.Tensor]]:
        monkeypatch.setattr(resnet, "LARGE", {"cpu": large})
        network.load_state_dict(start)
        value = network(images).square().sum()
        first = torch.autograd.grad(value, own, create_graph=True)
        second = torch.autograd.grad(sum(grad.square().sum() for grad in first), own)
        state = {name: buffer.clone() for name, buffer in network.named_buffers()}
        return [*first, *second], kept_bytes(lambda: network(images).square().sum(), own), state

    start = {name: value.clone() for name, value in network.state_dict().items()}
    (kept, size, buffers), (anew, smaller, same) = measured(1 << 62), measured(0)
    for one, other in zip(kept, anew, strict=True):
        torch.testing.assert_close(one, other)
    for name, value in buffers.items():
        torch.testing.assert_close(value, same[name])
    assert (smaller < 0.95 * size) == (norm != "batch")


def test_large_maps_are_transformed_as_small_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = ResNetGenerator(1, 1, width=4, blocks=1), torch.randn(1, 1, 16, 16)
    values = dict(network.named_parameters())

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(network, parameters, (images,)).square().sum()

    want = torch.func.grad(loss)(values)
    monkeypatch.setattr(resnet, "LARGE", {"cpu": 0})
    for name, grad in torch.func.grad(loss)(values).items():
        torch.testing.assert_close(grad, want[name])
