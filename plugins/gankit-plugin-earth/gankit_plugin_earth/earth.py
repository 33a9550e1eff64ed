"""Dataset ``earth``: crops of the whole Earth in two layers, in pairs or from different places."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit.plugin import DataSpec
from gankit_plugin_earth.crops import EarthConfig, EarthCrops
from gankit_plugin_earth.names import Layer

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.plugin import Batch

__all__ = ["Earth", "EarthPairsConfig"]

OTHER = {"a": "b", "b": "a"}


class EarthPairsConfig(EarthConfig):
    """Options of the dataset ``earth``."""

    a: Layer = "satellite"
    """The layer under the key a; grey is the satellite picture without its colours, mask is white for land."""
    b: Layer = "map"
    """The layer under the key b."""
    paired: bool = False
    """Each b shows the place of its a. Otherwise they come from different places, and none is in both."""


class Earth(EarthCrops):
    """The whole Earth from above in two layers: satellite picture and map, shaded relief, land/sea mask.

    ``a``, ``b``: uint8 (N, channels, size, size). Paired: ``land``, the land/sea mask of both, uint8 (N, 1, size,
    size), 255 for land. Unpaired: two streams, ``a`` with ``land_a`` and ``b`` with ``land_b``. The masks are for
    judging.

    Of 16 bands of longitude 6 are a's, 6 b's, and 2 of each held out; no crop lies across the border of two. The pairs
    are the crops of both sides: the unpaired a at index i is the pair at 2 i, the unpaired b the pair at 2 i + 1.
    """

    Config = EarthPairsConfig
    config: EarthPairsConfig

    def __init__(self, config: EarthPairsConfig, split: Literal["train", "test"] = "train") -> None:
        if config.a == config.b:
            another = "map" if config.a != "map" else "satellite"
            raise UsageError(f"data.a and data.b are both {config.a}; choose two ({give('data.b', another)}).")
        super().__init__(config, split, (config.a, config.b))

    @property
    def spec(self) -> DataSpec:
        config = self.config
        if config.paired:
            return DataSpec(
                keys={
                    "a": self.key(config.a),
                    "b": self.key(config.b, of="a"),
                    "land": self.land("a", "land", config.b),
                }
            )
        images = {side: self.key(self._layer(side)) for side in OTHER}
        masks = {f"land_{a}": self.land(a, f"land_{b}", self._layer(b)) for a, b in OTHER.items()}
        return DataSpec(keys={**images, **masks})

    def streams(self) -> Mapping[str, int]:
        return {"": 2 * self.count} if self.config.paired else dict.fromkeys(OTHER, self.count)

    def batch(self, indices: Any) -> Batch:
        if self.config.paired:
            places = self.places[""][indices]
            return {side: self.crop(self._layer(side), places) for side in OTHER} | {"land": self.crop("mask", places)}
        batch: Batch = {}
        for side, index in indices.items():
            places = self.places[side][index]
            batch |= {side: self.crop(self._layer(side), places), f"land_{side}": self.crop("mask", places)}
        return batch

    def seen(self, images: Tensor, key: str) -> Batch:
        from gankit_plugin_earth.seen import land_in

        return land_in(images, "land" if self.config.paired else f"land_{key}", self._layer(key))

    def truth(self, indices: Tensor, stream: str = "a") -> Tensor:
        """For judging, what the *other* layer shows at the places of the samples at `indices` of `stream`.

        uint8 (N, channels, size, size). Of pairs: `stream` is the key whose other is wanted.
        """
        places = self.places["" if self.config.paired else stream][indices]
        return self.crop(self._layer(OTHER[stream]), places)

    def source(self, index: int, stream: str = "") -> str:
        from gankit_plugin_earth.places import name_of

        return name_of(self.places[stream][index], self.config.size, self.config.scale)

    @cached_property
    def places(self) -> dict[str, Tensor]:
        """Top and left of each crop in the whole picture, int64 (N, 2), by stream."""
        from gankit_plugin_earth.places import interleaved

        both = interleaved(self.split, self.count, self.config.size, self.config.scale)
        return {"": both} if self.config.paired else {"a": both[::2], "b": both[1::2]}

    def _layer(self, side: str) -> Layer:
        return self.config.a if side == "a" else self.config.b
