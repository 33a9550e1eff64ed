"""The networks of cyclegan: two generators, two discriminators, and the discriminators' pools."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from gankit.errors import UsageError
from gankit.nn import ImagePool, PatchDiscriminator, ResNetGenerator
from gankit.nn.init import init_normal
from gankit.options.spelling import give
from gankit.plugin import DataSpec
from gankit_plugin_cyclegan.keras import KerasDiscriminator, KerasGenerator, glorot
from gankit_plugin_cyclegan.variant import OTHER, CycleGANConfig

Shape = tuple[int, int, int]


def build(config: CycleGANConfig, spec: DataSpec) -> dict[str, nn.Module]:
    """All networks for the images ``a`` and ``b`` of `spec`, by name. :class:`UsageError` if they do not fit."""
    shapes = {name: spec.shape_of(name) for name in OTHER}
    _check(config, shapes)
    made: dict[str, nn.Module] = {}
    for name, other in OTHER.items():
        made[f"{name}_to_{other}"] = _generator(config, shapes[name][0], shapes[other][0])
    for name in OTHER:
        made[f"discriminator_{name}"] = _discriminator(config, shapes[name])
    if config.pool:
        made |= {f"pool_{name}": ImagePool(config.pool, shapes[name]) for name in OTHER}
    return made


def _generator(config: CycleGANConfig, inputs: int, outputs: int) -> nn.Module:
    if config.network == "keras":
        return glorot(KerasGenerator(inputs, outputs, config.kernel))
    up_kernel = config.up_kernel
    return init_normal(ResNetGenerator(inputs, outputs, config.g_width, config.blocks, up_kernel=up_kernel))


def _discriminator(config: CycleGANConfig, shape: Shape) -> nn.Module:
    if config.network == "keras":
        return glorot(KerasDiscriminator(shape, config.kernel, patch=config.d_layers > 0))
    return init_normal(PatchDiscriminator(shape[0], config.d_width, config.d_layers))


def _check(config: CycleGANConfig, shapes: Mapping[str, Shape]) -> None:
    unit = 8 if config.network == "keras" else 4
    for name, (_, height, width) in shapes.items():
        if height % unit or width % unit or min(height, width) < 16:
            raise UsageError(
                f"cyclegan takes sides that {unit} divides, from 16 on; those of {name!r} are {width}x{height}. "
                f"Choose another size ({give('data.size', 64)})."
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
