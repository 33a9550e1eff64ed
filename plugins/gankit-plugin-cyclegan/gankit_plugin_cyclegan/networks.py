"""The networks of cyclegan: two generators, two discriminators, and the discriminators' pools."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from gankit.errors import UsageError
from gankit.nn import ImagePool, PatchDiscriminator, ResNetGenerator, UNetGenerator
from gankit.nn.init import init_normal
from gankit.nn.unet import halvings
from gankit.options.spelling import give
from gankit.plugin import DataSpec
from gankit_plugin_cyclegan.keras import KerasDiscriminator, KerasGenerator, glorot
from gankit_plugin_cyclegan.variant import OTHER, CycleGANConfig

Shape = tuple[int, int, int]
DEEPEST = 8
"""Halvings of the published U-Net, whose images have 256x256 pixels."""


def build(config: CycleGANConfig, spec: DataSpec) -> dict[str, nn.Module]:
    """All networks for the images ``a`` and ``b`` of `spec`, by name. :class:`UsageError` if they do not fit."""
    shapes = {name: spec.shape_of(name) for name in OTHER}
    _check(config, shapes)
    made: dict[str, nn.Module] = {}
    for name, other in OTHER.items():
        made[f"{name}_to_{other}"] = _generator(config, shapes[name], shapes[other][0])
    for name in OTHER:
        made[f"discriminator_{name}"] = _discriminator(config, shapes[name])
    if config.pool:
        made |= {f"pool_{name}": ImagePool(config.pool, shapes[name]) for name in OTHER}
    return made


def _generator(config: CycleGANConfig, shape: Shape, outputs: int) -> nn.Module:
    inputs, height, width = shape
    if config.network == "unet":
        downs = config.downs or min(halvings(height, width), DEEPEST)
        return init_normal(UNetGenerator(inputs, outputs, config.g_width, downs, "instance", dropout=0.0))
    if config.network == "keras":
        return glorot(KerasGenerator(inputs, outputs, config.kernel))
    width, blocks = config.g_width, config.blocks
    made = ResNetGenerator(inputs, outputs, width, blocks, doubling=config.doubling, norm=config.norm)
    return init_normal(made)


def _discriminator(config: CycleGANConfig, shape: Shape) -> nn.Module:
    if config.network == "keras":
        return glorot(KerasDiscriminator(shape, config.kernel, patch=not config.one_logit))
    whole = (shape[1], shape[2]) if config.one_logit else None
    return init_normal(PatchDiscriminator(shape[0], config.d_width, config.d_layers, whole=whole))


def _check(config: CycleGANConfig, shapes: Mapping[str, Shape]) -> None:
    unit = {"resnet": 4, "unet": 2 ** (config.downs or 2), "keras": 8}[config.network]
    for name, (_, height, width) in shapes.items():
        if height % unit or width % unit or min(height, width) < 16:
            fits = max(16, unit, min(height, width) // unit * unit)
            raise UsageError(
                f"the generators take sides that {unit} divides, from 16 on; those of {name!r} are {width}x{height}. "
                f"Choose another size ({give('data.size', fits)})."
            )
        if config.network != "keras" and min(height, width) >> config.d_layers < 3:
            raise UsageError(
                f"d_layers = {config.d_layers}: nothing is left of {width}x{height} pixels. "
                f"Choose fewer ({give('d_layers', 2)})."
            )
    if shapes["a"][1:] != shapes["b"][1:]:
        raise UsageError(f"cyclegan needs a and b of one size; they are {shapes['a'][1:]} and {shapes['b'][1:]}.")
    if config.identity and shapes["a"][0] != shapes["b"][0]:
        raise UsageError(
            f"identity needs as many channels in a ({shapes['a'][0]}) as in b ({shapes['b'][0]}). "
            f"Leave it out ({give('identity', 0)})."
        )
