"""Weights of PyTorch's example: the outputs of the layer lists that they were made with."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from foreign_weights import drawn, saved
from torch import Tensor, nn

from gankit.api import import_weights
from gankit.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")


class Listed(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.main = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x)


def generator(z: int = 10, width: int = 4, channels: int = 3, doublings: int = 4) -> Listed:
    wide = [width << k for k in range(doublings)][::-1]
    layers = [nn.ConvTranspose2d(z, wide[0], 4, 1, 0, bias=False), nn.BatchNorm2d(wide[0]), nn.ReLU()]
    for outer, inner in itertools.pairwise(wide):
        layers += [nn.ConvTranspose2d(outer, inner, 4, 2, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU()]
    return Listed(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())


def discriminator(width: int = 6, channels: int = 3, halvings: int = 4) -> Listed:
    wide = [width << k for k in range(halvings)]
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for outer, inner in itertools.pairwise(wide):
        layers += [nn.Conv2d(outer, inner, 4, 2, 1, bias=False), nn.BatchNorm2d(inner), nn.LeakyReLU(0.2)]
    return Listed(*layers, nn.Conv2d(wide[-1], 1, 4, 1, 0, bias=False), nn.Sigmoid())


@pytest.mark.parametrize(("channels", "levels"), [(3, 4), (1, 3)])
def test_generator_and_discriminator(tmp_path: Path, channels: int, levels: int) -> None:
    torch.manual_seed(0)
    made = {"G": drawn(generator(channels=channels, doublings=levels))}
    made["D"] = drawn(discriminator(channels=channels, halvings=levels))
    run = import_weights("dcgan-examples", *saved(tmp_path, "net{}_epoch_24.pth", **made), out=tmp_path)
    networks, side = run.networks(device="cpu"), 4 << levels
    assert (run.config.options.z, run.config.options.g_width, run.config.options.d_width) == (10, 4, 6)
    z, images = torch.randn(3, 10), torch.rand(3, channels, side, side) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(networks["generator"](z), made["G"](z[:, :, None, None]), rtol=0, atol=1e-5)
        assert 0.01 < networks["generator"](z).std() < 0.9
        judged = networks["discriminator"](images).sigmoid()
        torch.testing.assert_close(judged, made["D"](images).flatten(), rtol=0, atol=1e-5)
    assert run.sample(2).images.shape == (2, channels, side, side)


def test_what_is_not_one_model_is_refused(tmp_path: Path) -> None:
    for networks, words in (
        ({"G": generator(), "g": generator()}, "are the same network"),
        ({"D": discriminator()}, "holds no weights of dcgan-examples"),
        ({"G": generator(), "D": discriminator(channels=1)}, "do not fit network 'discriminator'"),
    ):
        with pytest.raises(UsageError, match=words):
            import_weights("dcgan-examples", *saved(tmp_path, "net{}_epoch_24.pth", **networks), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
