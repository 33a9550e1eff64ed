"""Dataset ``emoji-faces``: the drawings of OpenMoji that are a face, or head and shoulders."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from gankit.plugin import DataSpec, Key
from gankit_plugin_emoji.catalogue import JOINER, VARIATION, Drawing, catalogue
from gankit_plugin_emoji.drawn import DrawnConfig, DrawnEmoji, chosen
from gankit_plugin_emoji.groups import in_ranges

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.plugin import Batch

__all__ = ["KINDS", "EmojiFaces", "EmojiFacesConfig"]

KINDS = ("smiley", "animal", "person")
_SMILEYS = """2639-263A 1F479-1F47B 1F47D-1F47F 1F480 1F600-1F644 1F648-1F64A 1F910-1F917 1F920-1F925 1F927-1F92F
    1F970-1F976 1F978-1F97A 1F9D0 1FAE0-1FAE5 1FAE8-1FAEA"""
_ANIMALS = "1F31A-1F31E 1F42D-1F432 1F434-1F43C 1F981 1F984 1F98A"
_HEADS = """1F385 1F466-1F469 1F46E 1F470-1F478 1F482 1F486-1F487 1F575 1F645-1F647 1F64B 1F64D-1F64E 1F926 1F934-1F937
    1F977 1F9B8-1F9B9 1F9D1-1F9D5 1F9D9 1F9DB 1F9DD-1F9DF 1FAC5"""
# What may be joined to a person so that it still is one, seen from the front: a sex, a hair, a trade.
_WITH = """2640 2642 2695-2696 2708 1F33E 1F373 1F384 1F393 1F3A4 1F3A8 1F3EB 1F3ED 1F3FB-1F3FF 1F4BB-1F4BC 1F527 1F52C
    1F680 1F692 1F9B0-1F9B3"""


class EmojiFacesConfig(DrawnConfig):
    """Options of the dataset ``emoji-faces``."""

    size: int = Field(48, ge=16, le=512)
    """Width and height that emoji are drawn at."""
    zoom: float = Field(1.2, ge=1, le=2)
    """1 shows all of the square that OpenMoji draws in; 1.2 cuts a twelfth off each side, where few draw anything."""
    kinds: tuple[Literal["smiley", "animal", "person"], ...] = ("smiley", "animal", "person")
    """Smileys (with cats, apes, ghosts), heads of animals, people to their shoulders."""
    tones: bool = True
    """Each of five skin tones of a person as an image of its own, too."""


class EmojiFaces(DrawnEmoji):
    """Faces as OpenMoji draws them: smileys, heads of animals, and people to their shoulders in six colours of skin.

    ``image``: uint8 (N, 3, size, size). ``kind``: int64 (N,), of those asked for, if there are several. One of ten is
    held out with all its kin.
    """

    Config = EmojiFacesConfig
    config: EmojiFacesConfig

    def select(self) -> list[Drawing]:
        self._kinds = chosen("kinds", self.config.kinds, KINDS)
        found = [drawing for drawing in catalogue() if kind_of(drawing) in self._kinds]
        return [drawing for drawing in found if self.config.tones or not drawing.toned]

    @property
    def spec(self) -> DataSpec:
        size = self.config.size
        keys = {"image": Key(kind="image", shape=(3, size, size))}
        if len(self._kinds) > 1:
            keys["kind"] = Key(kind="class", names=self._kinds)
        return DataSpec(keys=keys)

    def batch(self, indices: Tensor) -> Batch:
        images = {"image": self.images(indices)}
        return images | {"kind": self._labels[indices]} if len(self._kinds) > 1 else images

    @cached_property
    def _labels(self) -> Tensor:
        import torch

        kinds = [kind_of(drawing) for drawing in self.members]
        return torch.tensor([self._kinds.index(kind) for kind in kinds if kind], dtype=torch.int64)


def kind_of(drawing: Drawing) -> str | None:
    """Which kind of face `drawing` is; None if it is none."""
    first, *rest = drawing.codes
    if in_ranges(first, _HEADS):
        joined = (code for code in rest if code not in (JOINER, VARIATION))
        return "person" if all(in_ranges(code, _WITH) for code in joined) else None
    if in_ranges(first, _SMILEYS):
        return "smiley"
    return "animal" if len(drawing.codes) == 1 and in_ranges(first, _ANIMALS) else None
