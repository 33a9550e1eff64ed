"""Weights of pytorch-CycleGAN-and-pix2pix: the outputs of the layer lists that they were made with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from foreign_weights import drawn, saved
from junyanz_lists import Patch, ResNet, UNet
from PIL import Image
from torch import nn

from gankit.api import import_weights
from gankit.errors import UsageError
from gankit.nn import DropoutNoise

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("downs", "norm"), [(7, "batch"), (6, "instance"), (2, "batch")])
def test_generator_and_discriminator(tmp_path: Path, downs: int, norm: str) -> None:
    made = {"G": drawn(UNet(1, 3, downs=downs, norm=norm)), "D": drawn(Patch(4, layers=2, norm=norm))}
    side = max(1 << downs, 32)
    run = import_weights("junyanz", *saved(tmp_path, "latest_net_{}.pth", **made), out=tmp_path, size=side)
    networks, options = run.networks(device="cpu"), run.config.options
    assert (options.downs, options.norm, options.g_width, options.d_layers) == (downs, norm, 4, 2)
    assert run.spec.shape_of("a") == (1, side, side)
    noises = [module for module in networks["generator"].modules() if isinstance(module, DropoutNoise)]
    assert sum(noise.p > 0 for noise in noises) == max(downs - 5, 0)
    for noise in noises:
        noise.p = 0.0
    a, b = torch.rand(2, 1, side, side) * 2 - 1, torch.rand(2, 3, side, side) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(networks["generator"](a), made["G"](a), rtol=0, atol=1e-5)
        assert 0.01 < made["G"](a).std() < 0.9
        pairs = torch.cat([a, b], 1)
        torch.testing.assert_close(networks["discriminator"](pairs), made["D"](pairs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("source", ["a", "b"])
def test_as_the_authors_test_norms_each_image_by_itself(tmp_path: Path, source: str) -> None:
    """Which is batch norm in train mode, of batches of one."""
    made = drawn(UNet(1, 3, downs=5)).train()
    options = {"norm": "affine", "source": source, "dropout": 0}
    run = import_weights("junyanz", *saved(tmp_path, "latest_net_{}.pth", G=made), out=tmp_path, **options)
    images = torch.rand(3, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        each = torch.cat([made(one[None]) for one in images])
        torch.testing.assert_close(run.networks(device="cpu")["generator"](images), each, rtol=0, atol=1e-5)
    photo = tmp_path / "photo.png"
    Image.effect_noise((32, 32), 60).save(photo)
    assert run.translate([photo]).images.shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ({"G": UNet(), "D": Patch(4, norm="batch")}, "judges 4 channels, not pairs of the 3 and 3 channels"),
        ({"G": UNet(), "D": Patch(6)}, "latest_net_D.pth has instance norm, latest_net_G.pth batch norm"),
        ({"G": UNet(), "G_1": UNet()}, "one generator and one discriminator"),
        ({"G": UNet(), "D": ResNet()}, "holds no weights of junyanz"),
    ],
)
def test_what_is_not_one_model_is_refused(tmp_path: Path, networks: dict[str, nn.Module], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        import_weights("junyanz", *saved(tmp_path, "latest_net_{}.pth", **networks), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
