"""The convolutional autoencoder: the document's networks, and the Gaussian that stands in for a prior."""

from __future__ import annotations

import pytest
import torch
from gankit_plugin_vae import AE
from gankit_plugin_vae.ae import AEConfig
from gankit_plugin_vae.convolutions import Gaussian, build, code_shape

from gankit.plugin import DataSpec, Key


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_document_s_networks(grey: DataSpec) -> None:
    """Maps of 10, 5, 3 and 2 pixels, then of 5, 15 and 30, and the weights that go with them."""
    options = {key: value for key, value in AE.presets["document"].items() if key in AEConfig.model_fields}
    networks = build(AEConfig(**options), grey)
    assert count(networks["encoder"]) == (9 * 16 + 16) + (16 * 9 * 8 + 8) == 1320
    assert count(networks["decoder"]) == (8 * 9 * 16 + 16) + (16 * 25 * 8 + 8) + (8 * 9 + 1) == 4449
    sides: list[int] = []
    for network in (networks["encoder"], networks["decoder"]):
        for layer in network.layers:
            if not isinstance(layer, torch.nn.ReLU | torch.nn.LeakyReLU):
                layer.register_forward_hook(lambda layer, inputs, output: sides.append(output.shape[-1]))
    code = networks["encoder"](torch.rand(2, 1, 28, 28))
    assert code.shape == (2, 8, 2, 2)
    assert code.min() >= 0
    assert networks["decoder"](code).shape == (2, 1, 28, 28)
    assert sides == [10, 5, 3, 2, 5, 15, 31]  # of 31 the last is cut off


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (5, 9), (1, 1), (64, 48)])
def test_the_code_has_the_shape_that_is_told(size: tuple[int, int]) -> None:
    spec = DataSpec(keys={"image": Key(kind="image", shape=(3, *size))})
    networks = build(AEConfig(width=4, code=5), spec)
    code = networks["encoder"](torch.rand(2, 3, *size))
    assert code.shape[1:] == code_shape(AEConfig(code=5), spec)
    assert networks["decoder"](code).shape == (2, 3, *size)


def test_codes_of_the_training_images_come_out_standard() -> None:
    """And drawn ones have the mean and the covariance of the training images' codes."""
    torch.manual_seed(0)
    gaussian, mix = Gaussian((2, 1, 2), negative=True), torch.eye(4) + 0.5 * torch.rand(4, 4)
    for index in range(300):
        gaussian.update((torch.randn(200, 4) @ mix + 9).view(200, 2, 1, 2), index)
    fresh = (torch.randn(5000, 4) @ mix + 9).view(5000, 2, 1, 2)
    standard = gaussian.standardised(fresh)
    assert standard.mean(0).abs().max() < 0.1
    assert (standard.T.cov() - torch.eye(4)).abs().max() < 0.1
    torch.testing.assert_close(gaussian.codes(standard), fresh, rtol=1e-4, atol=1e-4)
    drawn = gaussian.codes(torch.randn(5000, 4)).flatten(1)
    assert (drawn.T.cov() - mix.T @ mix).abs().max() < 0.15


def test_moments_are_not_rounded_to_16_bits() -> None:
    codes = torch.randn(64, 2, 2, 2) + 3
    made = [Gaussian((2, 2, 2), negative=True) for _ in range(2)]
    made[0].update(codes, 0)
    with torch.autocast("cpu", torch.bfloat16):
        made[1].update(codes, 0)
    assert torch.equal(made[0].second, made[1].second)


@pytest.mark.parametrize("slope", [0.2, 0.0])
def test_what_the_encoder_gives_comes_back_as_it_was(slope: float) -> None:
    """With a leaky code negative numbers too; through the variant's own networks, as `reconstruct` goes."""
    torch.manual_seed(0)
    spec = DataSpec(keys={"image": Key(kind="image", shape=(1, 28, 28))})
    networks = build(AEConfig(width=4, code_slope=slope), spec)
    with torch.no_grad():
        codes = networks["encoder"](torch.rand(400, 1, 28, 28) * 2 - 1)
        networks["gaussian"].update(codes, 0)
        back = networks["gaussian"].codes(networks["gaussian"].standardised(codes))
    assert (codes.min() < 0) == (slope > 0)
    torch.testing.assert_close(back, codes, rtol=1e-3, atol=1e-4)


def test_a_code_that_is_never_active_does_no_harm() -> None:
    gaussian = Gaussian((3, 1, 1), negative=False)
    codes = torch.rand(50, 3, 1, 1) * torch.tensor([1.0, 0.0, 2.0]).view(3, 1, 1)
    gaussian.update(codes, 0)
    assert gaussian.codes(torch.randn(100, 3)).isfinite().all()
    assert (gaussian.codes(torch.randn(100, 3)) >= 0).all()
    torch.testing.assert_close(gaussian.codes(gaussian.standardised(codes)), codes, rtol=1e-3, atol=1e-4)
    nothing = Gaussian((3, 1, 1), negative=False)
    nothing.update(torch.zeros(5, 3, 1, 1), 0)
    assert nothing.codes(torch.randn(4, 3)).isfinite().all()
