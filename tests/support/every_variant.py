"""Each variant that is installed, small enough for a test."""

from __future__ import annotations

import torch
from torch import nn

from gankit.check.data import stand_in
from gankit.data.made_up import MadeUp
from gankit.discovery.entry_points import load_dataset, load_variant
from gankit.errors import UsageError
from gankit.options.resolve import Resolved, resolve
from gankit.plugin import DataSpec, Variant
from gankit.training.networks import build_networks

SMALL: dict[str, dict[str, object]] = {
    "ae": {"width": 8},
    "cgan": {"hidden": 16},
    "cut": {"g_width": 4, "d_width": 4, "blocks": 2, "layers": "0,2,4", "patches": 16, "data.size": 32},
    "cycada": {"g_width": 4, "d_width": 4, "blocks": 1, "width": 4, "answer_width": 16, "features_from": 0},
    "cyclegan": {"g_width": 4, "d_width": 4, "blocks": 1, "data.size": 32},
    "dcgan": {"g_width": 4, "d_width": 4},
    "inpaint": {"g_width": 4, "d_width": 4, "neck": 16, "data.size": 32},
    "pix2pix": {"g_width": 4, "d_width": 4, "data.size": 32},
    "r3gan": {"width": 16},
    "stackgan": {"g1_width": 4, "g2_width": 4, "d_width": 4},
    "stargan": {"g_width": 4, "d_width": 4, "d_layers": 2, "blocks": 1, "data.size": 32},
    "wgan": {"g_width": 4, "d_width": 4},
}
"""In 64 bits convolutions take their time."""


def small(name: str, preset: str | None = None, **options: object) -> tuple[type[Variant], MadeUp, Resolved]:
    """The variant `name`, 24 samples such as its own data has, and options of which it is small."""
    variant = load_variant(name)
    dataset = load_dataset(variant.dataset)
    given = {**variant.check_options, **SMALL.get(name, {}), **options}
    resolved = resolve(variant, dataset, variant=name, dataset=variant.dataset, preset=preset, options=given)
    try:
        spec = dataset(resolved.data, "train").spec
    except UsageError:  # without a directory of the user's own
        spec = stand_in(variant).spec
    return variant, MadeUp(spec, 24), resolved


def lively(
    name: str, preset: str | None = None, **options: object
) -> tuple[Variant, dict[str, nn.Module], DataSpec, MadeUp]:
    """The variant, networks in eval mode with weights that draw something, the spec of its data, and samples of it."""
    variant, data, resolved = small(name, preset, **options)
    made = variant(resolved.options)
    networks = build_networks(made, data.spec, 0)
    for network in networks.values():
        enliven(network)
        network.eval().requires_grad_(False)
    return made, networks, data.spec, data


@torch.no_grad()
def enliven(network: nn.Module) -> None:
    """Weights as of a network that has learnt: of every map something comes through, and no norm is the identity."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() > 1:
                inputs = weight[0].numel() if not isinstance(module, nn.ConvTranspose2d) else weight[:, 0].numel() / 4
                weight.copy_(noise * (2 / inputs) ** 0.5)
            else:
                weight.copy_(0.2 * noise + float(name == "weight"))
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.copy_(0.2 * torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_mean.shape, generator=generator))
