"""Dataset ``earth-layer``: crops of one layer of the whole Earth, for variants of one image."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

from gankit.plugin import DataSpec
from gankit_plugin_earth.crops import EarthConfig, EarthCrops
from gankit_plugin_earth.names import Layer

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.plugin import Batch

__all__ = ["EarthLayer", "EarthLayerConfig"]


class EarthLayerConfig(EarthConfig):
    """Options of the dataset ``earth-layer``."""

    layer: Layer = "satellite"
    """Which of the layers; grey is the satellite picture without its colours, mask is white for land."""


class EarthLayer(EarthCrops):
    """The whole Earth from above, one layer alone: the satellite picture, a map, a shaded relief.

    ``image``: uint8 (N, channels, size, size), and its land/sea mask ``land``, for judging. The places are those of the
    dataset ``earth`` with pairs, in their order, and so are the splits.
    """

    Config = EarthLayerConfig
    config: EarthLayerConfig

    def __init__(self, config: EarthLayerConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split, (config.layer,))

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            keys={"image": self.key(self.config.layer), "land": self.land("image", "land", self.config.layer)}
        )

    def __len__(self) -> int:
        return 2 * self.count

    def batch(self, indices: Tensor) -> Batch:
        places = self.places[indices]
        return {"image": self.crop(self.config.layer, places), "land": self.crop("mask", places)}

    def seen(self, images: Tensor, key: str) -> Batch:
        from gankit_plugin_earth.seen import land_in

        return land_in(images, "land", self.config.layer)

    def source(self, index: int, stream: str = "") -> str:
        from gankit_plugin_earth.places import name_of

        return name_of(self.places[index], self.config.size, self.config.scale)

    @cached_property
    def places(self) -> Tensor:
        """Top and left of each crop in the whole picture, int64 (N, 2)."""
        from gankit_plugin_earth.places import interleaved

        return interleaved(self.split, self.count, self.config.size, self.config.scale)
