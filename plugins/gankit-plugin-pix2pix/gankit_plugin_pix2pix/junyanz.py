"""Weights of pytorch-CycleGAN-and-pix2pix for ``pix2pix``: ``latest_net_G.pth`` and ``latest_net_D.pth``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gankit.errors import UsageError
from gankit.foreign import Asked, Foreign, WeightFile, WeightFormat
from gankit.plugin import DataSpec, Key
from gankit_plugin_pix2pix.variant import OTHER

if TYPE_CHECKING:
    from gankit.nn.junyanz import Block

__all__ = ["Junyanz"]


class Junyanz(WeightFormat):
    """pytorch-CycleGAN-and-pix2pix: U-Nets of batch norm, and discriminators of pairs."""

    def read(self, files: Sequence[WeightFile], asked: Asked) -> Foreign | None:
        from gankit.nn.junyanz import read_patch, read_unet

        wanted: Any = asked.options.get("norm")
        generators = [block for file in files if (block := read_unet(file, wanted)) is not None]
        judges = [block for file in files if (block := read_patch(file, wanted)) is not None]
        if not generators or len(generators) + len(judges) < len(files):
            return None
        if len(generators) > 1 or len(judges) > 1:
            names = ", ".join(block.file.name for block in (generators if len(generators) > 1 else judges))
            raise UsageError(f"pix2pix has one generator and one discriminator; of one kind are {names}.")
        generator, source = generators[0], asked.option("source", "a")
        _check(generator, judges)
        side = asked.size or 1 << generator.depth
        channels = {source: generator.inputs, OTHER.get(source, "b"): generator.outputs}
        sides: dict[str, Any] = {f"data.channels_{name}": number for name, number in channels.items() if number != 3}
        judged = {"d_width": judges[0].width, "d_layers": judges[0].depth} if judges else {}
        return Foreign(
            spec=DataSpec(
                keys={
                    name: Key(kind="image", shape=(channels[name], side, side), of="a" if name == "b" else None)
                    for name in OTHER
                }
            ),
            weights={
                "generator": generator.weights,
                **({"discriminator": judges[0].weights} if judges else {}),
            },
            options={
                **sides,
                **judged,
                "data.size": side,
                "g_width": generator.width,
                "downs": generator.depth,
                "norm": generator.norm,
            },
            dataset="paired-folder",
            preset="paper",
            notes=[_of_batch_norm()] if generator.norm == "batch" else [],
        )


def _check(generator: Block, judges: Sequence[Block]) -> None:
    for judge in judges:
        if judge.inputs != generator.inputs + generator.outputs:
            both = f"{generator.inputs} and {generator.outputs} channels of {generator.file.name}"
            raise UsageError(f"{judge.file.name} judges {judge.inputs} channels, not pairs of the {both}.")
        if judge.norm != generator.norm:
            raise UsageError(f"{judge.file.name} has {judge.norm} norm, {generator.file.name} {generator.norm} norm.")


def _of_batch_norm() -> str:
    return (
        "Batch norm draws from its averages. To norm each image by itself, as the authors' program does in testing "
        "unless it is told --eval, import with --norm affine."
    )
