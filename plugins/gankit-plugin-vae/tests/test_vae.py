"""The variational autoencoder: its networks, and its bound against torch's own distributions."""

from __future__ import annotations

import math

import pytest
import torch
from gankit_plugin_vae import VAE
from gankit_plugin_vae.vae import VAEConfig
from torch.distributions import Bernoulli, Normal, kl_divergence

from gankit.plugin import DataSpec


def test_parameters_are_those_of_784_400_20(grey: DataSpec) -> None:
    networks = VAE(VAEConfig()).networks(grey)
    assert sum(p.numel() for network in networks.values() for p in network.parameters()) == 652_824


@pytest.mark.parametrize("likelihood", ["bernoulli", "squared"])
def test_the_bound_is_that_of_the_distributions(likelihood: str, grey: DataSpec) -> None:
    torch.manual_seed(0)
    variant = VAE(VAEConfig(likelihood=likelihood))
    networks, image = variant.networks(grey), torch.rand(6, 1, 28, 28).round() * 2 - 1
    with torch.no_grad():
        measured = variant.measure(networks, [{"image": image}], torch.Generator().manual_seed(3))
        mean, logvar = networks["encoder"](image)
        code = Normal(mean, (logvar / 2).exp())
        noise = torch.randn(6, 20, generator=torch.Generator().manual_seed(3))
        decoded = networks["decoder"](mean + code.stddev * noise)
        if likelihood == "bernoulli":
            likely = Bernoulli(logits=decoded).log_prob((image + 1) / 2)
        else:
            likely = Normal(decoded.tanh(), math.sqrt(0.5)).log_prob(image)
        divergence = kl_divergence(code, Normal(0, 1)).sum(1)
        bound = (likely.flatten(1).sum(1) - divergence).mean()
    assert measured["bound"] == pytest.approx(float(bound), rel=1e-5)


def test_batches_of_any_size_give_one_figure(grey: DataSpec) -> None:
    """The mean is over images, not over batches."""
    variant, image = VAE(VAEConfig()), torch.rand(10, 1, 28, 28) * 2 - 1
    networks = variant.networks(grey)
    with torch.no_grad():
        heads = networks["encoder"].heads
        heads.bias[variant.config.z :].fill_(-40)  # a code without spread: the noise plays no part
        heads.weight[variant.config.z :].zero_()
        whole = variant.measure(networks, [{"image": image}], torch.Generator())
        parts = variant.measure(networks, [{"image": image[:7]}, {"image": image[7:]}], torch.Generator())
    assert whole == pytest.approx(parts, rel=1e-5)


@pytest.mark.parametrize(("index", "weight"), [(0, 0.25), (1, 0.5), (3, 1.0), (50, 1.0)])
def test_the_divergence_is_warmed_up_by_step(index: int, weight: float, grey: DataSpec) -> None:
    image = torch.rand(4, 1, 28, 28) * 2 - 1
    terms = []
    for config in (VAEConfig(warmup=4, kl=3.0), VAEConfig()):
        torch.manual_seed(0)
        variant = VAE(config)
        step = _Step(index, image, variant.networks(grey))
        (phase,) = variant.phases()
        terms.append(phase.loss(step))
    warmed, plain = terms
    torch.testing.assert_close(warmed["kl"], 3 * weight * plain["kl"])
    torch.testing.assert_close(warmed["reconstruction"], plain["reconstruction"])
    torch.testing.assert_close(step.logged["bound"], -plain["kl"] - plain["reconstruction"])


class _Step:
    """What the loss reads of a step."""

    def __init__(self, index: int, image: torch.Tensor, networks: dict[str, torch.nn.Module]) -> None:
        self.index, self.size, self.batch, self.networks = index, len(image), {"image": image}, networks
        self.logged: dict[str, torch.Tensor] = {}

    def noise(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(1))

    def log(self, name: str, value: torch.Tensor) -> None:
        self.logged[name] = value
