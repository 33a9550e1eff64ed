"""Weights of the DCGAN among PyTorch's examples: ``netG_epoch_24.pth`` and ``netD_epoch_24.pth``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gankit.errors import UsageError
from gankit.foreign import Asked, Foreign, Renaming, WeightFile, WeightFormat
from gankit.plugin import DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Examples"]


class Examples(WeightFormat):
    """The DCGAN of PyTorch's examples."""

    def read(self, files: Sequence[WeightFile], asked: Asked) -> Foreign | None:
        made = {network: [f for f in files if _convolutions(f, network)] for network in ("generator", "discriminator")}
        if sum(map(len, made.values())) < len(files) or not made["generator"]:
            return None
        if doubled := next((found for found in made.values() if len(found) > 1), None):
            raise UsageError(f"{doubled[0].name} and {doubled[1].name} are the same network: give those of one epoch.")
        generator = made["generator"][0]
        places = _convolutions(generator, "generator")
        first, last = (generator.shape(f"main.{places[i]}.weight") for i in (0, -1))
        side = first[2] << (len(places) - 1)
        options: dict[str, Any] = {"data.size": side, "z": first[0], "g_width": last[0], "noise": "normal"}
        if last[1] != 3:
            options["data.channels"] = last[1]
        for judge in made["discriminator"]:
            options["d_width"] = judge.shape("main.0.weight")[0]
        return Foreign(
            spec=DataSpec(keys={"image": Key(kind="image", shape=(last[1], side, side))}),
            weights={network: _names(found[0], network) for network, found in made.items() if found},
            options=options,
            dataset="folder",
            preset="paper",
        )


def _convolutions(file: WeightFile, network: str) -> list[int]:
    """Where the convolutions of a `network` stand in `file`; none if it is not of that one."""
    places = [n for n in file.numbers(r"main\.(\d+)\.weight") if len(file.shape(f"main.{n}.weight")) == 4]
    generator = network == "generator"
    usual = [0, *(3 * i if generator else 3 * i - 1 for i in range(1, len(places)))]
    if len(places) < 3 or places != usual or bool(file.shape("main.1.weight")) is not generator:
        return []
    shapes = [file.shape(f"main.{n}.weight") for n in places]
    return places if {shape[2:] for shape in (shapes[1:] if generator else shapes[:-1])} == {(4, 4)} else []


def _names(file: WeightFile, network: str) -> dict[str, Tensor]:
    names, places = Renaming(), _convolutions(file, network)
    for i, place in enumerate(places):
        names.layer(f"main.{place}", f"layers.{place}", bias=False)
        if i < len(places) - 1 and (i > 0 or network == "generator"):
            names.batch_norm(f"main.{place + 1}", f"layers.{place + 1}")
    return names.apply(file)
