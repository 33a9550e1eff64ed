"""Dataset ``emoji-tones``: the drawings of OpenMoji that exist in every colour of skin, each in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key
from gankit_plugin_emoji.catalogue import TONES, Drawing, catalogue
from gankit_plugin_emoji.drawn import DrawnConfig, DrawnEmoji, chosen

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.plugin import Batch

__all__ = ["DOMAINS", "TEXT_BYTES", "EmojiTones", "EmojiTonesConfig"]

DOMAINS = ("neutral", *TONES)
TEXT_BYTES = 64
"""More than the longest name takes."""
_NO_SKIN = frozenset({"1F6CC"})
"""A person in bed, of whom nothing is seen: six times the same."""
Tone = Literal["neutral", "light", "medium-light", "medium", "medium-dark", "dark"]


class EmojiTonesConfig(DrawnConfig):
    """Options of the dataset ``emoji-tones``."""

    tones: tuple[Tone, ...] = DOMAINS  # type: ignore[assignment]
    """Which colours of skin, two or more: five, and the yellow of drawings that are told none, neutral."""


class EmojiTones(DrawnEmoji):
    """People and hands as OpenMoji draws them in six colours of skin: the same drawing is there in each.

    ``image``: uint8 (N, 3, size, size). ``tone``: int64 (N,), of those asked for. ``text``: Unicode's name without the
    tone, UTF-8: the same for all tones of a drawing, and for no other. Hair goes with the skin in many of them, as
    OpenMoji has it.

    A drawing's tones stand together, row ``drawing * len(tones) + tone`` (:meth:`in_tone`): what a drawing looks like
    in another tone is known, for judging. One drawing of ten is held out, in all its tones, with all its kin.
    """

    Config = EmojiTonesConfig
    config: EmojiTonesConfig

    def select(self) -> Sequence[Drawing]:
        self._tones = chosen("tones", self.config.tones, DOMAINS)
        if len(self._tones) < 2:
            raise UsageError(f"data.tones names {self._tones[0]} alone; choose two or more of {', '.join(DOMAINS)}")
        found: dict[Drawing, dict[str, Drawing]] = {}
        for drawing in catalogue():
            if drawing.tone is not None:
                found.setdefault(drawing.untoned, {})[drawing.tone] = drawing
        return [
            tones[tone]
            for untoned, tones in found.items()
            if tones.keys() >= set(DOMAINS) and untoned.name not in _NO_SKIN
            for tone in self._tones
        ]

    @property
    def spec(self) -> DataSpec:
        size = self.config.size
        return DataSpec(
            keys={
                "image": Key(kind="image", shape=(3, size, size)),
                "tone": Key(kind="class", names=self._tones),
                "text": Key(kind="text", shape=(TEXT_BYTES,)),
            }
        )

    def batch(self, indices: Tensor) -> Batch:
        number = len(self._tones)
        return {"image": self.images(indices), "tone": indices % number, "text": self._texts[indices // number]}

    def in_tone(self, indices: Tensor, tones: Tensor | int) -> Tensor:
        """Rows of the drawings at `indices`, int64 (N,), in `tones`, numbers of the classes: int64 (N,)."""
        return indices - indices % len(self._tones) + tones

    @cached_property
    def _texts(self) -> Tensor:
        from gankit.data.text import encode_text

        return encode_text([one.untoned.text for one in self.members[:: len(self._tones)]], TEXT_BYTES)
