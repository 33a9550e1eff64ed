"""Weights of pytorch-CycleGAN-and-pix2pix for ``cyclegan``: ``latest_net_G_A.pth``, ..., or one generator alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gankit.errors import UsageError
from gankit.foreign import Asked, Foreign, WeightFile, WeightFormat
from gankit.plugin import DataSpec, Key
from gankit_plugin_cyclegan.variant import OTHER

if TYPE_CHECKING:
    from gankit.nn.junyanz import Block

__all__ = ["Junyanz"]

SIZE = 256
"""Side of the images of the published models."""
GENERATORS = {"A": "a_to_b", "B": "b_to_a"}
# their D_A judges what G_A makes of A: it is the discriminator of b
DISCRIMINATORS = {"A": "discriminator_b", "B": "discriminator_a"}


class Junyanz(WeightFormat):
    """pytorch-CycleGAN-and-pix2pix: generators and discriminators of instance norm."""

    def read(self, files: Sequence[WeightFile], asked: Asked) -> Foreign | None:
        from gankit.nn.junyanz import read_patch, read_resnet, read_unet

        made = [read_resnet(file) or read_unet(file) for file in files]
        generators = [block for block in made if block is not None]
        judges = [block for file in files if (block := read_patch(file)) is not None]
        if not generators or len(generators) + len(judges) < len(files):
            return None
        pairs = {block.inputs + block.outputs for block in generators}
        if {block.norm for block in [*generators, *judges]} != {"instance"} or pairs & {j.inputs for j in judges}:
            return None  # batch norm, or a discriminator of pairs
        networks = {**_by_side(generators, GENERATORS), **_by_side(judges, DISCRIMINATORS)}
        channels = _channels(networks)
        side = asked.size or (SIZE if generators[0].file.shape("model.1.weight") else 1 << generators[0].depth)
        return Foreign(
            spec=DataSpec(keys={name: Key(kind="image", shape=(channels[name], side, side)) for name in OTHER}),
            weights={name: block.weights for name, block in networks.items()},
            options={"data.size": side, **_options(generators[0], judges), **_sides_of(channels)},
            dataset="unpaired-folder",
            preset="paper",
        )


def _options(generator: Block, judges: Sequence[Block]) -> dict[str, Any]:
    """The variant's options that the networks were made with."""
    options: dict[str, Any] = {"g_width": generator.width}
    if generator.file.shape("model.1.weight"):
        options["blocks"] = generator.depth
    else:
        options |= {"network": "unet", "downs": generator.depth}
    if judges:
        options |= {"d_width": judges[0].width, "d_layers": judges[0].depth}
    return options


def _channels(networks: Mapping[str, Block]) -> dict[str, int]:
    """Of the images of either domain. :class:`UsageError` if networks disagree."""
    said: dict[str, dict[int, str]] = {name: {} for name in OTHER}
    for name, block in networks.items():
        if name.startswith("discriminator_"):
            said[name.removeprefix("discriminator_")][block.inputs] = block.file.name
        else:
            said[name[0]][block.inputs] = said[name[-1]][block.outputs] = block.file.name
    for name, found in said.items():
        if len(found) > 1:
            texts = ", ".join(f"{number} in {file}" for number, file in found.items())
            raise UsageError(f"the files are not of one model: channels of {name.upper()}: {texts}.")
    return {name: next(iter(found)) for name, found in said.items()}


def _sides_of(channels: Mapping[str, int]) -> dict[str, Any]:
    """The options that other channels than three ask for."""
    options: dict[str, Any] = {f"data.channels_{name}": number for name, number in channels.items() if number != 3}
    return options if channels["a"] == channels["b"] else {**options, "identity": 0.0}


def _by_side(blocks: Sequence[Block], names: Mapping[str, str]) -> dict[str, Block]:
    """`blocks` by the network that they are, as the names of their files say: ``..._G_A.pth``; one alone is of A."""
    found: dict[str, Block] = {}
    for block in blocks:
        said = re.search(r"(?:^|[_-])[GD]_?([AB])(?:[_.-]|$)", block.file.name)
        if said is None and len(blocks) > 1:
            raise UsageError(f"{block.file.name} does not say whose it is: name the files as in latest_net_G_A.pth.")
        name = names[said[1] if said else "A"]
        if name in found:
            raise UsageError(f"{found[name].file.name} and {block.file.name} are the same network, {name}.")
        found[name] = block
    return found
