"""Dataset ``grey-folder``: any directory of images, in grey and in colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gankit.data.files import Root
from gankit.data.folder import ImageFolder, PicturesConfig
from gankit.plugin import DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.plugin import Batch

__all__ = ["GreyFolder", "GreyFolderConfig", "grey"]


class GreyFolderConfig(PicturesConfig):
    """Options of the dataset ``grey-folder``."""

    root: Root = ""
    """Directory of images in colour. Its sub-directories become classes, or the splits if named train and test."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images in colour."""
        return 3, *self.sides


class GreyFolder(ImageFolder):
    """A directory of images, each in grey (a) and in colour (b).

    ``a``: uint8 (N, 1, height, width), the luma of ITU-R 601; ``b``: uint8 (N, 3, height, width), aligned with it.
    Where class directories hold the images, ``label_a`` and ``label_b``, which are the same. For the rest it is the
    dataset ``folder``.
    """

    Config = GreyFolderConfig

    @property
    def spec(self) -> DataSpec:
        height, width = self.config.sides
        keys = {
            "a": Key(kind="image", shape=(1, height, width)),
            "b": Key(kind="image", shape=(3, height, width), of="a"),
        }
        if names := self._layout.classes:
            keys["label_a"] = Key(kind="class", names=names, of="a", like="label_b")
            keys["label_b"] = Key(kind="class", names=names, of="b", like="label_a")
        return DataSpec(keys=keys)

    def batch(self, indices: Any) -> Batch:
        batch = super().batch(indices)
        both = {"a": grey(batch["image"]), "b": batch["image"]}
        if "label" not in batch:
            return both
        return both | {"label_a": batch["label"], "label_b": batch["label"].clone()}


def grey(images: Tensor) -> Tensor:
    """The luma (ITU-R 601) of uint8 (N, 3, H, W), as Pillow computes it: uint8 (N, 1, H, W)."""
    import torch

    red, green, blue = images.to(torch.int32).unbind(1)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).to(torch.uint8).unsqueeze(1)
