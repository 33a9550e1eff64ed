"""The networks of image translation: published sizes, shapes, and what a logit sees."""

import pytest
import torch

from gankit.nn import PatchDiscriminator, ResNetGenerator


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_published_numbers_of_parameters() -> None:
    assert count(ResNetGenerator(3, 3)) == 11_378_179
    assert count(ResNetGenerator(3, 3, blocks=6)) == 7_837_699
    assert count(PatchDiscriminator(3)) == 2_764_737


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 48), (20, 8)])
def test_a_translation_has_the_size_of_its_image(height: int, width: int) -> None:
    translated = ResNetGenerator(1, 3, width=4, blocks=1)(torch.randn(2, 1, height, width))
    assert translated.shape == (2, 3, height, width)
    assert translated.abs().max() <= 1


def test_logits_at_256() -> None:
    assert PatchDiscriminator(3, width=2)(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_one_patch(layers: int, patch: int) -> None:
    """Without the norms, which see the whole plane: the gradient of one logit covers patch x patch pixels."""
    network = PatchDiscriminator(1, width=2, layers=layers)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    image = torch.randn(1, 1, 160, 160, requires_grad=True)
    logits = torch.nn.Sequential(*convolutions)(image)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    rows = gradient[0, 0].abs().sum(1).nonzero()[:, 0]
    assert int(rows.max() - rows.min()) + 1 == patch
