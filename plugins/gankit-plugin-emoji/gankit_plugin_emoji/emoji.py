"""Dataset ``emoji``: the drawings of OpenMoji, with their groups and names."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

from gankit.plugin import DataSpec, Key
from gankit_plugin_emoji.catalogue import Drawing, catalogue
from gankit_plugin_emoji.drawn import DrawnConfig, DrawnEmoji, chosen
from gankit_plugin_emoji.groups import GROUPS

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.plugin import Batch

__all__ = ["TEXT_BYTES", "Emoji", "EmojiConfig"]

TEXT_BYTES = 96
"""More than the longest name takes."""
Group = Literal["smileys", "people", "animals", "food", "travel", "activities", "objects", "symbols", "flags"]


class EmojiConfig(DrawnConfig):
    """Options of the dataset ``emoji``."""

    groups: tuple[Group, ...] = GROUPS  # type: ignore[assignment]
    """Which of Unicode's groups."""
    tones: bool = False
    """Each of five skin tones of a person or a hand as an image of its own, too."""


class Emoji(DrawnEmoji):
    """Emoji as OpenMoji draws them: images in colour, the group of each, and its name in words.

    ``image``: uint8 (N, 3, size, size). ``group``: int64 (N,), of those asked for. ``text``: Unicode's name in small
    letters, UTF-8. About 2,000 drawings, and as many again in skin tones; one of ten is held out with all its kin.
    """

    Config = EmojiConfig
    config: EmojiConfig

    def select(self) -> list[Drawing]:
        self._groups = chosen("groups", self.config.groups, GROUPS)
        return [drawing for drawing in catalogue() if drawing.group in self._groups and self._tone(drawing)]

    def _tone(self, drawing: Drawing) -> bool:
        return self.config.tones or not drawing.toned

    @property
    def spec(self) -> DataSpec:
        size = self.config.size
        return DataSpec(
            keys={
                "image": Key(kind="image", shape=(3, size, size)),
                "group": Key(kind="class", names=self._groups),
                "text": Key(kind="text", shape=(TEXT_BYTES,)),
            }
        )

    def batch(self, indices: Tensor) -> Batch:
        return {"image": self.images(indices), "group": self._labels[indices], "text": self._texts[indices]}

    @cached_property
    def _labels(self) -> Tensor:
        import torch

        return torch.tensor([self._groups.index(drawing.group) for drawing in self.members], dtype=torch.int64)

    @cached_property
    def _texts(self) -> Tensor:
        from gankit.data.text import encode_text

        return encode_text([drawing.text for drawing in self.members], TEXT_BYTES)
