"""Dataset ``captioned-emoji``: the drawings of OpenMoji, each with several captions."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import Field

from gankit.plugin import DataSpec, Key
from gankit_plugin_emoji.catalogue import Drawing, catalogue
from gankit_plugin_emoji.drawn import DrawnConfig, DrawnEmoji, chosen
from gankit_plugin_emoji.emoji import Group
from gankit_plugin_emoji.groups import GROUPS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gankit.events import OnEvent
    from gankit.plugin import Batch
    from gankit_plugin_emoji.drawings import Drawings

__all__ = ["TEXT_BYTES", "CaptionedEmoji", "CaptionedEmojiConfig"]

TEXT_BYTES = 160
"""More than the longest caption takes."""
CAPTIONS = 4
"""Of each drawing."""
INKS = {
    "blue": ("92d3f5", "61b2e4", "1e50a0"),
    "red": ("ea5a47", "d22f27", "781e32"),
    "green": ("b1cc33", "5c9e31", "186648"),
    "yellow": ("fcea2b", "f7de83"),
    "orange": ("f1b31c", "e27022"),
    "pink": ("ffa7c0", "e67a94"),
    "purple": ("b399c8", "8967aa"),
    "brown": ("a57939", "6a462f", "debb90", "fadcbc", "c19a65"),
    "grey": ("d0cfce", "9b9b9a"),
    "black": ("3f3f3f", "000000"),
}
"""OpenMoji's colours, in hexadecimal, by their names."""
SIDE = 32
"""Size at which colours are looked for."""
LEAST = 0.15
"""Part of what is drawn that a colour has to fill to be named."""


class CaptionedEmojiConfig(DrawnConfig):
    """Options of the dataset ``captioned-emoji``."""

    groups: tuple[Group, ...] = GROUPS  # type: ignore[assignment]
    """Which of Unicode's groups."""
    tones: bool = False
    """Each of five skin tones of a person or a hand as an image of its own, too."""
    text_length: int = Field(TEXT_BYTES, ge=16, le=4096)
    """Bytes kept of a caption."""


class CaptionedEmoji(DrawnEmoji):
    """Emoji as OpenMoji draws them, and what they show, in words.

    ``image``: uint8 (N, 3, size, size). ``text``: UTF-8. Of each drawing there are four samples: its name alone; with
    its group; with the colours that fill most of it; and all of them in another order. The first samples are all
    drawings with their names. One drawing of ten is held out, with all its kin.
    """

    Config = CaptionedEmojiConfig
    config: CaptionedEmojiConfig

    def select(self) -> list[Drawing]:
        groups = chosen("groups", self.config.groups, GROUPS)
        return [one for one in catalogue() if one.group in groups and (self.config.tones or not one.toned)]

    @property
    def spec(self) -> DataSpec:
        size = self.config.size
        return DataSpec(
            keys={
                "image": Key(kind="image", shape=(3, size, size)),
                "text": Key(kind="text", shape=(self.config.text_length,)),
            }
        )

    def __len__(self) -> int:
        return CAPTIONS * len(self.members)

    def batch(self, indices: Tensor) -> Batch:
        return {"image": self.images(indices % max(len(self.members), 1)), "text": self._texts[indices]}

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        return super().in_memory and "_texts" in self.__dict__

    def load(self, tell: OnEvent) -> None:
        super().load(tell)
        self._small.load(tell)
        self._texts  # noqa: B018  # here rather than in threads that wait with a batch

    def notes(self) -> list[str]:
        from gankit.data.text import cut_notes

        cut = [f"{self.split} split: {note}" for note in cut_notes(self._captions, self.config.text_length)]
        return list(dict.fromkeys([*super().notes(), *self._small.notes(), *cut]))

    def source(self, index: int, stream: str = "") -> str:
        return super().source(index % len(self.members), stream)

    def fingerprint(self) -> str:
        return f"captioned {super().fingerprint()}"

    @cached_property
    def _texts(self) -> Tensor:
        from gankit.data.text import encode_text

        return encode_text(self._captions, self.config.text_length)

    @cached_property
    def _captions(self) -> list[str]:
        inks = self._inks()
        return [
            caption(drawing, inks[number], way, number)
            for way in range(CAPTIONS)
            for number, drawing in enumerate(self.members)
        ]

    def _inks(self) -> list[list[str]]:
        """The names of the colours that fill most of each drawing; the same at any size, on any ground."""
        import torch

        parts = torch.arange(len(self.members)).split(256)
        return [inks_of(image) for part in parts for image in self._small.read(part).numpy()]

    @cached_property
    def _small(self) -> Drawings:
        """The drawings as colours are looked for in them."""
        from gankit_plugin_emoji.drawings import Drawings

        return Drawings(self.members, SIDE, background="white", zoom=1.0, disk=self.config.cache)


def inks_of(image: np.ndarray) -> list[str]:
    """The names of at most two colours, of those that fill :data:`LEAST` of what is drawn, the larger one first.

    `image`: uint8 (3, H, W), drawn on white, which is no colour. Outlines are black: that is named where there is
    little else.
    """
    import numpy as np

    pixels = image.reshape(3, -1).T.astype(np.int32)
    drawn = pixels[pixels.sum(1) < 3 * 255 - 24]
    if not len(drawn):
        return []
    names = [name for name, codes in INKS.items() for _ in codes]
    palette = np.array([tuple(bytes.fromhex(code)) for codes in INKS.values() for code in codes])
    nearest = np.square(drawn[:, None] - palette).sum(2).argmin(1)
    shares = dict.fromkeys(INKS, 0.0)
    for index, count in enumerate(np.bincount(nearest, minlength=len(names))):
        shares[names[index]] += count / len(drawn)
    coloured = {name: share for name, share in shares.items() if name != "black" and share >= LEAST}
    return sorted(coloured, key=lambda name: -coloured[name])[:2] or ["black"]


def caption(drawing: Drawing, inks: list[str], way: int, number: int) -> str:
    """One of :data:`CAPTIONS` ways to say what is drawn; `number` decides the order of words in the last."""
    name, group, colours = drawing.text, str(drawing.group), " and ".join(inks)
    if way == 0:
        return name
    if way == 1:
        return f"{name}, {group}"
    if way == 2:
        return f"{colours} {name}".strip()
    parts = [group, colours, name.replace(",", "")] if colours else [group, name.replace(",", "")]
    turned = number % len(parts)
    return ", ".join([*parts[turned:], *parts[:turned]])
