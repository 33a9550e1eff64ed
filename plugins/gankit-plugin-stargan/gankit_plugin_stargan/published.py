"""Weights of StarGAN's authors for ``stargan``: ``200000-G.ckpt`` and ``200000-D.ckpt``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gankit.errors import UsageError
from gankit.foreign import Asked, Foreign, Renaming, WeightFile, WeightFormat
from gankit.plugin import DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Published"]

SIZE = 128
"""Side of the images of the published models."""


class Published(WeightFormat):
    """StarGAN as its authors published it."""

    def read(self, files: Sequence[WeightFile], asked: Asked) -> Foreign | None:
        generators = [file for file in files if file.shape("main.9.main.0.weight")]
        judges = [file for file in files if file.shape("conv1.weight") and file.shape("conv2.weight")]
        if not generators or len(generators) + len(judges) < len(files):
            return None
        if len(generators) > 1 or len(judges) > 1:
            names = ", ".join(file.name for file in (generators if len(generators) > 1 else judges))
            raise UsageError(f"stargan has one generator and one discriminator; of one kind are {names}.")
        generator = generators[0]
        blocks = len(generator.numbers(r"main\.(\d+)\.main\.0\.weight"))
        weights = {"generator": _generator(generator, blocks)}
        width, told = generator.shape("main.0.weight")[:2]
        channels = generator.shape(f"main.{blocks + 15}.weight")[0]
        domains, side = told - channels, asked.size or SIZE
        options: dict[str, object] = {"g_width": width, "blocks": blocks, "mask": False, "told_by": "classes"}
        if not judges:
            options["d_layers"] = min(6, side.bit_length() - 1)
        for judge in judges:
            layers = len(judge.numbers(r"main\.(\d+)\.bias"))
            weights["discriminator"] = _discriminator(judge, layers)
            side = _side(judge, layers, domains, asked.size)
            options |= {"d_width": judge.shape("main.0.weight")[0], "d_layers": layers}
        if channels != 3:
            options["data.channels"] = channels
        named = _domain(domains, asked.classes)
        return Foreign(
            spec=DataSpec(keys={"image": Key(kind="image", shape=(channels, side, side)), **named}),
            weights=weights,
            options={**options, "data.size": side},
            dataset="attribute-folder",
            preset="paper",
            notes=[] if asked.classes else [_of_attributes(domains)],
        )


def _domain(number: int, names: Sequence[str]) -> dict[str, Key]:
    """What the generator is told: of `number` attributes any, or one of the classes that are named."""
    if not names:
        return {"attributes": Key(kind="vector", shape=(number,))}
    if len(names) != number:
        raise UsageError(f"--classes names {len(names)}, {', '.join(names)}; the weights are told one of {number}.")
    return {"label": Key(kind="class", names=tuple(names))}


def _of_attributes(number: int) -> str:
    example = ",".join("10"[i % 2] for i in range(number))
    return (
        f"The weights are told {number} attributes, each there or not: --given attributes={example}. If they are "
        "classes that exclude each other, import with --classes NAME,NAME,..."
    )


def _side(judge: WeightFile, layers: int, domains: int, asked: int | None) -> int:
    number, _, *left = judge.shape("conv2.weight")
    if number != domains:
        raise UsageError(f"{judge.name} tells {number} domains apart, and the generator is told {domains}.")
    side = left[0] << layers
    if asked not in (None, side):
        raise UsageError(f"--size {asked}: {judge.name} is of images of {side}x{side}.")
    return side


def _generator(file: WeightFile, blocks: int) -> dict[str, Tensor]:
    names, end = Renaming(), 9 + blocks
    for theirs, ours in {0: 0, 3: 2, 6: 4, end: 6 + blocks, end + 3: 8 + blocks}.items():
        names.layer(f"main.{theirs}", f"layers.{ours}", bias=False)
        names.instance_norm(f"main.{theirs + 1}", f"layers.{ours + 1}")
    for i in range(blocks):
        theirs, ours = f"main.{9 + i}.main", f"layers.{6 + i}"
        names.layer(f"{theirs}.0", f"{ours}.first", bias=False)
        names.instance_norm(f"{theirs}.1", f"{ours}.norm_relu")
        names.layer(f"{theirs}.3", f"{ours}.second", bias=False)
        names.instance_norm(f"{theirs}.4", f"{ours}.norm_add")
    names.layer(f"main.{end + 6}", f"layers.{10 + blocks}", bias=False)
    return names.apply(file)


def _discriminator(file: WeightFile, layers: int) -> dict[str, Tensor]:
    names = Renaming()
    for i in range(layers):
        names.layer(f"main.{2 * i}", f"layers.{2 * i}", f"layers.{2 * i + 1}.bias")
    names.layer("conv1", "source", bias=False)
    names.layer("conv2", "domain", bias=False)
    return names.apply(file)
