"""Weights of the authors: the outputs of the layer lists that they were made with."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from foreign_weights import saved
from PIL import Image
from torch import Tensor, nn

from gankit.api import import_weights
from gankit.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")


def norm(channels: int) -> nn.Module:
    """Which the authors' program leaves in train mode: each image is normed by its own statistics."""
    return nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [nn.Conv2d(width, width, 3, 1, 1, bias=False), norm(width), nn.ReLU()]
        self.main = nn.Sequential(*layers, nn.Conv2d(width, width, 3, 1, 1, bias=False), norm(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class Generator(nn.Module):
    def __init__(self, domains: int = 5, width: int = 4, blocks: int = 2, channels: int = 3) -> None:
        super().__init__()
        layers = [nn.Conv2d(channels + domains, width, 7, 1, 3, bias=False), norm(width), nn.ReLU()]
        for wide in (width, 2 * width):
            layers += [nn.Conv2d(wide, 2 * wide, 4, 2, 1, bias=False), norm(2 * wide), nn.ReLU()]
        layers += [Block(4 * width) for _ in range(blocks)]
        for wide in (4 * width, 2 * width):
            layers += [nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False), norm(wide // 2), nn.ReLU()]
        self.main = nn.Sequential(*layers, nn.Conv2d(width, channels, 7, 1, 3, bias=False), nn.Tanh())

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        return self.main(torch.cat([x, domain[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1))


class Discriminator(nn.Module):
    def __init__(self, domains: int = 5, width: int = 4, layers: int = 3, side: int = 32, channels: int = 3) -> None:
        super().__init__()
        made: list[nn.Module] = []
        wide = [channels, *(width << k for k in range(layers))]
        for outer, inner in itertools.pairwise(wide):
            made += [nn.Conv2d(outer, inner, 4, 2, 1), nn.LeakyReLU(0.01)]
        self.main = nn.Sequential(*made)
        self.conv1 = nn.Conv2d(wide[-1], 1, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(wide[-1], domains, side >> layers, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.main(x)
        return self.conv1(features), self.conv2(features).flatten(1)


def drawn(network: nn.Module) -> nn.Module:
    for parameter in network.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return network


@pytest.mark.parametrize("classes", [(), ("black", "blond", "brown", "male", "young")])
def test_generator_and_discriminator(tmp_path: Path, classes: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    made = {"G": drawn(Generator()), "D": drawn(Discriminator())}
    run = import_weights("stargan", *saved(tmp_path, "200000-{}.ckpt", **made), out=tmp_path, classes=classes)
    networks, options = run.networks(device="cpu"), run.config.options
    assert (options.g_width, options.blocks, options.d_width, options.d_layers, options.mask) == (4, 2, 4, 3, False)
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    labels = torch.tensor([4, 0, 2])
    told = torch.eye(5)[labels]
    with torch.no_grad():
        mine = networks["generator"](images, labels if classes else told)
        torch.testing.assert_close(mine, made["G"](images, told), rtol=0, atol=1e-5)
        assert 0.01 < mine.std() < 0.9
        for one, other in zip(networks["discriminator"](images, told), made["D"](images), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    photo = tmp_path / "photo.png"
    Image.effect_noise((32, 32), 60).convert("RGB").save(photo)
    asked = {"label": "blond"} if classes else {"attributes": [0.0, 1, 0, 0, 1]}
    assert run.translate([photo], given=asked).images.shape == (1, 3, 32, 32)


def test_a_generator_alone(tmp_path: Path) -> None:
    made = drawn(Generator(domains=2, channels=1))
    run = import_weights("stargan", *saved(tmp_path, "200000-{}.ckpt", G=made), out=tmp_path, size=16)
    assert run.spec.image_shape == (1, 16, 16)
    assert run.spec["attributes"].shape == (2,)


def test_what_is_not_one_model_is_refused(tmp_path: Path) -> None:
    for networks, more, words in (
        ({"G": Generator(4), "D": Discriminator(5)}, {}, "tells 5 domains apart, and the generator is told 4"),
        ({"G": Generator()}, {"classes": ("a", "b")}, "--classes names 2, a, b; the weights are told one of 5"),
        ({"G": Generator(), "D": Discriminator()}, {"size": 64}, "--size 64: 200000-D.ckpt is of images of 32x32"),
        ({"D": Discriminator()}, {}, "holds no weights of stargan"),
    ):
        with pytest.raises(UsageError, match=words):
            import_weights("stargan", *saved(tmp_path, "200000-{}.ckpt", **networks), out=tmp_path / "runs", **more)
    assert not (tmp_path / "runs").exists()
