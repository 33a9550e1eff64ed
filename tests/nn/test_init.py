from __future__ import annotations

import pytest
import torch
from torch import nn

from gankit.nn import InstanceNormAct2d, LeakyReLU
from gankit.nn.init import init_he, init_normal


def test_weights_norms_and_biases() -> None:
    module = nn.Sequential(
        nn.Conv2d(30, 40, 3),
        nn.ConvTranspose2d(40, 30, 3, bias=False),
        nn.Linear(200, 100),
        nn.BatchNorm2d(5000),
        nn.InstanceNorm2d(5000, affine=True),
        nn.InstanceNorm2d(7),  # nothing to set
        InstanceNormAct2d(5000, affine=True),
        InstanceNormAct2d(7),
        nn.ReLU(),
    )
    for p in module.parameters():
        p.data.fill_(9.0)
    assert init_normal(module, 0.05) is module
    for part in module:
        if getattr(part, "weight", None) is not None:
            middle = 1.0 if isinstance(part, nn.BatchNorm2d | nn.InstanceNorm2d | InstanceNormAct2d) else 0.0
            assert abs(part.weight.mean() - middle) < 0.004
            assert abs(part.weight.std() - 0.05) < 0.004
        if getattr(part, "bias", None) is not None:
            assert not part.bias.any()


def test_other_parameters_stay() -> None:
    module = nn.Sequential(nn.PReLU(), nn.Embedding(3, 2))
    before = [p.clone() for p in module.parameters()]
    init_normal(module)
    assert all(torch.equal(p, old) for p, old in zip(module.parameters(), before, strict=True))


def test_the_seed_decides() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(1)
        drawn.append(init_normal(nn.Conv2d(2, 2, 3)).weight)
    assert torch.equal(*drawn)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_he_keeps_the_size_of_activations(slope: float) -> None:
    torch.manual_seed(0)
    wide = [layer for _ in range(12) for layer in (nn.Linear(256, 256), LeakyReLU(negative_slope=slope))]
    module = nn.Sequential(*wide)
    assert init_he(module, slope) is module
    x = torch.randn(64, 256)
    assert 0.5 < module(x).square().mean() / x.square().mean() < 2
    assert not any(layer.bias.any() for layer in module if isinstance(layer, nn.Linear))
    conv = init_he(nn.Conv2d(64, 64, 3, padding=1, bias=False), slope)
    assert conv.weight.var().item() == pytest.approx(2 / (1 + slope**2) / (64 * 9), rel=0.05)
