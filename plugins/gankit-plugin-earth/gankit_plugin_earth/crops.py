"""What the datasets of the Earth have in common: their options, and crops of layers at places."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from gankit.events import Progress
from gankit.plugin import Config, Dataset, Key
from gankit_plugin_earth.names import CHANNELS, LARGEST, SMALLEST, Layer

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.events import OnEvent
    from gankit_plugin_earth.layers import Whole

__all__ = ["HELD_OUT", "EarthConfig", "EarthCrops"]

HELD_OUT = 500
"""Held-out crops of each side, however many there are to train with."""


class EarthConfig(Config):
    """Options of crops of the Earth."""

    size: int = Field(64, ge=16, le=320)
    """Width and height of a crop in pixels."""
    scale: int = Field(1800, ge=SMALLEST, le=LARGEST, multiple_of=2)
    """Pixels around the Earth. With fewer of them a crop shows more of it: 64 of 1800 are 12.8 degrees."""
    crops: int = Field(5000, ge=1, le=1_000_000)
    """Training crops of each side; in pairs twice as many. The 500 held out of a side do not depend on it."""
    cache: bool = True
    """Keep the pictures at this scale on disk, for all runs (GANKIT_CACHE says where)."""


class EarthCrops(Dataset[Any]):
    """Crops of layers, all of one size. What they are called is the subclasses' own."""

    reading: ClassVar = frozenset({"cache"})
    in_memory = True
    layers: tuple[Layer, ...]
    """Those that are read."""

    def __init__(self, config: EarthConfig, split: Literal["train", "test"], layers: Iterable[Layer]) -> None:
        from gankit_plugin_earth.package import file_of
        from gankit_plugin_earth.places import check_size

        super().__init__(config, split)
        check_size(config.size, config.scale)
        self.layers = tuple(dict.fromkeys((*layers, "mask")))
        file_of("bmng.jpg")  # so that a missing package is said before anything begins

    @property
    def count(self) -> int:
        """Crops of each side."""
        count: int = self.config.crops if self.split == "train" else HELD_OUT
        return count

    def load(self, tell: OnEvent) -> None:
        for done, layer in enumerate(self.layers):
            tell(Progress(what="reading the pictures of the Earth", done=done, total=len(self.layers)))
            self._whole(layer)
        tell(Progress(what="reading the pictures of the Earth", done=len(self.layers), total=len(self.layers)))

    def notes(self) -> list[str]:
        unkept = {self._whole(layer).unkept for layer in self.layers} - {""}
        return [f"the pictures of the Earth are not kept for other runs: {min(unkept)}"] if unkept else []

    def fingerprint(self) -> str:
        made = blake2b(b"".join(self._whole(layer).digest for layer in self.layers), digest_size=16)
        made.update(repr((self.layers, self.config.size, self.config.scale)).encode())
        return f"earth {self.count} {made.hexdigest()}"

    def key(self, layer: Layer, of: str | None = None) -> Key:
        """An image of `layer`."""
        return Key(kind="image", shape=(CHANNELS[layer], self.config.size, self.config.size), of=of)

    def land(self, of: str, like: str, layer: Layer) -> Key:
        """The land/sea mask of the image `of`: 255 is land. It is there to judge by; no variant trains with it.

        It is like that of another image, whose `layer` shows where land is; grey does not.
        """
        return Key(
            kind="mask", shape=(1, self.config.size, self.config.size), of=of, like=None if layer == "grey" else like
        )

    def crop(self, layer: Layer, places: Tensor) -> Tensor:
        """Crops of `layer` at `places` (int64, (N, 2), top and left): uint8 (N, channels, size, size)."""
        import torch

        size, pixels = self.config.size, self._whole(layer).pixels
        made = torch.empty(len(places), len(pixels), size, size, dtype=torch.uint8)
        for row, (top, left) in enumerate(places.tolist()):
            made[row] = pixels[:, top : top + size, left : left + size]
        return made

    def _whole(self, layer: Layer) -> Whole:
        from gankit_plugin_earth.layers import open_layer

        return open_layer(layer, self.config.scale, self.config.cache)
